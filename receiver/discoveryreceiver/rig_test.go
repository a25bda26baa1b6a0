package discoveryreceiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/nginxreceiver"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/metadata"
)

// soon is what the users are promised for starts and ends.
const soon = 5 * time.Second

// patience is for the same on a machine that others load.
const patience = 30 * time.Second

// collector is a host with the factories of a distribution.
type collector struct {
	component.Host
	factories  map[string]receiver.Factory
	extensions map[component.ID]component.Component
}

func newCollector() *collector {
	return &collector{Host: componenttest.NewNopHost(), factories: map[string]receiver.Factory{
		"prometheus": prometheusreceiver.NewFactory(), "nginx": nginxreceiver.NewFactory(), "discovery": NewFactory(),
	}}
}

func (c *collector) GetExtensions() map[component.ID]component.Component { return c.extensions }

func (c *collector) GetFactory(kind component.Kind, t component.Type) component.Factory {
	if found, ok := c.factories[t.String()]; ok && kind == component.KindReceiver {
		return found
	}
	return nil
}

// rig is both receivers of one configuration with what came of them.
type rig struct {
	cfg     *Config
	host    *collector
	lines   *observer.ObservedLogs
	own     *componenttest.Telemetry
	points  *consumertest.MetricsSink
	records *consumertest.LogsSink
	metrics receiver.Metrics
	logs    receiver.Logs
	// settings are those of the receivers.
	settings receiver.Settings
}

// newRig makes the receivers, which are not started. Without an engine unless change
// says otherwise.
func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{
		cfg: createDefaultConfig().(*Config), host: newCollector(), own: componenttest.NewTelemetry(),
		points: new(consumertest.MetricsSink), records: new(consumertest.LogsSink),
	}
	t.Cleanup(func() { require.NoError(t, r.own.Shutdown(context.Background())) })
	r.cfg.Endpoint = noEngine
	if change != nil {
		change(r.cfg)
	}
	require.NoError(t, r.cfg.Validate())
	core, lines := observer.New(zap.InfoLevel)
	set := receiver.Settings{ID: component.NewIDWithName(metadata.Type, "test"), TelemetrySettings: r.own.NewTelemetrySettings(), BuildInfo: component.NewDefaultBuildInfo()}
	set.Logger, r.lines = zap.New(core), lines
	r.settings = set
	factory := NewFactory()
	var err error
	r.metrics, err = factory.CreateMetrics(t.Context(), set, r.cfg, r.points)
	require.NoError(t, err)
	r.logs, err = factory.CreateLogs(t.Context(), set, r.cfg, r.records)
	require.NoError(t, err)
	return r
}

// start starts both, and stops them at the end of the test.
func (r *rig) start(t *testing.T) {
	t.Helper()
	for _, c := range []component.Component{r.metrics, r.logs} {
		require.NoError(t, c.Start(t.Context(), r.host))
		t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })
	}
}

func (r *rig) running() *discovery { return r.metrics.(*instance).holding.running }

// collected are the names of metrics that came from a container so far.
func (r *rig) collected(id string) map[string]int {
	all := map[string]int{}
	for _, md := range r.points.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			if textOf(rm.Resource(), "container.id") != id {
				continue
			}
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					all[m.Name()]++
				}
			}
		}
	}
	return all
}

func textOf(r pcommon.Resource, key string) string {
	value, isThere := r.Attributes().Get(key)
	if !isThere {
		return ""
	}
	return value.AsString()
}

// collects waits until a metric of a container has come.
func (r *rig) collects(t *testing.T, id, metric string) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if all := r.collected(id); all[metric] == 0 {
			return fmt.Errorf("no %s of %.12s, but %v; told %q", metric, id, slices.Sorted(maps.Keys(all)), r.messages())
		}
		return nil
	})
}

