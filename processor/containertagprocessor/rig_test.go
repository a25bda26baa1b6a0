package containertagprocessor

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor/processortest"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/metadata"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

const (
	oneID   = "1111111111111111111111111111111111111111111111111111111111111111"
	otherID = "2222222222222222222222222222222222222222222222222222222222222222"
)

// rig is a processor of each signal over a store that the test tells things, as
// sources would.
type rig struct {
	t     testing.TB
	cfg   *Config
	store *store.Store

	mu    sync.Mutex
	asked []string // what was wanted

	metrics     *metricsTags
	logs        *logsTags
	traces      *tracesTags
	metricsSink *consumertest.MetricsSink
	logsSink    *consumertest.LogsSink
	tracesSink  *consumertest.TracesSink
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	r := &rig{
		t: t, cfg: createDefaultConfig().(*Config),
		metricsSink: &consumertest.MetricsSink{}, logsSink: &consumertest.LogsSink{}, tracesSink: &consumertest.TracesSink{},
	}
	if change != nil {
		change(r.cfg)
	}
	require.NoError(t, r.cfg.Validate())
	r.store = store.New(store.Options{Containers: []string{"docker"}, Host: []string{"host"}}, r.want)
	tagger, err := newTagger(r.cfg, r.store)
	require.NoError(t, err)
	s := newShared()
	s.taggers[r.cfg] = &sharedTagger{tagger: tagger, hub: r.hub(), holders: 1, hubKey: "rig"}
	s.taggers[r.cfg].hub.holders = 1
	newOne := func() *core { return newCore(r.cfg, processortest.NewNopSettings(metadata.Type), s) }
	r.metrics = newMetricsTags(newOne(), r.metricsSink)
	r.logs = newLogsTags(newOne(), r.logsSink)
	r.traces = &tracesTags{core: newOne(), next: r.tracesSink}
	for _, c := range []*core{r.metrics.core, r.logs.core, r.traces.core} {
		require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
		t.Cleanup(func() { require.NoError(t, c.Shutdown(context.Background())) })
	}
	return r
}

// hub is one without sources.
func (r *rig) hub() *hub {
	return &hub{store: r.store, started: true, cancel: func() {}}
}

func (r *rig) want(id, podUID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, id+podUID)
}

func (r *rig) wanted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.asked...)
}

// known tells the store of a container of a compose project.
func (r *rig) known(id, name string) {
	r.store.PutContainer("docker", &entity.Container{
		ID: id, Name: name, Runtime: "docker", RuntimeVersion: "28.1.0", Command: "/app",
		Image:    entity.Image{Name: "registry/app", Tags: []string{"1.2"}, ID: "sha256:0f"},
		Labels:   map[string]string{"com.docker.compose.project": "shop", "com.docker.compose.service": name + "-service"},
		Networks: []string{"shop_default"},
	})
}

func resource(pairs ...string) pcommon.Map {
	m := pcommon.NewMap()
	for i := 0; i < len(pairs); i += 2 {
		m.PutStr(pairs[i], pairs[i+1])
	}
	return m
}

func metricsOf(resources ...pcommon.Map) pmetric.Metrics {
	md := pmetric.NewMetrics()
	for _, attributes := range resources {
		rm := md.ResourceMetrics().AppendEmpty()
		attributes.CopyTo(rm.Resource().Attributes())
		m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName("container.cpu.time")
		m.SetEmptySum().DataPoints().AppendEmpty().SetIntValue(1)
	}
	return md
}

func logsOf(attributes pcommon.Map, body string) plog.Logs {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	attributes.CopyTo(rl.Resource().Attributes())
	rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr(body)
	return ld
}

func tracesOf(attributes pcommon.Map) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	attributes.CopyTo(rs.Resource().Attributes())
	rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("GET /")
	return td
}

// sent consumes metrics of one resource and returns the attributes it went on
// with; nil if it did not go on.
func (r *rig) sent(attributes pcommon.Map) map[string]any {
	r.t.Helper()
	r.metricsSink.Reset()
	require.NoError(r.t, r.metrics.ConsumeMetrics(r.t.Context(), metricsOf(attributes)))
	return r.last()
}

func (r *rig) last() map[string]any {
	all := r.metricsSink.AllMetrics()
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1].ResourceMetrics().At(0).Resource().Attributes().AsRaw()
}
