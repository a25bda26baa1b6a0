package entity

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// setBack is a rig whose clock the test sets.
func setBack(t *testing.T, o Options) (rig, *time.Time) {
	now := sec(0)
	o.Now = func() time.Time { return now }
	return newRig(t, o), &now
}

// second is what a recorder does in a second: data of some containers, and Maintain.
func (r rig) second(at time.Time, uptimes map[string]float64) {
	r.Helper()
	for id, up := range uptimes {
		r.measure(cgroupScope, attributes(id), at, uptime(up))
	}
	require.NoError(r, r.Maintain())
}

// The clock of the host goes back by hours. What is begun afterwards is not taken for
// silent because of what was heard before, and is not written over and over.
func TestClockGoesBack(t *testing.T) {
	r, now := setBack(t, Options{Dir: t.TempDir()})
	*now = sec(4 * 3600) // the table is old enough to tell silence
	r.second(*now, map[string]float64{idA: 10})
	*now = sec(5 * 3600)
	r.second(*now, map[string]float64{idA: 3610})
	r.kernel("container.stop", idA, *now, "container.lifetime", 3610.0)

	*now = sec(0)
	r.second(*now, map[string]float64{idB: 0})
	_, before := r.Changed(^uint64(0))
	size := r.Stats().FileBytes
	for n := range 30 {
		*now = sec(float64(n + 1))
		r.measure(cgroupScope, attributes(idB), *now, uptime(float64(n+1)))
		require.NoError(t, r.Maintain())
		require.True(t, r.lookup(idB).Stop.IsZero(), "after %d s", n)
	}
	_, after := r.Changed(^uint64(0))
	require.Equal(t, before, after, "nothing has changed")
	require.LessOrEqual(t, r.Stats().FileBytes, size+100, "a line that all are alive")
}

// What ran before the clock went back runs on: it has one incarnation, and its end,
// or its silence, is still noticed.
func TestClockGoesBackWhileContainersRun(t *testing.T) {
	r, now := setBack(t, Options{})
	ids := map[string]float64{"ends": 0, "silent": 0, "restarts": 0, "lives": 0}
	*now = sec(4 * 3600)
	r.second(*now, map[string]float64{idA: 1})
	r.kernel("container.stop", idA, *now, "container.lifetime", 1.0)
	*now = sec(5 * 3600)
	r.second(*now, map[string]float64{"ends": 60, "silent": 60, "restarts": 60, "lives": 60})
	began := r.lookup("lives").Start

	// The receiver took their begin from the clock of then: for hours it says 0.
	for n := range 60 {
		*now = sec(float64(n))
		r.second(*now, ids)
		r.measure(netnsScope, attributes("lives"), *now, point{"container.network.tcp.reset", 1, nil})
	}
	require.Len(t, r.List(Filter{}), 1+len(ids), "each is still the one it was")
	for id := range ids {
		require.Equal(t, Running, new(r.lookup(id)).StateAt(time.Time{}), id)
	}
	require.False(t, r.lookup("lives").LastSeen.After(*now))

	// The lifetime is negative then.
	r.kernel("container.stop", "ends", sec(60), "container.exit_code", 3, "container.lifetime", -17000.0)
	r.kernel("container.stop", "restarts", sec(60), "container.exit_code", 1, "container.lifetime", -17000.0)
	r.kernel("container.start", "restarts", sec(61))
	r.engine("container.start", "restarts", sec(61.1))
	for n := range 200 {
		*now = sec(float64(62 + n))
		r.second(*now, map[string]float64{"lives": 0, "restarts": float64(n + 1)})
	}
	require.Equal(t, Ended, new(r.lookup("ends")).StateAt(*now))
	require.Equal(t, 3, *r.lookup("ends").ExitCode)
	require.Equal(t, Ended, new(r.lookup("silent")).StateAt(*now))
	require.Equal(t, sec(59), r.lookup("silent").Stop)
	require.Equal(t, sec(61), r.lookup("restarts").Start)
	require.Equal(t, Running, new(r.lookup("restarts")).StateAt(time.Time{}))
	require.Equal(t, 1, r.lookup("restarts").Restarts)
	require.Len(t, r.List(Filter{}), len(ids)+2)

	// The clock arrives where it was.
	for n := range 10 {
		*now = began.Add(time.Duration(n) * time.Second)
		r.second(*now, map[string]float64{"lives": float64(n)})
	}
	require.Equal(t, began, r.lookup("lives").Start)
	require.Len(t, r.List(Filter{}), len(ids)+2)
	for _, e := range r.List(Filter{}) {
		require.False(t, !e.Stop.IsZero() && e.Stop.Before(e.Began()), "%s ended before it began", e.ID)
	}
}

