package serve

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
)

// story tells of two runs of worker, of which the second is degraded, and of api,
// which runs.
func story(r *rig) {
	r.now = second(0)
	r.tell("worker", workerID, "container.start", num("container.pid", 100))
	r.now = second(1)
	r.tell("api", apiID, "container.start", num("container.pid", 101))
	r.now = second(60)
	r.tell("worker", workerID, "container.stop", num("container.exit_code", 3))
	r.now = second(70)
	r.tell("worker", workerID, "container.start", num("container.pid", 102))
	r.now = second(80)
	r.tell("worker", workerID, "container.oom_kill", str("process.executable.name", "python"), num("process.pid", 211))
	r.tell("worker", workerID, "container.degraded", str("degraded.reason", "oom"), str("process.executable.name", "python"), num("process.pid", 211))
	r.now = second(90)
}

func names(list []api.Entity) []string {
	out := []string{}
	for _, e := range list {
		out = append(out, e.Name+" "+e.State)
	}
	return out
}

func TestEntities(t *testing.T) {
	r := newRig(t)
	story(r)
	source := Entities(r.table)

	list, more := source.List(api.EntityFilter{})
	require.False(t, more)
	require.Equal(t, []string{"worker broken", "api running", "worker ended"}, names(list), "newest start first")
	second2 := list[0]
	require.Equal(t, second(70), second2.Start.Time)
	require.True(t, second2.Stop.IsZero())
	require.Equal(t, second(80), second2.LastSeen.Time)
	require.Equal(t, &api.Degraded{Reason: "oom", Since: api.At(second(80)), Process: "python", PID: 211}, second2.Degraded)
	require.Equal(t, &api.LastEvent{T: api.At(second(80)), Name: "container.degraded", Body: "container.degraded of worker"}, second2.LastEvent)
	require.True(t, second2.OOMKilled)
	require.Equal(t, 1, second2.Restarts)
	require.Equal(t, 2, second2.Incarnation)
	require.Equal(t, "shop", second2.Project)
	require.Equal(t, "shop", second2.Tags["docker.compose.project"])
	require.Nil(t, second2.ExitCode)
	require.Equal(t, 3, *list[2].ExitCode)
	require.Nil(t, list[2].Degraded)

	f := func(filter api.EntityFilter, want ...string) {
		t.Helper()
		got, more := source.List(filter)
		require.False(t, more)
		require.Equal(t, append([]string{}, want...), names(got))
	}
	f(api.EntityFilter{States: []string{api.StateBroken, api.StateEnded}}, "worker broken", "worker ended")
	f(api.EntityFilter{Name: "api"}, "api running")
	f(api.EntityFilter{Text: "WORK"}, "worker broken", "worker ended")
	f(api.EntityFilter{Project: "other"})
	f(api.EntityFilter{From: second(61), To: second(65)}, "api running")
	f(api.EntityFilter{To: second(30)}, "api running", "worker running")
	f(api.EntityFilter{To: second(75), States: []string{api.StateRunning}}, "worker running", "api running")
	f(api.EntityFilter{From: second(85), To: second(1000)}, "worker broken", "api running")

	list, more = source.List(api.EntityFilter{Limit: 2})
	require.True(t, more)
	require.Equal(t, []string{"worker broken", "api running"}, names(list))
	_, more = source.List(api.EntityFilter{Limit: 3})
	require.False(t, more, "all of them fit")
}

func TestEntity(t *testing.T) {
	r := newRig(t)
	story(r)
	source := Entities(r.table)
	detail, ok := source.Get(workerID)
	require.True(t, ok)
	require.Equal(t, api.StateBroken, detail.State)
	require.Len(t, detail.Incarnations, 2)
	require.Equal(t, api.StateEnded, detail.Incarnations[0].State)
	require.Equal(t, second(60), detail.Incarnations[0].Stop.Time)
	require.Equal(t, 3, *detail.Incarnations[0].ExitCode)
	require.Equal(t, api.StateBroken, detail.Incarnations[1].State)
	require.True(t, detail.Incarnations[1].OOMKilled)
	_, ok = source.Get("no")
	require.False(t, ok)

	// Without a name, only runs of the same id are siblings.
	for _, id := range []string{"nameless-1", "nameless-2"} {
		logs, _ := logOf("", id, "container.start", second(95))
		logs.ResourceLogs().At(0).Resource().Attributes().Remove("container.name")
		r.table.ObserveLogs(logs)
	}
	detail, ok = source.Get("nameless-1")
	require.True(t, ok)
	require.Len(t, detail.Incarnations, 1)
	require.Equal(t, "nameless-1", detail.Incarnations[0].ID)
}

func TestEntitiesChanged(t *testing.T) {
	r := newRig(t)
	story(r)
	source := Entities(r.table)
	changed, version := source.Changed(math.MaxUint64)
	require.Empty(t, changed)
	require.NotZero(t, version)
	changed, again := source.Changed(version)
	require.Empty(t, changed)
	require.Equal(t, version, again)
	r.tell("api", apiID, "container.stop", num("container.exit_code", 0))
	changed, again = source.Changed(version)
	require.Equal(t, []string{"api ended"}, names(changed))
	require.Greater(t, again, version)
}

// What was broken and has ended says since when it was: a page that looks at a moment
// before the end knows it from that alone.
func TestEntitiesBrokenThenEnded(t *testing.T) {
	r := newRig(t)
	story(r)
	r.tell("worker", workerID, "container.stop", num("container.exit_code", 0)) // at 90 s
	r.now = second(100)
	source := Entities(r.table)
	want := &api.Degraded{Reason: "oom", Since: api.At(second(80)), Process: "python", PID: 211}
	list, _ := source.List(api.EntityFilter{})
	require.Equal(t, []string{"worker ended", "api running", "worker ended"}, names(list))
	require.Equal(t, want, list[0].Degraded)
	require.Equal(t, second(90), list[0].Stop.Time)
	require.Nil(t, list[2].Degraded, "the run before lacked nothing")
	detail, ok := source.Get(workerID)
	require.True(t, ok)
	require.Equal(t, api.StateEnded, detail.State)
	require.Equal(t, want, detail.Degraded)
	list, _ = source.List(api.EntityFilter{To: second(85), States: []string{api.StateBroken}})
	require.Equal(t, []string{"worker broken"}, names(list))
}

// TestEntitiesOfAMoment asks a table that knows more than there was at the time.
func TestEntitiesOfAMoment(t *testing.T) {
	r := newRig(t)
	story(r)
	source := &entities{table: r.table, at: second(65)}
	list, _ := source.List(api.EntityFilter{})
	require.Equal(t, []string{"api running", "worker ended"}, names(list))
	list, _ = source.List(api.EntityFilter{To: second(65).Add(time.Hour)})
	require.Len(t, list, 2)
	detail, ok := source.Get(workerID)
	require.True(t, ok)
	require.Equal(t, second(0), detail.Start.Time)
	require.Equal(t, api.StateEnded, detail.State)
}
