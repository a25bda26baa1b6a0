package entity

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
)

func TestTagsThatComeLater(t *testing.T) {
	r := newRig(t, Options{})
	r.measure(cgroupScope, attributes(idA), sec(1), uptime(1))
	require.Empty(t, r.lookup(idA).Name)
	tagged := attributes(idA, "container.name", "web", "service.name", "shop")
	list := tagged.PutEmptySlice("container.image.tags")
	list.AppendEmpty().SetStr("1.4")
	list.AppendEmpty().SetStr("latest")
	tagged.PutInt("docker.compose.container_number", 2)
	r.measure(netnsScope, tagged, sec(2), point{"container.network.tcp.reset", 1, nil})
	e := r.lookup(idA)
	require.Equal(t, "web", e.Name)
	require.Equal(t, map[string]string{
		"container.name": "web", "service.name": "shop",
		"container.image.tags": "1.4, latest", "docker.compose.container_number": "2",
	}, e.Tags)

	// An application adds what nobody has said, and changes nothing.
	r.measure("some.application", attributes(idA, "service.name", "mine", "telemetry.sdk.language", "go"), sec(3), point{"requests", 1, nil})
	e = r.lookup(idA)
	require.Equal(t, "shop", e.Service)
	require.Equal(t, "go", e.Tags["telemetry.sdk.language"])
	// Data without tags take none away.
	r.Observe(attributes(idA), sec(4))
	require.Equal(t, "shop", r.lookup(idA).Service)
	require.Equal(t, sec(4), r.lookup(idA).LastSeen)
	require.Len(t, r.List(Filter{}), 1)
}

func TestEventsBeforeAndAfterData(t *testing.T) {
	before, after := newRig(t, Options{}), newRig(t, Options{})
	start := func(r rig) { r.kernel("container.start", idA, sec(0), "container.pid", 5) }
	data := func(r rig) { r.Observe(attributes(idA, "container.name", "web"), sec(2)) }
	start(before)
	data(before)
	data(after)
	start(after)
	for _, r := range []rig{before, after} {
		all := r.List(Filter{})
		require.Len(t, all, 1)
		require.Equal(t, sec(0), all[0].Start)
		require.Equal(t, 5, all[0].PID)
		require.Equal(t, "web", all[0].Name)
	}
	// An end of which nobody has heard the beginning.
	r := newRig(t, Options{})
	r.kernel("container.stop", idB, sec(10), "container.lifetime", 4.0)
	r.Observe(attributes(idB, "container.name", "late"), sec(11))
	e := r.lookup(idB)
	require.Equal(t, sec(6), e.Start)
	require.Equal(t, sec(10), e.Stop)
	require.Equal(t, "late", e.Name)
}

func TestIgnored(t *testing.T) {
	r := newRig(t, Options{})
	r.Observe(attributes("", "host.name", "h"), sec(1))
	r.Observe(attributes(strings.Repeat("x", 257)), sec(1))
	number := pcommon.NewMap()
	number.PutInt("container.id", 7)
	r.Observe(number, sec(1))
	require.Empty(t, r.List(Filter{}))
	require.Equal(t, uint64(2), r.Stats().Dropped["id"])
}

func TestTagBounds(t *testing.T) {
	r := newRig(t, Options{})
	m := attributes(idA, "a", strings.Repeat("é", 2000), "bad\xff", "x", "b", "bad\xff")
	for i := range 200 {
		m.PutStr(fmt.Sprintf("k%03d", i), "v")
	}
	r.Observe(m, sec(1))
	e := r.lookup(idA)
	require.Len(t, e.Tags, 128)
	require.Equal(t, strings.Repeat("é", 512), e.Tags["a"])
	require.Equal(t, "bad\uFFFD", e.Tags["b"])
	require.Equal(t, uint64(200+2-128), r.Stats().Dropped["tags"])
}

