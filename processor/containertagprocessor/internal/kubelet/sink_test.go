package kubelet_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/kubelet"
)

// soon bounds waits in these tests; it only has to be longer than a loaded
// machine needs.
const soon = 20 * time.Second

// told is a sink that remembers.
type told struct {
	mu         sync.Mutex
	containers map[string]*entity.Container
	pods       map[string]*entity.Pod
	absent     map[string]int
	puts       map[string]int // by container id
	ups, downs int
	why        error
}

func newTold() *told {
	return &told{
		containers: make(map[string]*entity.Container), pods: make(map[string]*entity.Pod),
		absent: make(map[string]int), puts: make(map[string]int),
	}
}

func (s *told) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *told) PutContainer(_ string, c *entity.Container) {
	s.locked(func() { s.containers[c.ID] = c; s.puts[c.ID]++ })
}
func (s *told) ContainerGone(_, id string)         { s.locked(func() { delete(s.containers, id) }) }
func (s *told) Absent(_, id string)                { s.locked(func() { s.absent[id]++ }) }
func (s *told) PutPod(_ string, p *entity.Pod)     { s.locked(func() { s.pods[p.UID] = p }) }
func (s *told) PodGone(_, uid string)              { s.locked(func() { delete(s.pods, uid) }) }
func (s *told) PutHost(string, []entity.Attribute) {}
func (s *told) Up(string)                          { s.locked(func() { s.ups++ }) }
func (s *told) Down(_ string, err error)           { s.locked(func() { s.downs++; s.why = err }) }
func (s *told) container(id string) (c *entity.Container) {
	s.locked(func() { c = s.containers[id] })
	return c
}
func (s *told) pod(uid string) (p *entity.Pod) {
	s.locked(func() { p = s.pods[uid] })
	return p
}

// counts are the calls of Up and Down so far.
func (s *told) counts() (ups, downs int, why error) {
	s.locked(func() { ups, downs, why = s.ups, s.downs, s.why })
	return ups, downs, why
}

func (s *told) putsOf(id string) (n int) {
	s.locked(func() { n = s.puts[id] })
	return n
}

func (s *told) absences(id string) (n int) {
	s.locked(func() { n = s.absent[id] })
	return n
}

// isUp waits until the source has told everything n times.
func (s *told) isUp(t *testing.T, n int) {
	t.Helper()
	testkit.Eventually(t, soon, func() error {
		if ups, downs, why := s.counts(); ups < n {
			return fmt.Errorf("up %d times, want %d (down %d times: %v)", ups, n, downs, why)
		}
		return nil
	})
}

func (s *told) isDown(t *testing.T, n int) error {
	t.Helper()
	var why error
	testkit.Eventually(t, soon, func() error {
		var downs int
		if _, downs, why = s.counts(); downs < n {
			return fmt.Errorf("down %d times, want %d", downs, n)
		}
		return nil
	})
	return why
}

// has waits until exactly these containers are told.
func (s *told) has(t *testing.T, ids ...string) {
	t.Helper()
	slices.Sort(ids)
	testkit.Eventually(t, soon, func() error {
		var got []string
		s.locked(func() { got = slices.Sorted(maps.Keys(s.containers)) })
		if !slices.Equal(got, ids) {
			return fmt.Errorf("containers are %q, want %q", got, ids)
		}
		return nil
	})
}

// run starts a source and ends it with the test.
func run(t *testing.T, options kubelet.Options) (*kubelet.Source, *told) {
	t.Helper()
	source, err := kubelet.New(options)
	if err != nil {
		t.Fatal(err)
	}
	sink := newTold()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { source.Run(ctx, sink) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return source, sink
}
