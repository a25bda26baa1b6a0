package entity

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

const (
	cgroupScope = "github.com/tallymanhq/tallyman/receiver/cgroupreceiver"
	engineScope = "github.com/tallymanhq/tallyman/receiver/containerstatusreceiver"
	netnsScope  = "github.com/tallymanhq/tallyman/receiver/netnsreceiver"
	idA         = "aa978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	idB         = "bbe8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d3e"
)

var epoch = time.Date(2026, time.November, 20, 3, 12, 0, 0, time.UTC)

// sec is a time some seconds after the epoch.
func sec(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }

// rig is a table whose clock is a day ahead of what the tests tell, so that no
// time is in the future.
type rig struct {
	*testing.T
	*Table
}

func newRig(t *testing.T, o Options) rig {
	if o.Now == nil {
		o.Now = func() time.Time { return epoch.Add(24 * time.Hour) }
	}
	table, _, err := Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, table.Close()) })
	return rig{t, table}
}

// attributes makes resource attributes of an id and pairs.
func attributes(id string, pairs ...string) pcommon.Map {
	m := pcommon.NewMap()
	if id != "" {
		m.PutStr("container.id", id)
	}
	for i := 0; i < len(pairs); i += 2 {
		m.PutStr(pairs[i], pairs[i+1])
	}
	return m
}

// kernel, engine and other tell an event about an id as that receiver does. Values
// are as pcommon's FromRaw takes them.
func (r rig) kernel(name, id string, at time.Time, values ...any) {
	r.Helper()
	r.tell(cgroupScope, name, resourceOf{id, at}, values)
}

func (r rig) engine(name, id string, at time.Time, values ...any) {
	r.Helper()
	r.tell(engineScope, name, resourceOf{id, at}, values)
}

func (r rig) other(name, id string, at time.Time, values ...any) {
	r.Helper()
	r.tell("", name, resourceOf{id, at}, values)
}

type resourceOf struct {
	id string
	at time.Time
}

// tell sends an event as receivers do: with a resource of its own.
func (r rig) tell(scope, name string, about resourceOf, values []any) {
	r.Helper()
	id, at := about.id, about.at
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("container.id", id)
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(scope)
	record := sl.LogRecords().AppendEmpty()
	record.SetEventName(name)
	record.SetTimestamp(pcommon.NewTimestampFromTime(at))
	record.Body().SetStr(fmt.Sprintf("%s of %.4s", name, id))
	for i := 0; i < len(values); i += 2 {
		require.NoError(r, record.Attributes().PutEmpty(values[i].(string)).FromRaw(values[i+1]))
	}
	r.ObserveLogs(ld)
}

// point is one number of a metric.
type point struct {
	metric string
	value  float64
	pairs  []string
}

func (r rig) measure(scope string, resource pcommon.Map, at time.Time, points ...point) {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	resource.CopyTo(rm.Resource().Attributes())
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName(scope)
	for _, p := range points {
		var into pmetric.Metric
		for i := range sm.Metrics().Len() {
			if sm.Metrics().At(i).Name() == p.metric {
				into = sm.Metrics().At(i)
			}
		}
		if into == (pmetric.Metric{}) {
			into = sm.Metrics().AppendEmpty()
			into.SetName(p.metric)
			into.SetEmptyGauge()
		}
		dp := into.Gauge().DataPoints().AppendEmpty()
		dp.SetTimestamp(pcommon.NewTimestampFromTime(at))
		dp.SetDoubleValue(p.value)
		for i := 0; i < len(p.pairs); i += 2 {
			dp.Attributes().PutStr(p.pairs[i], p.pairs[i+1])
		}
	}
	r.ObserveMetrics(md)
}

func uptime(s float64) point { return point{metric: "container.uptime", value: s} }

func (r rig) lookup(id string) Entity {
	r.Helper()
	e, ok := r.Lookup(id)
	require.True(r, ok, "%s is unknown", id)
	return e
}

