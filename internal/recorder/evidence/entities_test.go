package evidence

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

func (s *scene) neighbours() *Neighbours { return Entities(s.table, s.live, s.metrics, s.events) }

func TestLookup(t *testing.T) {
	s := newScene(t)
	a := idler(1)
	a.project = "shop"
	s.record(2, a)
	s.tell(a, "container.stop", "", map[string]any{"container.exit_code": 1})
	got, ok := s.neighbours().Lookup(a.id)
	require.True(t, ok)
	require.Equal(t, bundle.Container{ID: a.id, Name: "app-1", Image: "registry.example/app-1", Service: "app-1", Project: "shop"}, got.Container)
	require.Equal(t, "shop", got.Tags["docker.compose.project"])
	require.True(t, got.Stop.Equal(s.now), "%v", got.Stop)
	_, ok = s.neighbours().Lookup(id(2))
	require.False(t, ok)
}

func TestAroundProjectAndPod(t *testing.T) {
	s := newScene(t)
	worker, db, other := idler(1), idler(2), idler(3)
	worker.project, db.project, other.project = "shop", "shop", "blog"
	inPod, sidecar := idler(4), idler(5)
	inPod.pod, sidecar.pod = "0c7c2a6e", "0c7c2a6e"
	gone := idler(6)
	gone.project = "shop"
	all := []actor{worker, db, other, inPod, sidecar}
	for i := range all {
		all[i].cpu, all[i].memory = none, none // nobody is busy
	}
	s.record(1, gone)
	s.tell(gone, "container.stop", "", nil)
	s.pass(time.Hour)
	s.record(5, all...)
	n := Entities(s.table, nil, nil, nil)
	require.Equal(t, []string{db.id}, n.Around(worker.id, s.last(5)), "not who ended an hour ago")
	require.Equal(t, []string{sidecar.id}, n.Around(inPod.id, s.last(5)))
	require.Empty(t, n.Around(other.id, s.last(5)))
	require.Empty(t, n.Around(id(99), s.last(5)), "nobody knows it")
	require.ElementsMatch(t, []string{db.id, gone.id}, n.Around(worker.id, bundle.Window{From: began, To: s.now}))
}

func none(int) float64 { return 0 }

func TestAroundPeers(t *testing.T) {
	s := newScene(t)
	api, db, cache, stranger := idler(1), idler(2), idler(3), idler(4)
	api.peer = db.id
	s.record(60, api, db, cache, stranger)
	// A connection that failed has an event and no bytes.
	s.tell(api, "network.connection.closed", "", map[string]any{"source.container.id": api.id, "destination.container.id": cache.id})
	s.tell(stranger, "process.exec", "", map[string]any{"source.container.id": api.id})
	n := Entities(s.table, nil, s.metrics, s.events)
	require.Equal(t, []string{db.id, cache.id}, n.Around(api.id, s.last(60)))
	require.Equal(t, []string{api.id}, n.Around(db.id, s.last(60)), "an edge has two ends")
	require.Empty(t, n.Around(stranger.id, s.last(60)))
	require.Empty(t, n.Around("", s.last(60)))

	hourAgo := bundle.Window{From: began.Add(-2 * time.Hour), To: began.Add(-time.Hour)}
	require.Empty(t, n.Around(api.id, hourAgo), "they talked later")
}

func TestAroundTheBusiest(t *testing.T) {
	s := newScene(t)
	self, cpu, memory, idle := idler(1), idler(2), idler(3), idler(4)
	cpu.cpu = func(int) float64 { return 1.5 }
	memory.memory = func(int) float64 { return 500 << 20 }
	idle.cpu, idle.memory = none, none
	s.record(30, self, cpu, memory)
	got := Entities(s.table, s.live, nil, nil).Around(self.id, s.last(30))
	require.Len(t, got, 2)
	require.Equal(t, []string{cpu.id, memory.id}, got)
}

// However many belong together, a capture has 32 containers at most, and each
// reason to be in it has a share.
func TestAroundIsBounded(t *testing.T) {
	s := newScene(t)
	self := idler(0)
	self.project = "large"
	all := []actor{self}
	for n := 1; n < 60; n++ {
		a := idler(n)
		if n < 30 {
			a.project = "large"
		} else {
			a.peer = self.id
		}
		all = append(all, a)
	}
	hog := idler(100)
	hog.cpu = func(int) float64 { return 4 }
	s.record(30, append(all, hog)...)
	broken := all[7]
	s.tell(broken, "container.oom_kill", "", map[string]any{"process.pid": 1})
	got := s.neighbours().Around(self.id, s.last(30))
	require.LessOrEqual(t, len(got), maxAround)
	require.Equal(t, broken.id, got[0], "who was hit comes first")
	require.Contains(t, got, hog.id)
	require.NotContains(t, got, self.id)
	project, peers := 0, 0
	seen := map[string]bool{}
	for _, one := range got {
		require.False(t, seen[one])
		seen[one] = true
		for i, a := range all {
			if a.id == one && i < 30 {
				project++
			} else if a.id == one {
				peers++
			}
		}
	}
	require.GreaterOrEqual(t, project, groupShare)
	require.GreaterOrEqual(t, peers, peersShare)
}
