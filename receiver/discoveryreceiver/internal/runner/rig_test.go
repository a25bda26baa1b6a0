package runner_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/collector/service/hostcapabilities"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// What the Collector's own host offers is what a runner needs.
var _ runner.Factories = hostcapabilities.ComponentFactory(nil)

// factories are a distribution.
type factories map[string]receiver.Factory

func (f factories) GetFactory(kind component.Kind, t component.Type) component.Factory {
	if found, ok := f[t.String()]; ok && kind == component.KindReceiver {
		return found
	}
	return nil
}

// fakeConfig is the configuration of the receivers of a workshop.
type fakeConfig struct {
	Endpoint string `mapstructure:"endpoint"`
	Interval int    `mapstructure:"interval"`
	Storage  string `mapstructure:"storage"`
}

func (c *fakeConfig) Validate() error {
	if c.Interval < 0 {
		return errors.New("interval is negative")
	}
	return nil
}

// workshop makes receivers and notes what is done with them.
type workshop struct {
	// onStart and onStop, if not nil, are called instead of succeeding.
	onStart func(ctx context.Context, f *fake, host component.Host) error
	onStop  func(f *fake) error

	mu    sync.Mutex // guards all below
	notes []string
	all   []*fake
}

// fake is a receiver, or the part of one that is about one signal.
type fake struct {
	shop    *workshop
	set     receiver.Settings
	cfg     fakeConfig
	metrics consumer.Metrics
	logs    consumer.Logs
}

func (w *workshop) factory(options ...string) receiver.Factory {
	create := func(set receiver.Settings, cfg component.Config) *fake {
		f := &fake{shop: w, set: set, cfg: *cfg.(*fakeConfig)}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all = append(w.all, f)
		return f
	}
	var with []receiver.FactoryOption
	if !slices.Contains(options, "no metrics") {
		with = append(with, receiver.WithMetrics(func(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics) (receiver.Metrics, error) {
			f := create(set, cfg)
			f.metrics = next
			return f, nil
		}, component.StabilityLevelBeta))
	}
	if slices.Contains(options, "logs") {
		with = append(with, receiver.WithLogs(func(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
			f := create(set, cfg)
			f.logs = next
			return f, nil
		}, component.StabilityLevelBeta))
	}
	return receiver.NewFactory(component.MustNewType("fake"), func() component.Config { return &fakeConfig{Interval: 1} }, with...)
}

func (w *workshop) note(what string, f *fake) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, what+" "+f.cfg.Endpoint)
}

func (w *workshop) noted() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.notes)
}

func (w *workshop) count(prefix string) int {
	n := 0
	for _, note := range w.noted() {
		if strings.HasPrefix(note, prefix) {
			n++
		}
	}
	return n
}

func (w *workshop) made() []*fake {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

func (f *fake) Start(ctx context.Context, host component.Host) error {
	f.shop.note("start", f)
	if f.shop.onStart != nil {
		return f.shop.onStart(ctx, f, host)
	}
	return nil
}

func (f *fake) Shutdown(context.Context) error {
	f.shop.note("stop", f)
	if f.shop.onStop != nil {
		return f.shop.onStop(f)
	}
	return nil
}

// rig is a runner with what it told.
type rig struct {
	*runner.Runner
	metrics *consumertest.MetricsSink
	logs    *consumertest.LogsSink

	mu     sync.Mutex // guards events
	events []runner.Event
}

func newRig(t testing.TB, f factories, change func(*runner.Options)) *rig {
	t.Helper()
	g := &rig{metrics: new(consumertest.MetricsSink), logs: new(consumertest.LogsSink)}
	o := runner.Options{
		Factories: f, Host: componenttest.NewNopHost(),
		Settings: receivertest.NewNopSettings(component.MustNewType("discovery")),
		Metrics:  g.metrics, Logs: g.logs, Tell: g.tell,
		Pace: runner.Pace{Linger: -1}, Limit: 1000,
	}
	o.Settings.ID = component.MustNewID("discovery") // the tests' own is another one each time
	if change != nil {
		change(&o)
	}
	made, err := runner.New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.Runner = made
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := g.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return g
}

func (g *rig) tell(e runner.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, e)
}

func (g *rig) told(kind runner.EventKind) []runner.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(g.events), func(e runner.Event) bool { return e.Kind != kind })
}

// expect is a condition: so many events of a kind.
func (g *rig) expect(kind runner.EventKind, n int) func() error {
	return func() error {
		if told := g.told(kind); len(told) != n {
			return fmt.Errorf("%d times %s, want %d: %v", len(told), kind, n, told)
		}
		return nil
	}
}

// empty is a condition: no place is left.
func (g *rig) empty() error {
	if status := g.Status(); len(status) != 0 {
		return fmt.Errorf("left: %+v", status)
	}
	return nil
}

const containerA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// wish is a spec for one fake receiver.
func wish(change ...func(*spec.Spec)) spec.Spec {
	s := spec.Spec{
		Rule: "web", Receiver: "fake", Trusted: true, Signals: spec.All, Target: containerA,
		Config:   map[string]any{"endpoint": "10.0.0.2:80"},
		Resource: map[string]string{"container.id": containerA, "container.name": "web-1"},
	}
	s.Config, s.Resource = maps.Clone(s.Config), maps.Clone(s.Resource)
	for _, f := range change {
		f(&s)
	}
	return s
}

func at(endpoint string) func(*spec.Spec) {
	return func(s *spec.Spec) { s.Config["endpoint"] = endpoint }
}

func container(id string) func(*spec.Spec) {
	return func(s *spec.Spec) { s.Target = id }
}

func oneMetric(attributes ...string) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	for i := 0; i < len(attributes); i += 2 {
		rm.Resource().Attributes().PutStr(attributes[i], attributes[i+1])
	}
	rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetName("requests")
	return md
}

func oneLog() plog.Logs {
	ld := plog.NewLogs()
	ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("hello")
	return ld
}
