package roster

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/docker"
)

var epoch = time.Date(2026, time.November, 21, 3, 12, 0, 0, time.UTC)

// story is a Roster with a clock of its own and what it has told.
type story struct {
	*Roster
	now  time.Time
	ups  []Arrival
	down []error
}

func newStory() *story {
	s := &story{now: epoch}
	s.Roster = New(Options{
		Up:   func(a Arrival) { s.ups = append(s.ups, a) },
		Down: func(err error) { s.down = append(s.down, err) },
		Now:  func() time.Time { return s.now },
	})
	return s
}

func container(id string, restarts int) *docker.Container {
	return &docker.Container{ID: id, Created: epoch.Add(-time.Hour), State: docker.State{
		Status: "running", Restarts: restarts, StartedAt: epoch.Add(-time.Minute),
	}}
}

func (s *story) ids() []string {
	var ids []string
	_, list := s.Append(nil)
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	return ids
}

func (s *story) since(t *testing.T, id string) time.Time {
	t.Helper()
	_, list := s.Append(nil)
	for _, c := range list {
		if c.ID == id {
			return c.CountingSince
		}
	}
	t.Fatalf("no container %q", id)
	return time.Time{}
}

var errAway = errors.New("connection refused")

func TestNobodyIsShownWhileTheEngineIsAway(t *testing.T) {
	s := newStory()
	want := func(ids ...string) {
		t.Helper()
		if diff := cmp.Diff(ids, s.ids()); diff != "" {
			t.Error(diff)
		}
	}
	s.Connected(docker.Engine{Runtime: "docker"})
	s.Put(container("a", 0))
	want() // the list is not complete yet
	s.Put(container("b", 0))
	s.Synced()
	want("a", "b")
	s.Gone("a")
	s.Put(container("c", 0))
	want("b", "c")
	s.Disconnected(errAway)
	want()
	s.Connected(docker.Engine{Runtime: "docker"})
	s.Put(container("c", 0))
	s.Put(container("d", 0))
	s.Synced()
	want("c", "d") // b was removed meanwhile, and nobody said so
	if got := s.Stats(); got.Containers != 2 || got.Reconnects != 1 || !got.Connected {
		t.Errorf("stats %+v", got)
	}
}

func TestOutageIsToldOnceWithItsLength(t *testing.T) {
	s := newStory()
	s.Disconnected(errAway)
	s.now = s.now.Add(time.Minute)
	s.Disconnected(errAway)
	s.Connected(docker.Engine{Version: "1"})
	s.Disconnected(errAway) // it answered, but not to the end
	s.now = s.now.Add(time.Minute)
	s.Connected(docker.Engine{Version: "2"})
	s.Put(container("a", 0))
	s.Synced()
	s.Event(docker.Event{Type: "container", Action: "start", Time: s.now})
	if n := s.Missed(); n != 0 {
		t.Errorf("%d events missed before the outage", n)
	}
	s.Disconnected(errAway)
	s.now = s.now.Add(time.Second)
	s.Connected(docker.Engine{Version: "2"})
	s.Event(docker.Event{Type: "container", Action: "die", Time: s.now})
	s.Synced()
	s.Synced()
	s.Event(docker.Event{Type: "container", Action: "start", Time: s.now.Add(-time.Millisecond)})
	s.Event(docker.Event{Type: "container", Action: "oom", Time: s.now, Recovered: true})
	s.Event(docker.Event{Type: "container", Action: "kill", Time: s.now}) // of now
	if n := s.Missed(); n != 3 {
		t.Errorf("%d events missed, want 3", n)
	}
	if len(s.down) != 2 {
		t.Errorf("%d outages told, want 2", len(s.down))
	}
	want := []Arrival{
		{Engine: docker.Engine{Version: "2"}, Containers: 1, Outage: 2 * time.Minute, First: true},
		{Engine: docker.Engine{Version: "2"}, Containers: 0, Outage: time.Second},
	}
	if diff := cmp.Diff(want, s.ups); diff != "" {
		t.Error(diff)
	}
	if got := s.Stats(); got.Events != 5 || got.Reconnects != 1 {
		t.Errorf("stats %+v", got)
	}
}

// The engine sets the count to 0 when somebody starts the container.
func TestRestartsAreCountedAnewAfterAStart(t *testing.T) {
	s := newStory()
	want := func(at time.Time) {
		t.Helper()
		if got := s.since(t, "a"); !got.Equal(at) {
			t.Errorf("counting since %v, want %v", got, at)
		}
	}
	s.Connected(docker.Engine{})
	s.Put(container("a", 3))
	s.Synced()
	want(epoch.Add(-time.Hour))
	s.Put(container("a", 4))
	want(epoch.Add(-time.Hour))
	s.Put(container("a", 0))
	want(epoch.Add(-time.Minute)) // its start
	s.Put(container("a", 2))
	s.Put(container("a", 1))
	want(epoch) // the start is no later than the one before: now is all there is
	s.Disconnected(errAway)
	s.Connected(docker.Engine{})
	s.Put(container("a", 1))
	s.Synced()
	want(epoch)
}

// A container that went before it could be asked for is known by an event only.
func TestSketchIsFilledIn(t *testing.T) {
	s := newStory()
	s.Connected(docker.Engine{})
	s.Synced()
	s.Put(&docker.Container{ID: "a", Name: "web"})
	s.Put(container("a", 0))
	if got := s.since(t, "a"); !got.Equal(epoch.Add(-time.Hour)) {
		t.Errorf("counting since %v", got)
	}
}

func TestQueueKeepsTheOldestAndCountsTheRest(t *testing.T) {
	var drops Drops
	s := newStory()
	q := NewQueue(2, func(e *docker.Event) bool { return e.Action != "top" }, &drops)
	s.Attach(q)
	s.Connected(docker.Engine{Runtime: "podman"})
	for _, action := range []string{"create", "top", "start", "die"} {
		s.Event(docker.Event{Action: action})
	}
	s.Detach(q)
	s.Event(docker.Event{Action: "destroy"})
	q.Close()
	want := []Item{
		{Event: docker.Event{Action: "create"}, Runtime: "podman", Observed: epoch},
		{Event: docker.Event{Action: "start"}, Runtime: "podman", Observed: epoch},
	}
	if diff := cmp.Diff(want, q.Take()); diff != "" {
		t.Error(diff)
	}
	if left := q.Take(); left != nil {
		t.Errorf("closed and empty, but there is %v", left)
	}
	if n := drops.Full.Load(); n != 1 {
		t.Errorf("%d dropped, want 1", n)
	}
}

// Whoever waits gets what comes, and all of it in order.
func TestTakeWaits(t *testing.T) {
	const events = 1000
	s := newStory()
	q := NewQueue(events, func(*docker.Event) bool { return true }, new(Drops))
	s.Attach(q)
	got := make(chan []int)
	go func() {
		var seen []int
		for items := q.Take(); len(items) > 0; items = q.Take() {
			for _, i := range items {
				seen = append(seen, *i.Event.ExitCode)
			}
		}
		got <- seen
	}()
	want := make([]int, 0, events)
	for n := range events {
		want = append(want, n)
		s.Event(docker.Event{Action: "die", ExitCode: &n})
	}
	s.Detach(q)
	q.Close()
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Error(diff)
	}
}