func TestLifeOfContainer(t *testing.T) {
	r := newRig(t, Options{})
	r.kernel("container.start", idA, sec(0), "container.pid", 211)
	r.measure(cgroupScope, attributes(idA, "container.name", "worker", "container.image.name", "shop/worker",
		"service.name", "worker", "docker.compose.project", "shop", "host.name", "host-7"), sec(1), uptime(1))
	r.kernel("container.oom_kill", idA, sec(2), "process.executable.name", "worker", "process.pid", 311,
		"process.vpid", 7, "process.memory.rss", 512<<20, "oom.victim.init", false, "container.survived", true)
	r.kernel("container.degraded", idA, sec(2.5), "degraded.reason", "oom", "process.executable.name", "worker",
		"process.pid", 311, "count", 1)

	e := r.lookup(idA)
	require.Equal(t, Broken, e.StateAt(time.Time{}))
	require.Equal(t, Running, e.StateAt(sec(1)))
	require.Equal(t, 211, e.PID)
	require.Equal(t, []string{"worker", "shop/worker", "worker", "shop"}, []string{e.Name, e.Image, e.Service, e.Project})
	require.Equal(t, "host-7", e.Tags["host.name"])
	require.NotContains(t, e.Tags, "container.id")
	no, yes := false, true
	require.Equal(t, &Kill{At: sec(2), Executable: "worker", PID: 311, VPID: 7, RSS: 512 << 20, Init: &no, Survived: &yes}, e.LastKill)
	require.Equal(t, []Degradation{{Reason: "oom", Since: sec(2.5), Executable: "worker", PID: 311, Count: 1,
		Text: "container.degraded of aa97"}}, e.Degraded)
	require.Equal(t, &Note{At: sec(2.5), Name: "container.degraded", Body: "container.degraded of aa97"}, e.LastEvent)

	r.kernel("container.recovered", idA, sec(4), "process.executable.name", "worker", "degraded.duration", 1.5)
	require.Equal(t, Running, new(r.lookup(idA)).StateAt(time.Time{}))

	r.kernel("container.stop", idA, sec(10), "container.exit_code", 137, "container.exit_signal", 9,
		"container.lifetime", 10.0, "container.memory.peak", 900, "container.pids.peak", 12, "container.cpu.time", 3.25, "container.oom_killed", true)
	e = r.lookup(idA)
	require.Equal(t, Ended, e.StateAt(time.Time{}))
	require.Equal(t, Running, e.StateAt(sec(9)))
	require.Equal(t, sec(0), e.Start)
	require.Equal(t, sec(10), e.Stop)
	require.False(t, e.StopGuessed)
	require.Equal(t, 137, *e.ExitCode)
	require.Equal(t, 9, *e.ExitSignal)
	require.Equal(t, int64(900), e.MemoryPeak)
	require.Equal(t, int64(12), e.PidsPeak)
	require.InDelta(t, 3.25, e.CPUSeconds, 1e-9)
	require.Equal(t, 1, e.OOMKills)
	require.True(t, e.OOMKilled)
	require.Len(t, r.List(Filter{}), 1)
}

// TestTwoSources tells the same life by the kernel and by the engine, in every
// order that keeps each of them in order.
func TestTwoSources(t *testing.T) {
	kernelTells := []func(rig){
		func(r rig) { r.kernel("container.start", idA, sec(0)) },
		func(r rig) {
			r.kernel("container.stop", idA, sec(0.3), "container.lifetime", 0.3, "container.exit_code", 1)
		},
		func(r rig) { r.kernel("container.start", idA, sec(1)) },
	}
	engineTells := []func(rig){
		func(r rig) { r.engine("container.create", idA, sec(-0.1)) },
		func(r rig) { r.engine("container.start", idA, sec(0.2)) },
		func(r rig) { r.engine("container.die", idA, sec(0.35), "container.exit_code", 1) },
		func(r rig) { r.engine("container.start", idA, sec(1.2)) },
	}
	n := 0
	var merge func(done []func(rig), a, b []func(rig))
	merge = func(done, a, b []func(rig)) {
		if len(a)+len(b) > 0 {
			if len(a) > 0 {
				merge(append(done[:len(done):len(done)], a[0]), a[1:], b)
			}
			if len(b) > 0 {
				merge(append(done[:len(done):len(done)], b[0]), a, b[1:])
			}
			return
		}
		n++
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := newRig(t, Options{})
			for _, tell := range done {
				tell(r)
			}
			all := r.List(Filter{})
			require.Len(t, all, 2)
			require.Equal(t, []time.Time{sec(0), sec(1)}, []time.Time{all[0].Start, all[1].Start})
			require.Equal(t, sec(0.3), all[0].Stop, "the kernel's word")
			require.Equal(t, 1, *all[0].ExitCode)
			require.True(t, all[1].Stop.IsZero())
			require.Equal(t, 1, all[1].Restarts)
		})
	}
	merge(nil, kernelTells, engineTells)
	require.Equal(t, 35, n) // 7 over 3
}

