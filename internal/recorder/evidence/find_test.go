package evidence

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
)

// stop tells of the end of a container now.
func (s *scene) stop(a actor, code int) {
	s.t.Helper()
	s.tell(a, "container.stop", "The container stopped.", map[string]any{"container.exit_code": code})
}

func TestFind(t *testing.T) {
	s := newScene(t)
	first, second, other := idler(1), idler(2), idler(3)
	first.name, second.name = "web", "web"
	s.record(10, first, other)
	s.stop(first, 1)
	early := s.last(10)
	s.pass(time.Minute)
	// Its begin is told; that of those which are measured is the begin of the scene.
	s.tell(second, "container.start", "", nil)
	s.record(10, other)
	lately := s.last(5)
	f := func(want string, w bundle.Window, texts ...string) {
		t.Helper()
		for _, text := range texts {
			got, err := s.neighbours().Find(text, w)
			require.NoError(t, err, text)
			require.Equal(t, want, got, text)
		}
	}
	f(other.id, lately, other.id, other.name, other.id[:62], " "+other.name+" ")
	f(second.id, lately, "web")
	f(first.id, early, "web")
	f(first.id, lately, first.id)
	f(second.id, bundle.Window{From: began.Add(-time.Hour), To: began.Add(-time.Minute)}, "web") // none lived then: the last
	refused := func(cause error, texts ...string) {
		t.Helper()
		for _, text := range texts {
			_, err := s.neighbours().Find(text, lately)
			require.ErrorIs(t, err, cause, text)
		}
	}
	refused(capture.ErrUnknown, "", " ", "no", "app", "eb", other.id+"0")
	refused(capture.ErrAmbiguous, "00000") // all ids of the scene begin with it

	third := idler(4)
	third.name = "web"
	s.record(5, second, third)
	refused(capture.ErrAmbiguous, "web")
}

// Without a container a capture is about those that something has happened to, and
// who was busy.
func TestAroundNone(t *testing.T) {
	s := newScene(t)
	calm, broken, failed, fine, hog := idler(1), idler(2), idler(3), idler(4), idler(5)
	for _, a := range []*actor{&calm, &broken, &failed, &fine} {
		a.cpu, a.memory = none, none
	}
	hog.cpu = func(int) float64 { return 1 }
	old := idler(6)
	s.record(10, calm, broken, failed, fine, hog, old)
	s.stop(old, 1)
	s.pass(time.Hour)
	s.record(60, calm, broken, failed, fine, hog)
	s.tell(broken, "container.oom_kill", "", map[string]any{"process.pid": 1})
	s.stop(failed, 2)
	s.stop(fine, 0)
	s.record(5, calm, broken, hog)
	around := s.neighbours().Around("", s.last(120))
	require.Equal(t, []string{broken.id, failed.id, hog.id}, around[:3], "of the rest all read from the disk a little")
	s.live = nil
	require.Equal(t, []string{broken.id, failed.id}, s.neighbours().Around("", s.last(120)))
}

// Who was busy two hours ago is in the metrics alone.
func TestAroundOfThePast(t *testing.T) {
	s := newScene(t)
	then, later := idler(1), idler(2)
	quiet := func(a *actor, busyFrom, busyTo int) {
		a.lives = func(second int) bool { return second >= busyFrom && second <= busyTo }
	}
	quiet(&then, 0, 300)
	quiet(&later, 400, 10_000)
	s.record(300, then, later)
	w := s.last(300)
	s.pass(2 * time.Hour)
	s.record(200, then, later)
	require.Equal(t, []string{then.id}, s.neighbours().Around("", w))
	require.Equal(t, []string{later.id}, s.neighbours().Around("", s.last(60)))
}

// A capture has the recorder's own lines: how each ended, and which of its name it was.
func TestWriteEntities(t *testing.T) {
	s := newScene(t)
	first, second, other := idler(1), idler(2), idler(3)
	first.name, second.name = "web", "web"
	s.record(5, first, other)
	s.tell(first, "container.oom_kill", "", map[string]any{"process.executable.name": "node"})
	s.stop(first, 137)
	s.pass(time.Hour)
	s.record(5, second, other)
	var lines bytes.Buffer
	require.NoError(t, s.neighbours().Write(&lines, s.last(5), func(id string) bool { return id == second.id }))
	table, found, err := entity.Load(&lines, entity.Options{Now: s.clock})
	require.NoError(t, err)
	require.Equal(t, 2, found.Entities)
	require.Zero(t, found.Skipped)
	webs := table.Incarnations("web")
	require.Len(t, webs, 2)
	require.Equal(t, 137, *webs[0].ExitCode)
	require.True(t, webs[0].OOMKilled)
	require.Equal(t, 2, webs[1].Incarnation)
	_, ok := table.Lookup(other.id)
	require.False(t, ok)
}

// Of a container that crashes all the time the last ones are enough.
func TestWriteEntitiesIsBounded(t *testing.T) {
	s := newScene(t)
	for n := range 50 {
		a := idler(n)
		a.name = "web"
		s.record(1, a)
		s.stop(a, 1)
		s.pass(time.Minute)
	}
	last := idler(99)
	last.name = "web"
	s.record(1, last)
	var lines bytes.Buffer
	require.NoError(t, s.neighbours().Write(&lines, s.last(1), func(id string) bool { return id == last.id }))
	table, _, err := entity.Load(&lines, entity.Options{Now: s.clock})
	require.NoError(t, err)
	webs := table.Incarnations("web")
	require.Len(t, webs, 1+maxBefore)
	require.Equal(t, id(49), webs[len(webs)-2].ID, "those that came last")
}

// A capture of one container makes no copy of what is known of all others. A map of 25
// tags is 2 kB.
func TestWriteEntitiesOfMany(t *testing.T) {
	s := newScene(t)
	const known = 5000
	for n := range known {
		m := pcommon.NewMap()
		m.PutStr("container.id", id(n))
		m.PutStr("container.name", fmt.Sprint("app-", n))
		for i := range 23 {
			m.PutStr(fmt.Sprint("some.key.of.tag.", i), "some value")
		}
		s.table.Observe(m, s.now)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var lines bytes.Buffer
	one := id(7)
	require.NoError(t, s.neighbours().Write(&lines, s.last(5), func(of string) bool { return of == one }))
	runtime.ReadMemStats(&after)
	require.Contains(t, lines.String(), one)
	require.Contains(t, lines.String(), "some.key.of.tag.22")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(known*100))
}

func TestOldest(t *testing.T) {
	s := newScene(t)
	require.True(t, Metrics(s.metrics).Oldest().IsZero())
	require.True(t, Events(s.events).Oldest().IsZero())
	a := idler(1)
	s.record(3, a)
	s.tell(a, "container.start", "", nil)
	require.True(t, Metrics(s.metrics).Oldest().Equal(began.Add(time.Second)), "%v", Metrics(s.metrics).Oldest())
	require.NoError(t, s.events.Flush())
	require.True(t, Events(s.events).Oldest().Equal(s.now))
}