// A container is restarted under its id after the clock went back: that is its last
// run, whoever tells, and whether the end of the one before was told or not.
func TestStartAfterClockWentBack(t *testing.T) {
	starts := map[string]func(rig){
		"kernel": func(r rig) { r.kernel("container.start", idA, sec(10)) },
		"both": func(r rig) {
			r.engine("container.start", idA, sec(10.2))
			r.kernel("container.start", idA, sec(10))
		},
	}
	for name, start := range starts {
		for _, ended := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ended), func(t *testing.T) {
				r, now := setBack(t, Options{})
				restarts(r, now, ended)
				*now = sec(11)
				start(r)
				r.isLast(sec(10), now)
			})
		}
	}
	t.Run("nobody", func(t *testing.T) {
		r, now := setBack(t, Options{})
		restarts(r, now, true)
		*now = sec(11)
		r.second(*now, map[string]float64{idA: 1})
		r.isLast(sec(10), now)
	})
}

// restarts tells of three runs of a container an hour later.
func restarts(r rig, now *time.Time, ended bool) {
	for n := range 3 {
		*now = sec(3600 + 100*float64(n))
		r.kernel("container.start", idA, *now)
	}
	if ended {
		*now = sec(3900)
		r.kernel("container.stop", idA, *now, "container.lifetime", 100.0)
	}
}

// isLast lets two minutes pass, and looks for the fourth run of the container.
func (r rig) isLast(start time.Time, now *time.Time) {
	r.Helper()
	for n := range 130 {
		*now = start.Add(time.Duration(n+1) * time.Second)
		r.second(*now, map[string]float64{idA: float64(n + 1)})
	}
	e := r.lookup(idA)
	require.Equal(r, start, e.Start)
	require.True(r, e.Stop.IsZero())
	require.Equal(r, 3, e.Restarts)
	require.Len(r, r.List(Filter{}), 4)
	require.Equal(r, 1, r.Stats().Running)
}

// Silence that was wrong is taken back, whatever the clock was.
func TestClockGoesBackAfterSilence(t *testing.T) {
	r, now := setBack(t, Options{})
	r.second(*now, map[string]float64{idA: 3600})
	*now = sec(10_000)
	r.second(*now, map[string]float64{idA: 13_600})
	*now = sec(10_500)
	r.second(*now, map[string]float64{idB: 1})
	require.False(t, r.lookup(idA).Stop.IsZero())
	*now = sec(20)
	r.second(*now, map[string]float64{idA: 3620})
	require.True(t, r.lookup(idA).Stop.IsZero())
	require.Len(t, r.List(Filter{Text: idA}), 1)
}

// After a restart of the agent the file knows times that are still to come.
func TestReopenAfterClockWentBack(t *testing.T) {
	dir := t.TempDir()
	r, now := setBack(t, Options{Dir: dir})
	*now = sec(10_000)
	r.second(*now, map[string]float64{idA: 60, idB: 60, "counted": 60})
	require.NoError(t, r.Close())

	again, now := setBack(t, Options{Dir: dir})
	for n := range 200 {
		*now = sec(float64(n))
		// The receiver may find out anew when it began.
		again.second(*now, map[string]float64{idB: 0, "counted": float64(n + 61)})
	}
	require.Equal(t, Ended, new(again.lookup(idA)).StateAt(time.Time{}), "silent for more than two minutes")
	require.Equal(t, Running, new(again.lookup(idB)).StateAt(time.Time{}))
	require.Len(t, again.List(Filter{}), 3)
	require.Equal(t, sec(-61), again.lookup("counted").Start)
	require.True(t, again.lookup("counted").Stop.IsZero())
}