func TestDegradedGauge(t *testing.T) {
	r := newRig(t, Options{})
	gauge := func(at, value float64) {
		r.measure(cgroupScope, attributes(idA), sec(at), uptime(at),
			point{"container.degraded", value, []string{"degraded.reason", "oom"}},
			point{"container.degraded", 0, []string{"degraded.reason", "crash"}})
	}
	gauge(1, 1) // the event was missed
	require.Equal(t, []Degradation{{Reason: "oom", Since: sec(1)}}, r.lookup(idA).Degraded)
	r.kernel("container.degraded", idA, sec(3), "degraded.reason", "oom", "process.executable.name", "worker")
	require.Equal(t, "worker", r.lookup(idA).Degraded[0].Executable, "the same, with its name")
	require.Equal(t, sec(1), r.lookup(idA).Degraded[0].Since)
	gauge(4, 0)
	require.Empty(t, r.lookup(idA).Degraded)

	r.kernel("container.degraded", idA, sec(6), "degraded.reason", "oom", "process.executable.name", "worker")
	gauge(5.5, 0) // made before the event
	require.Len(t, r.lookup(idA).Degraded, 1)
	require.Equal(t, 1, r.Stats().Broken)
	r.kernel("container.recovered", idA, sec(8), "process.executable.name", "worker")
	require.Empty(t, r.lookup(idA).Degraded)

	r.kernel("container.degraded", idA, sec(9), "degraded.reason", "oom", "process.executable.name", "a")
	r.kernel("container.degraded", idA, sec(9), "degraded.reason", "crash", "process.executable.name", "b")
	r.kernel("container.recovered", idA, sec(10), "process.executable.name", "a")
	require.Len(t, r.lookup(idA).Degraded, 1)
	require.Equal(t, "b", r.lookup(idA).Degraded[0].Executable)
}

// state is container.state with 1 for one of the states, "" for none.
func state(is string) []point {
	var all []point
	for _, s := range []string{"running", "paused", "restarting", "exited", "dead"} {
		value := 0.0
		if s == is {
			value = 1
		}
		all = append(all, point{"container.state", value, []string{"container.state", s}})
	}
	return all
}

func TestEngineMetrics(t *testing.T) {
	r := newRig(t, Options{})
	tell := func(id string, at float64, is string, more ...point) {
		r.measure(engineScope, attributes(id), sec(at), append(more, state(is)...)...)
	}
	tell(idA, 1, "running", point{"container.restart.count", 3, nil},
		point{"container.health.status", 1, []string{"container.health.status", "unhealthy"}})
	e := r.lookup(idA)
	require.Equal(t, "running", e.Status)
	require.Equal(t, "unhealthy", e.Health)
	require.Equal(t, 3, e.Restarts)
	tell(idA, 2, "paused")
	require.Equal(t, Running, new(r.lookup(idA)).StateAt(time.Time{}))

	tell(idB, 1, "exited") // ended before anybody listened
	e = r.lookup(idB)
	require.Equal(t, Ended, e.StateAt(time.Time{}))
	require.True(t, e.StopGuessed)
	before := r.Stats()
	tell(idB, 2, "exited")
	require.Equal(t, sec(1), r.lookup(idB).Stop)
	require.Equal(t, before.Ended, r.Stats().Ended)

	tell("made", 1, "")
	require.Equal(t, Ended, new(r.lookup("made")).StateAt(time.Time{}))
	r.engine("container.start", "made", sec(50))
	require.Len(t, r.List(Filter{Text: "made"}), 1)
	require.Equal(t, Running, new(r.lookup("made")).StateAt(time.Time{}))

	// The engine still says exited while the kernel has the next run already.
	r.kernel("container.start", idB, sec(60))
	tell(idB, 60.2, "exited")
	require.Equal(t, Running, new(r.lookup(idB)).StateAt(time.Time{}))
}

func TestOtherEvents(t *testing.T) {
	r := newRig(t, Options{})
	r.Observe(attributes(idA, "container.name", "old"), sec(0))
	r.engine("container.rename", idA, sec(1), "container.name", "new", "container.old_name", "old")
	require.Equal(t, "new", r.lookup(idA).Name)
	r.Observe(attributes(idA, "container.name", "old"), sec(2))
	require.Equal(t, "old", r.lookup(idA).Name, "renamed back")
	r.engine("container.pause", idA, sec(3))
	require.Equal(t, "paused", r.lookup(idA).Status)
	r.engine("container.unpause", idA, sec(4))
	require.Equal(t, "running", r.lookup(idA).Status)
	r.engine("container.health_status", idA, sec(5), "container.health.status", "unhealthy")
	require.Equal(t, "unhealthy", r.lookup(idA).Health)
	r.engine("container.oom", idA, sec(6))
	require.True(t, r.lookup(idA).OOMKilled)
	r.kernel("container.oom_kill", idA, sec(7), "count", 5)
	require.Equal(t, 5, r.lookup(idA).OOMKills)
	_, before := r.Changed(0)
	r.other("network.connection.closed", idA, sec(8))
	_, after := r.Changed(0)
	require.Equal(t, before, after, "it says nothing new of the container")
	require.Equal(t, "container.oom_kill", r.lookup(idA).LastEvent.Name)
	r.engine("container.destroy", idA, sec(9))
	e := r.lookup(idA)
	require.Equal(t, sec(9), e.Stop)
	require.True(t, e.StopGuessed)
}