func TestRestartsWithSameName(t *testing.T) {
	r := newRig(t, Options{})
	for i := range 3 {
		id := fmt.Sprintf("%064d", i)
		at := float64(100 * i)
		r.engine("container.start", id, sec(at))
		r.measure(cgroupScope, attributes(id, "container.name", "web"), sec(at+1), uptime(1))
		r.engine("container.die", id, sec(at+50), "container.exit_code", i)
		r.engine("container.destroy", id, sec(at+51))
	}
	r.measure(cgroupScope, attributes(idB, "container.name", "other"), sec(300), uptime(300))
	all := r.Incarnations("web")
	require.Len(t, all, 3)
	for i, e := range all {
		require.Equal(t, i, *e.ExitCode)
		require.Equal(t, i+1, e.Incarnation)
		require.Equal(t, sec(float64(100*i)+51), e.Removed)
		require.Zero(t, e.Restarts, "they are different containers")
	}
	require.Equal(t, 3, r.lookup(fmt.Sprintf("%064d", 2)).Incarnation)
	require.Empty(t, r.Incarnations("nobody"))

	for i := range 3 {
		r.measure(cgroupScope, attributes(fmt.Sprintf("%063da", i)), sec(400), uptime(10))
		require.Equal(t, 1, r.lookup(fmt.Sprintf("%063da", i)).Incarnation, "nameless ones have nothing in common")
	}
}

func TestRestartUnderSameID(t *testing.T) {
	r := newRig(t, Options{})
	named := attributes(idA, "container.name", "web", "network.namespace.inode", "4026532000")
	r.measure(cgroupScope, named, sec(10), uptime(10))
	r.kernel("container.stop", idA, sec(20), "container.lifetime", 20.0)
	r.kernel("container.start", idA, sec(21))
	e := r.lookup(idA)
	require.Equal(t, "web", e.Name, "known before its first tags")
	require.NotContains(t, e.Tags, "network.namespace.inode")
	require.Equal(t, 1, e.Restarts)
	// The last word about the first run comes late, and is not about the second.
	r.measure(cgroupScope, attributes(idA), sec(20), uptime(20))
	r.measure(cgroupScope, attributes(idA), sec(22), uptime(1))
	runs := r.Incarnations("web")
	require.Len(t, runs, 2)
	require.Equal(t, sec(20), runs[0].Stop)
	require.True(t, runs[1].Stop.IsZero())
	first, ok := r.LookupAt(idA, sec(15))
	require.True(t, ok)
	require.Equal(t, runs[0].Seq, first.Seq)
	second, _ := r.LookupAt(idA, sec(21.5))
	require.Equal(t, runs[1].Seq, second.Seq)
}

// TestMissedRestart: neither end nor start were told, but the uptime is new.
func TestMissedRestart(t *testing.T) {
	r := newRig(t, Options{})
	r.measure(cgroupScope, attributes(idA), sec(100), uptime(100))
	r.measure(cgroupScope, attributes(idA), sec(200), uptime(50))
	all := r.List(Filter{})
	require.Len(t, all, 2)
	require.Equal(t, sec(100), all[0].Stop)
	require.True(t, all[0].StopGuessed)
	require.Equal(t, sec(150), all[1].Start)
	// The truth about the first comes late.
	r.kernel("container.stop", idA, sec(140), "container.lifetime", 140.0, "container.exit_code", 0)
	all = r.List(Filter{})
	require.Len(t, all, 2)
	require.Equal(t, sec(140), all[0].Stop)
	require.False(t, all[0].StopGuessed)
	require.True(t, all[1].Stop.IsZero())
}

// TestReusedID is a runtime whose ids are names, such as LXC: the second "web" is
// somebody else.
func TestReusedID(t *testing.T) {
	r := newRig(t, Options{})
	r.measure(cgroupScope, attributes("web", "container.name", "web", "container.label.team", "shop"), sec(5), uptime(5))
	r.engine("container.die", "web", sec(10), "container.exit_code", 0)
	r.engine("container.destroy", "web", sec(11))
	r.kernel("container.start", "web", sec(60))
	require.Empty(t, r.lookup("web").Tags, "those of another container")

	r.measure(cgroupScope, attributes("db", "container.name", "db", "container.label.team", "shop"), sec(5), uptime(5))
	r.kernel("container.stop", "db", sec(10), "container.lifetime", 10.0)
	r.kernel("container.start", "db", sec(60))
	require.Equal(t, "shop", r.lookup("db").Tags["container.label.team"], "until its own tags come")
	r.measure(cgroupScope, attributes("db", "container.name", "db"), sec(61), uptime(1))
	require.NotContains(t, r.lookup("db").Tags, "container.label.team")
}
