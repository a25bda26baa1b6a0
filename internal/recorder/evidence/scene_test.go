package evidence

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/live"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// began is when the recording of the tests starts.
var began = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// ownScope is what Tallyman's receivers call themselves.
const ownScope = "github.com/tallymanhq/tallyman/receiver/cgroupreceiver"

// scene is a recorder with real stores, on a clock that recording moves.
type scene struct {
	t testing.TB
	// now is written by the test alone, with mu held.
	mu      sync.Mutex
	now     time.Time
	metrics *metricstore.Store
	events  *eventstore.Store
	table   *entity.Table
	live    *live.Live
	random  *rand.Rand
}

func newScene(t testing.TB) *scene {
	t.Helper()
	return sceneIn(t, t.TempDir(), began)
}

// sceneIn opens the stores of a folder, where there may be some already.
func sceneIn(t testing.TB, dir string, now time.Time) *scene {
	t.Helper()
	s := &scene{t: t, now: now, live: live.New(live.Options{}), random: rand.New(rand.NewPCG(9, 22))}
	var err error
	s.metrics, _, err = metricstore.Open(metricstore.Options{
		Dir: filepath.Join(dir, "raw"), Every: -1, Now: s.clock,
		Space: func(string) (free, total uint64, err error) { return 80 << 30, 100 << 30, nil },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.metrics.Close()) })
	s.events, _, err = eventstore.Open(eventstore.Options{Dir: filepath.Join(dir, "events"), FrameEvery: time.Hour, Now: s.clock})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.events.Close()) })
	s.table, _, err = entity.Open(entity.Options{Dir: dir, Now: s.clock})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.table.Close()) })
	return s
}

func (s *scene) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// pass moves the clock.
func (s *scene) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// actor is a container of a scene.
type actor struct {
	id, name, project, pod string
	// cpu is in use at a second; memory in bytes.
	cpu, memory func(second int) float64
	limit       float64
	// peer is whom it talks to, by id.
	peer string
	// lives tells whether it is there at a second; nil: always.
	lives func(second int) bool
}

func id(n int) string { return fmt.Sprintf("%064x", (n+1)*7919) }

// idler is one that nothing happens to.
func idler(n int) actor {
	return actor{
		id: id(n), name: fmt.Sprintf("app-%d", n), limit: 512 << 20,
		cpu:    func(int) float64 { return 0.01 },
		memory: func(s int) float64 { return float64(64<<20 + (s*7919+n*31)%(4<<20)) },
	}
}

func (a *actor) resource(m pcommon.Map) {
	m.PutStr("container.id", a.id)
	m.PutStr("container.name", a.name)
	m.PutStr("container.image.name", "registry.example/"+a.name)
	for key, value := range map[string]string{"docker.compose.project": a.project, "service.name": a.name, "k8s.pod.uid": a.pod} {
		if value != "" {
			m.PutStr(key, value)
		}
	}
}

// record writes everything of so many seconds, once each second, and moves the
// clock.
func (s *scene) record(seconds int, actors ...actor) {
	s.t.Helper()
	for range seconds {
		s.pass(time.Second)
		second := int(s.now.Sub(began) / time.Second)
		md := pmetric.NewMetrics()
		p := pen{scope: md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty(), at: s.now}
		p.host(second)
		for i := range actors {
			if a := &actors[i]; a.lives == nil || a.lives(second) {
				resource := md.ResourceMetrics().AppendEmpty()
				a.resource(resource.Resource().Attributes())
				p.scope = resource.ScopeMetrics().AppendEmpty()
				p.scope.Scope().SetName(ownScope)
				p.container(a, second, s.random)
			}
		}
		written := s.metrics.Write(context.Background(), md)
		require.Empty(s.t, written.Dropped)
		s.table.ObserveMetrics(md)
		s.live.Observe(md)
		s.live.Tick(s.now)
		if second%60 == 0 {
			require.NoError(s.t, s.metrics.Maintain(context.Background()))
		}
	}
}