// stops waits until nothing runs any more.
func (r *rig) stops(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if s := r.running().runner.Stats(); s.Places != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// isSilent checks that nothing comes any more later than 5 s after the end.
func (r *rig) isSilent(t *testing.T, end time.Time) {
	t.Helper()
	testkit.Eventually(t, 2*soon, func() error { return passed(end, soon) })
	before := r.points.DataPointCount()
	testkit.Eventually(t, 2*soon, func() error { return passed(end, soon+3*time.Second) })
	require.Equal(t, before, r.points.DataPointCount())
}

func passed(since time.Time, d time.Duration) error {
	if time.Since(since) < d {
		return fmt.Errorf("%v have not passed", d)
	}
	return nil
}

// events are what was told of a container as log records: name, rule, reason.
func (r *rig) events(id string) []string {
	var all []string
	for _, ld := range r.records.AllLogs() {
		for _, rl := range ld.ResourceLogs().All() {
			if textOf(rl.Resource(), "container.id") != id {
				continue
			}
			for _, record := range rl.ScopeLogs().At(0).LogRecords().All() {
				rule, _ := record.Attributes().Get(attributeRule)
				reason, _ := record.Attributes().Get(attributeReason)
				all = append(all, strings.TrimPrefix(record.EventName(), "discovery.receiver.")+" "+rule.AsString()+" "+reason.AsString())
			}
		}
	}
	return all
}

// tells waits until these were told of a container, and no others.
func (r *rig) tells(t *testing.T, id string, want ...string) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if got := r.events(id); !slices.Equal(got, want) {
			return fmt.Errorf("told %q, want %q", got, want)
		}
		return nil
	})
}

func (r *rig) messages() []string {
	var all []string
	for _, l := range r.lines.All() {
		all = append(all, l.Level.String()+": "+l.Message)
	}
	return all
}

// warnings are discovery's own. A receiver warns itself of what it cannot reach.
func (r *rig) warnings() []observer.LoggedEntry {
	return r.lines.FilterLevelExact(zap.WarnLevel).Filter(func(e observer.LoggedEntry) bool {
		_, isReceivers := e.ContextMap()["discovery.rule"]
		return !isReceivers
	}).All()
}

// own numbers of one of discovery's metrics, by reason.
func (r *rig) numbers(t *testing.T, name string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	m, err := r.own.GetMetric(name)
	if err != nil {
		return all // nothing was observed yet
	}
	var points []metricdata.DataPoint[int64]
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		points = data.DataPoints
	case metricdata.Gauge[int64]:
		points = data.DataPoints
	}
	for _, p := range points {
		reason, _ := p.Attributes.Value("reason")
		all[reason.AsString()] = p.Value
	}
	return all
}

// container is a program in a cgroup like Docker's, on the host's network.
type container struct {
	id, address string
	group       *testkit.Group
}

func startContainer(t *testing.T, name string) *container {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "env")
	c := &container{id: newID(), address: freeAddress(t)}
	c.group = testkit.Cgroup(t, "/docker/"+c.id)
	testkit.Run(t, c.group, "env", serveEnv+"="+c.address, program(t, name))
	return c
}

// newID is a container's id that nobody else has.
func newID() string {
	text := fmt.Sprintf("%x%x", os.Getpid(), time.Now().UnixNano())
	return text + strings.Repeat("d", 64-len(text))
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// program copies the test's binary under another name.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	from, err := os.Open(self)
	require.NoError(t, err)
	defer from.Close()
	path := filepath.Join(t.TempDir(), name)
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(to, from)
	require.NoError(t, errors.Join(err, to.Close()))
	return path
}

// nginxRule finds nginx by what it is; prometheusRule finds applications by their
// program.
func nginxRule() rules.Config {
	return rules.Config{Name: "status", Rule: `technology == "nginx" && confidence == "certain" && port > 0`, Receiver: "nginx", Config: map[string]any{
		"endpoint": "http://`endpoint`/nginx_status", "collection_interval": "1s", "initial_delay": "0s",
	}}
}

func prometheusRule(condition string) rules.Config {
	return rules.Config{Name: "scrape", Rule: condition, Receiver: "prometheus", Config: map[string]any{
		"config": map[string]any{"scrape_configs": []any{map[string]any{
			"job_name": "`executable`", "scrape_interval": "1s",
			"static_configs": []any{map[string]any{"targets": []any{"`endpoint`"}}},
		}}},
	}}
}
