package serve

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/entity"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// within is how long anything may take that takes milliseconds on an idle machine.
const within = 20 * time.Second

// t0 is when the tests' containers begin.
var t0 = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func second(n int) time.Time { return t0.Add(time.Duration(n) * time.Second) }

const (
	workerID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	apiID    = "1b4f0e9851971998e732078544c96b36c3d01cedf7caa332359d6f1d83567014"
	dbID     = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
)

// logOf makes a log record about a container, as a receiver of ours does.
func logOf(name, id, event string, at time.Time) (plog.Logs, plog.LogRecord) {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	if id != "" {
		resource.Resource().Attributes().PutStr("container.id", id)
		resource.Resource().Attributes().PutStr("container.name", name)
		resource.Resource().Attributes().PutStr("docker.compose.project", "shop")
	}
	scope := resource.ScopeLogs().AppendEmpty()
	scope.Scope().SetName("github.com/tallymanhq/tallyman/receiver/cgroupreceiver")
	r := scope.LogRecords().AppendEmpty()
	r.SetEventName(event)
	r.SetTimestamp(pcommon.NewTimestampFromTime(at))
	r.Body().SetStr(event + " of " + name)
	return logs, r
}

// gauge makes one point of a container.
func gauge(name, id string, at time.Time, v float64) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("container.id", id)
	rm.Resource().Attributes().PutStr("container.name", name)
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("github.com/tallymanhq/tallyman/receiver/cgroupreceiver")
	m := sm.Metrics().AppendEmpty()
	m.SetName("container.cpu.usage")
	m.SetUnit("{cpu}")
	m.SetDescription("CPUs in use.")
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	p.SetDoubleValue(v)
	return md
}

// rig is the recorder's stores, at one time that the test sets.
type rig struct {
	t       testing.TB
	now     time.Time
	metrics *metricstore.Store
	events  *eventstore.Store
	table   *entity.Table
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, now: t0}
	clock := func() time.Time { return r.now }
	dir := t.TempDir()
	var err error
	r.metrics, _, err = metricstore.Open(metricstore.Options{Dir: filepath.Join(dir, "metrics"), Every: -1, Now: clock})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.metrics.Close()) })
	r.events, _, err = eventstore.Open(eventstore.Options{Dir: filepath.Join(dir, "events"), FrameEvery: time.Hour, Now: clock})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.events.Close()) })
	r.table, _, err = entity.Open(entity.Options{Now: clock})
	require.NoError(t, err)
	return r
}

// tell hands an event to the stores; change may add to it.
func (r *rig) tell(name, id, event string, change ...func(plog.LogRecord)) {
	r.t.Helper()
	logs, record := logOf(name, id, event, r.now)
	for _, f := range change {
		f(record)
	}
	require.Zero(r.t, r.events.Append(logs).Dropped)
	r.table.ObserveLogs(logs)
}

// measure hands a sample to the stores.
func (r *rig) measure(name, id string, v float64) {
	r.t.Helper()
	md := gauge(name, id, r.now, v)
	require.Empty(r.t, r.metrics.Write(r.t.Context(), md).Dropped)
	r.table.ObserveMetrics(md)
}

func str(key, value string) func(plog.LogRecord) {
	return func(r plog.LogRecord) { r.Attributes().PutStr(key, value) }
}

func num(key string, value int64) func(plog.LogRecord) {
	return func(r plog.LogRecord) { r.Attributes().PutInt(key, value) }
}

func eventually(t testing.TB, condition func() bool, what string) {
	t.Helper()
	testkit.Eventually(t, within, func() error {
		if condition() {
			return nil
		}
		return fmt.Errorf("not yet: %s", what)
	})
}