func TestSilence(t *testing.T) {
	r := newRig(t, Options{GoneAfter: time.Minute})
	r.measure(cgroupScope, attributes(idA), sec(0), uptime(10))
	r.Observe(attributes(idB), sec(0))
	require.NoError(t, r.Maintain())
	require.Equal(t, 2, r.Stats().Running, "nothing at all was heard since")
	r.Observe(attributes(idB), sec(61))
	require.NoError(t, r.Maintain())
	e := r.lookup(idA)
	require.Equal(t, sec(0), e.Stop)
	require.True(t, e.StopGuessed)
	r.measure(cgroupScope, attributes(idA), sec(70), uptime(80))
	e = r.lookup(idA)
	require.True(t, e.Stop.IsZero(), "it was there all the time")
	require.Len(t, r.List(Filter{}), 2)
	// What has ended for certain does not come back by late data.
	r.kernel("container.stop", idA, sec(71), "container.lifetime", 81.0)
	r.Observe(attributes(idA), sec(200))
	require.Equal(t, sec(71), r.lookup(idA).Stop)
}

func TestFutureTimeEndsNothing(t *testing.T) {
	r := newRig(t, Options{Now: func() time.Time { return sec(10) }})
	r.Observe(attributes(idA), sec(1))
	r.Observe(attributes(idB), sec(1e6))
	require.NoError(t, r.Maintain())
	require.Equal(t, 2, r.Stats().Running)
	require.Equal(t, sec(10), r.lookup(idB).LastSeen)
}

func TestFilter(t *testing.T) {
	r := newRig(t, Options{})
	r.measure(cgroupScope, attributes("one", "container.name", "Web", "team", "shop"), sec(0), uptime(0))
	r.measure(cgroupScope, attributes("two", "container.name", "db", "team", "Shop"), sec(100), uptime(0))
	r.kernel("container.stop", "two", sec(200), "container.lifetime", 100.0)
	r.kernel("container.degraded", "one", sec(300), "degraded.reason", "oom")
	f := func(want string, filter Filter) {
		t.Helper()
		var got []string
		for _, e := range r.List(filter) {
			got = append(got, e.ID)
		}
		require.Equal(t, want, strings.Join(got, " "))
	}
	f("one two", Filter{})
	f("one", Filter{State: Broken})
	f("two", Filter{State: Ended})
	f("", Filter{State: Running})
	f("one two", Filter{State: Running, To: sec(150)})
	f("one", Filter{To: sec(50)})
	f("one", Filter{From: sec(201)})
	f("one two", Filter{From: sec(200)})
	f("one two", Filter{Text: "SHOP"})
	f("one", Filter{Text: "web shop"})
	f("two", Filter{Text: "name=db"})
	f("two", Filter{Text: "TWO"})
	f("", Filter{Text: "web db"})
}

func TestBound(t *testing.T) {
	r := newRig(t, Options{Max: 3})
	r.measure(cgroupScope, attributes("live"), sec(0), uptime(0))
	for i := range 4 {
		r.kernel("container.stop", fmt.Sprint("dead", i), sec(float64(10+i)), "container.lifetime", 1.0)
	}
	ids := func() (all []string) {
		for _, e := range r.List(Filter{}) {
			all = append(all, e.ID)
		}
		return all
	}
	require.Equal(t, []string{"live", "dead2", "dead3"}, ids())
	require.Equal(t, uint64(2), r.Stats().Evicted)
	for i := range 3 {
		r.Observe(attributes(fmt.Sprint("more", i)), sec(float64(20+i)))
	}
	require.Equal(t, []string{"more0", "more1", "more2"}, ids(), "the one that was silent for longest goes first")
	s := r.Stats()
	require.Equal(t, uint64(5), s.Evicted)
	require.Equal(t, uint64(1), s.EvictedLive)
	require.Equal(t, 3, s.Running)
	require.Empty(t, r.byID["live"])
	require.Len(t, r.open, 3)
}