// tell appends one event of a container now.
func (s *scene) tell(a actor, name, body string, attributes map[string]any) {
	s.t.Helper()
	require.NoError(s.t, s.table.Maintain())
	logs := happening{name, body, attributes}.of(a, s.now)
	s.table.ObserveLogs(logs)
	require.Empty(s.t, s.events.Append(logs).Dropped)
}

// happening is an event of a container.
type happening struct {
	name, body string
	attributes map[string]any
}

func (h happening) of(a actor, at time.Time) plog.Logs {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	if a.id != "" {
		a.resource(resource.Resource().Attributes())
	}
	scope := resource.ScopeLogs().AppendEmpty()
	scope.Scope().SetName(ownScope)
	record := scope.LogRecords().AppendEmpty()
	record.SetEventName(h.name)
	record.SetTimestamp(pcommon.NewTimestampFromTime(at))
	record.Body().SetStr(h.body)
	if err := record.Attributes().FromRaw(h.attributes); err != nil {
		panic(err) // a mistake in the test
	}
	return logs
}

// last is the window of the last so many seconds.
func (s *scene) last(seconds int) bundle.Window {
	return bundle.Window{From: s.now.Add(-time.Duration(seconds) * time.Second), To: s.now}
}

// pen writes metrics with the names and units of TELEMETRY.md, about 60 series for
// a container.
type pen struct {
	scope pmetric.ScopeMetrics
	at    time.Time
}

func (p *pen) gauge(name, unit string, v float64, attributes ...string) {
	m := p.scope.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	p.point(m.SetEmptyGauge().DataPoints().AppendEmpty(), v, attributes)
}

func (p *pen) sum(name, unit string) pmetric.Sum {
	m := p.scope.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	sum := m.SetEmptySum()
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	return sum
}

func (p *pen) point(to pmetric.NumberDataPoint, v float64, attributes []string) {
	to.SetTimestamp(pcommon.NewTimestampFromTime(p.at))
	to.SetStartTimestamp(pcommon.NewTimestampFromTime(began))
	to.SetDoubleValue(v)
	for i := 0; i < len(attributes); i += 2 {
		to.Attributes().PutStr(attributes[i], attributes[i+1])
	}
}

func (p *pen) counter(name, unit string, v float64, attributes ...string) {
	sum := p.sum(name, unit)
	sum.SetIsMonotonic(true)
	p.point(sum.DataPoints().AppendEmpty(), v, attributes)
}

func (p *pen) amount(name, unit string, v float64, attributes ...string) {
	p.point(p.sum(name, unit).DataPoints().AppendEmpty(), v, attributes)
}

func (p *pen) host(second int) {
	s := float64(second)
	for i, what := range []string{"cpu", "memory", "io"} {
		p.counter("system."+what+".pressure.total", "s", s*0.02*float64(i+1), "psi.type", "some")
		p.counter("system."+what+".pressure.total", "s", s*0.01*float64(i+1), "psi.type", "full")
	}
	for _, direction := range []string{"receive", "transmit"} {
		p.counter("system.network.io", "By", 1e6*s, "network.io.direction", direction, "network.interface.name", "eth0")
	}
}

