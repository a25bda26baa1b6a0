package sinktest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// patience bounds the waits of tests: far more than any of them takes, as the
// machine may be busy with other tests.
const patience = 20 * time.Second

// Recorder is an entity.Sink that remembers. The zero value is ready.
type Recorder struct {
	mu sync.Mutex
	// changed is closed by the next call; nil if nobody waits. Guarded by mu, as
	// is all below.
	changed    chan struct{}
	calls      []string
	containers map[string]*entity.Container
	recognised map[string]*entity.Technology
	pods       map[string]*entity.Pod
	host       []entity.Attribute
	downs      []error
}

// PutContainer implements entity.Sink.
func (r *Recorder) PutContainer(source string, c *entity.Container) {
	r.note("put "+source+" "+c.ID, func() {
		if r.containers == nil {
			r.containers = make(map[string]*entity.Container)
		}
		r.containers[c.ID] = c
	})
}

// ContainerGone implements entity.Sink.
func (r *Recorder) ContainerGone(source, id string) {
	r.note("gone "+source+" "+id, func() { delete(r.containers, id) })
}

// Absent implements entity.Sink.
func (r *Recorder) Absent(source, id string) { r.note("absent "+source+" "+id, nil) }

// PutTechnology implements entity.Sink.
func (r *Recorder) PutTechnology(source, id string, t *entity.Technology) {
	r.note("technology "+source+" "+id, func() {
		if r.recognised == nil {
			r.recognised = make(map[string]*entity.Technology)
		}
		r.recognised[id] = t
	})
}

// PutPod implements entity.Sink.
func (r *Recorder) PutPod(source string, p *entity.Pod) {
	r.note("pod "+source+" "+p.UID, func() {
		if r.pods == nil {
			r.pods = make(map[string]*entity.Pod)
		}
		r.pods[p.UID] = p
	})
}

// PodGone implements entity.Sink.
func (r *Recorder) PodGone(source, uid string) {
	r.note("podgone "+source+" "+uid, func() { delete(r.pods, uid) })
}

// PutHost implements entity.Sink.
func (r *Recorder) PutHost(source string, attributes []entity.Attribute) {
	r.note("host "+source, func() { r.host = slices.Clone(attributes) })
}

// Up implements entity.Sink.
func (r *Recorder) Up(source string) { r.note("up "+source, nil) }

// Down implements entity.Sink.
func (r *Recorder) Down(source string, err error) {
	r.note("down "+source, func() { r.downs = append(r.downs, err) })
}

func (r *Recorder) note(call string, change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	if change != nil {
		change()
	}
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Calls returns what was told so far, such as "put ecs <id>" or "down cloud".
func (r *Recorder) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// Count returns how often call was told.
func (r *Recorder) Count(call string) int {
	n := 0
	for _, c := range r.Calls() {
		if c == call {
			n++
		}
	}
	return n
}

// Container returns what was last put, nil if it is unknown or gone.
func (r *Recorder) Container(id string) *entity.Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.containers[id]
}

// Technology returns what a container was last recognised as, nil for nothing.
func (r *Recorder) Technology(id string) *entity.Technology {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.recognised[id]
}

// Containers returns all that were put and are not gone, by id.
func (r *Recorder) Containers() map[string]*entity.Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.containers)
}

// Pod returns what was last put, nil if it is unknown or gone.
func (r *Recorder) Pod(uid string) *entity.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pods[uid]
}

// Pods returns all that were put and are not gone, by uid.
func (r *Recorder) Pods() map[string]*entity.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.pods)
}

// Host returns the attributes that were last put.
func (r *Recorder) Host() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	host := make(map[string]string, len(r.host))
	for _, a := range r.host {
		host[a.Key] = a.Value
	}
	return host
}

// Downs returns the reasons told.
func (r *Recorder) Downs() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.downs)
}

// Await waits until call was told at least n times.
func (r *Recorder) Await(t testing.TB, call string, n int) {
	t.Helper()
	r.await(t, func() error {
		if have := r.Count(call); have < n {
			return fmt.Errorf("%q was told %d times, waiting for %d; all: %q, downs: %v", call, have, n, r.Calls(), r.Downs())
		}
		return nil
	})
}

// AwaitHost waits until the host's attribute has the value.
func (r *Recorder) AwaitHost(t testing.TB, key, value string) {
	t.Helper()
	r.await(t, func() error {
		if have := r.Host(); have[key] != value {
			return fmt.Errorf("%s is %q, waiting for %q; downs: %v", key, have[key], value, r.Downs())
		}
		return nil
	})
}

// AwaitContainers waits until exactly these are put and not gone.
func (r *Recorder) AwaitContainers(t testing.TB, ids ...string) {
	t.Helper()
	slices.Sort(ids)
	r.await(t, func() error {
		if have := slices.Sorted(maps.Keys(r.Containers())); !slices.Equal(have, ids) {
			return fmt.Errorf("containers are %q, waiting for %q; downs: %v", have, ids, r.Downs())
		}
		return nil
	})
}

// AwaitDown waits until the source is down for the nth time, and returns why.
func (r *Recorder) AwaitDown(t testing.TB, source string, n int) error {
	t.Helper()
	r.Await(t, "down "+source, n)
	return r.Downs()[n-1]
}

// await looks at the condition after each call.
func (r *Recorder) await(t testing.TB, condition func() error) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		// Before the look, so that no call after it is missed.
		changed := r.next()
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			t.Fatalf("not within %v: %v", patience, err)
		}
	}
}

func (r *Recorder) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}