func TestMaxAge(t *testing.T) {
	now := sec(0)
	r := newRig(t, Options{MaxAge: time.Hour, Now: func() time.Time { return now }})
	now = sec(10)
	r.kernel("container.stop", idA, sec(10), "container.lifetime", 1.0)
	now = sec(3600)
	require.NoError(t, r.Maintain())
	require.Len(t, r.List(Filter{}), 1)
	now = sec(3700)
	require.NoError(t, r.Maintain())
	require.Empty(t, r.List(Filter{}))
	require.Equal(t, uint64(1), r.Stats().Expired)
}

func TestChanged(t *testing.T) {
	r := newRig(t, Options{})
	r.Observe(attributes(idA), sec(1))
	r.Observe(attributes(idB), sec(1))
	all, version := r.Changed(0)
	require.Len(t, all, 2)
	r.Observe(attributes(idA), sec(2))
	none, _ := r.Changed(version)
	require.Empty(t, none, "it was only seen again")
	r.Observe(attributes(idB, "container.name", "x"), sec(2))
	some, next := r.Changed(version)
	require.Len(t, some, 1)
	require.Equal(t, "x", some[0].Name)
	require.Greater(t, next, version)
	none, same := r.Changed(^uint64(0))
	require.Empty(t, none)
	require.Equal(t, next, same)
}

// A walk passes all, also while the table changes and is asked.
func TestWalk(t *testing.T) {
	r := newRig(t, Options{Max: 1000})
	for i := range 1000 {
		r.kernel("container.start", fmt.Sprint("c", i), sec(float64(i)))
	}
	r.Observe(attributes("c999", "container.name", "last"), sec(999))
	var seqs []uint64
	for e := range r.Walk() {
		seqs = append(seqs, e.Seq)
		require.Equal(t, fmt.Sprint("c", e.Seq-1), e.ID)
		require.Equal(t, sec(float64(e.Seq-1)), e.Began())
		require.Nil(t, e.Tags)
		if e.Seq == 300 { // in the middle of a chunk
			r.kernel("container.stop", "c0", sec(1500), "container.lifetime", 1500.0)
			r.Observe(attributes("new"), sec(1500)) // and c0, which has ended, goes
			require.Equal(t, uint64(1), r.Stats().Evicted)
		}
		if e.Seq == 1000 {
			require.Equal(t, "last", e.Name)
			break
		}
	}
	require.Len(t, seqs, 1000)
	require.IsIncreasing(t, seqs)
	for range newRig(t, Options{}).Walk() {
		t.Error("there is none")
	}
}

// TestCrashLoop: hundreds of runs of one id stay apart, and cost no more each.
func TestCrashLoop(t *testing.T) {
	r := newRig(t, Options{})
	const runs = 500
	for i := range runs {
		at := float64(i)
		r.kernel("container.start", idA, sec(at))
		r.engine("container.start", idA, sec(at+0.1))
		r.engine("container.die", idA, sec(at+0.25), "container.exit_code", 1)
		r.kernel("container.stop", idA, sec(at+0.2), "container.lifetime", 0.2)
	}
	all := r.List(Filter{})
	require.Len(t, all, runs)
	for i, e := range all {
		require.Equal(t, sec(float64(i)), e.Start)
		require.Equal(t, sec(float64(i)+0.2), e.Stop)
		require.NotNil(t, e.ExitCode)
		require.Equal(t, i, e.Restarts)
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	r := newRig(t, Options{Dir: t.TempDir(), Max: 50})
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 200 {
				id := fmt.Sprint(worker, "-", i%40)
				r.Observe(attributes(id, "container.name", fmt.Sprint("n", i)), sec(float64(i)))
				for _, e := range r.List(Filter{Text: "n1"}) {
					e.Tags["mine"] = "now"
				}
				r.Lookup(id)
				if i%20 == 0 {
					if err := r.Maintain(); err != nil {
						t.Error(err)
					}
					r.Stats()
				}
			}
		})
	}
	group.Wait()
	require.LessOrEqual(t, r.Stats().Entities, 50)
	for _, e := range r.List(Filter{}) {
		require.NotContains(t, e.Tags, "mine", "a list belongs to its caller")
	}
}