// A file that could not be written is tried again in half a minute, not when the clock
// is there again.
func TestClockGoesBackWhileNothingCanBeWritten(t *testing.T) {
	dir := t.TempDir()
	r, now := setBack(t, Options{Dir: dir})
	*now = sec(10_000)
	r.Observe(attributes(idA), *now)
	require.NoError(t, r.journal.file.Close()) // a device that has gone
	require.Error(t, r.Maintain())
	*now = sec(10)
	require.NoError(t, r.Maintain())
	other, rec := reopen(t, copyDir(t, dir))
	require.Equal(t, 1, rec.Entities)
	require.NoError(t, other.Close())
}

// A degradation that was told by the clock of then can be over.
func TestRecoveryAfterClockWentBack(t *testing.T) {
	r, now := setBack(t, Options{})
	*now = sec(5000)
	r.measure(cgroupScope, attributes(idA), *now, uptime(60))
	r.measure(cgroupScope, attributes(idB), *now, uptime(60))
	for _, id := range []string{idA, idB} {
		r.kernel("container.degraded", id, *now, "degraded.reason", "oom", "process.executable.name", "w")
	}
	*now = sec(10)
	r.measure(cgroupScope, attributes(idA), *now, uptime(0), point{"container.degraded", 0, []string{"degraded.reason", "oom"}})
	r.kernel("container.recovered", idB, *now, "process.executable.name", "w")
	require.Empty(t, r.lookup(idA).Degraded)
	require.Empty(t, r.lookup(idB).Degraded)
	require.Equal(t, "container.recovered", r.lookup(idB).LastEvent.Name)
	r.kernel("container.oom_kill", idB, *now, "process.pid", 7)
	require.Equal(t, 7, r.lookup(idB).LastKill.PID)
	*now = sec(5)
	r.kernel("container.oom_kill", idB, *now, "process.pid", 8)
	require.Equal(t, 8, r.lookup(idB).LastKill.PID)
}

// Containers on a clock that goes back stay as many as they are, whether they began
// before the time that it goes back to or not.
func TestClockGoesBackFillsNoTable(t *testing.T) {
	r, now := setBack(t, Options{Max: 200})
	tell := func(at float64) {
		*now = sec(at)
		ups := map[string]float64{}
		for n := range 50 {
			ups[fmt.Sprint("c", n)] = max(0, at-10_000+300*float64(n))
		}
		r.second(*now, ups)
	}
	tell(10_000)
	for n := range 400 { // some are begun by the clock of now meanwhile
		tell(float64(n))
	}
	s := r.Stats()
	require.Equal(t, 50, s.Entities)
	require.Equal(t, 50, s.Running)
	require.Zero(t, s.Evicted)
}

// A table that was read, of a capture, can know a run that began after the end of the
// capture: what happened before is not taken for that one's.
func TestClockThatStands(t *testing.T) {
	r := newRig(t, Options{})
	r.kernel("container.start", idA, sec(1000))
	var text bytes.Buffer
	require.NoError(t, r.Write(&text, nil))
	table, _, err := Load(&text, Options{Now: func() time.Time { return sec(100) }})
	require.NoError(t, err)
	read := rig{t, table}
	read.kernel("container.stop", idA, sec(50), "container.exit_code", 1)
	require.NoError(t, read.Maintain())
	all := read.List(Filter{})
	require.Len(t, all, 2)
	require.Equal(t, sec(50), all[0].Stop)
	require.Equal(t, sec(1000), all[1].Start)
	require.Equal(t, sec(1000), all[1].LastSeen)
	require.True(t, all[1].Stop.IsZero())
}