func (p *pen) container(a *actor, second int, random *rand.Rand) {
	s, cpu, memory := float64(second), a.cpu(second), a.memory(second)
	share := 0.0
	if a.limit > 0 {
		share = memory / a.limit
		p.amount("container.memory.limit", "By", a.limit)
		p.gauge("container.memory.utilization", "1", share)
		p.amount("container.memory.available", "By", a.limit-memory)
	}
	p.gauge("container.uptime", "s", s)
	p.counter("container.cpu.time", "s", cpu*s*0.7, "cpu.mode", "user")
	p.counter("container.cpu.time", "s", cpu*s*0.3, "cpu.mode", "system")
	p.gauge("container.cpu.usage", "{cpu}", cpu*(0.9+0.2*random.Float64()))
	p.gauge("container.cpu.limit", "{cpu}", 2)
	p.counter("container.cpu.throttling.time", "s", max(0, cpu-1)*s*0.1)
	p.counter("container.cpu.throttling.periods", "{period}", math.Floor(max(0, cpu-1)*s), "cpu.throttled", "true")
	p.counter("container.cpu.throttling.periods", "{period}", s*10, "cpu.throttled", "false")
	p.amount("container.memory.usage", "By", memory)
	p.amount("container.memory.rss", "By", math.Floor(memory*0.8))
	p.amount("container.memory.working_set", "By", math.Floor(memory*0.85))
	p.gauge("container.memory.peak", "By", memory)
	p.amount("container.memory.cache", "By", math.Floor(memory*0.15))
	p.amount("container.memory.kernel", "By", math.Floor(memory*0.05))
	p.amount("container.memory.swap.usage", "By", 0)
	p.counter("container.paging.faults", "{fault}", s*100+float64(random.IntN(90)), "system.paging.fault.type", "minor")
	p.counter("container.paging.faults", "{fault}", s, "system.paging.fault.type", "major")
	for _, kind := range []string{"low", "high", "max", "oom", "oom_kill", "oom_group_kill"} {
		p.counter("container.memory.events", "{event}", 0, "memory.event.type", kind)
	}
	p.gauge("container.degraded", "1", 0, "degraded.reason", "oom")
	for _, direction := range []string{"read", "write"} {
		p.counter("container.disk.io", "By", s*4096*float64(1+random.IntN(2)), "disk.io.direction", direction, "system.device", "8:0")
		p.counter("container.disk.operations", "{operation}", s, "disk.io.direction", direction, "system.device", "8:0")
	}
	p.amount("container.pids.count", "{task}", 7)
	p.amount("container.pids.limit", "{task}", 100)
	for _, what := range []string{"cpu", "memory", "io"} {
		p.counter("container."+what+".pressure.total", "s", s*max(0, share-0.8), "psi.type", "some")
		p.counter("container."+what+".pressure.total", "s", s*max(0, share-0.9), "psi.type", "full")
	}
	p.network(a, s, random)
}

func (p *pen) network(a *actor, s float64, random *rand.Rand) {
	for _, direction := range []string{"receive", "transmit"} {
		on := []string{"network.io.direction", direction, "network.interface.name", "eth0"}
		p.counter("container.network.io", "By", s*20_000+float64(random.IntN(20_000)), on...)
		p.counter("container.network.packet.count", "{packet}", s*20, on...)
		p.counter("container.network.errors", "{error}", 0, on...)
		p.counter("container.network.packet.dropped", "{packet}", 0, on...)
	}
	for i, state := range []string{"established", "time_wait", "listen"} {
		p.amount("container.network.tcp.connection.count", "{connection}", float64(3*i+2), "network.connection.state", state)
	}
	p.counter("container.network.tcp.connection.opened", "{connection}", s, "network.connection.opener", "active")
	p.counter("container.network.tcp.connection.opened", "{connection}", s*2, "network.connection.opener", "passive")
	p.counter("container.network.tcp.segment.retransmitted", "{segment}", 0)
	p.counter("container.network.tcp.reset", "{reset}", 0)
	p.counter("container.connection.count", "{connection}", s, "network.transport", "tcp", "network.direction", "outgoing", "connection.outcome", "closed")
	p.amount("container.connection.active", "{connection}", 4, "network.transport", "tcp", "network.direction", "outgoing")
	if a.peer != "" {
		with := []string{"peer.container.id", a.peer, "server.port", "5432", "network.direction", "outgoing"}
		p.counter("container.edge.connections", "{connection}", s, with...)
		p.counter("container.edge.io", "By", s*1000, append(with, "network.io.direction", "transmit")...)
	}
}
