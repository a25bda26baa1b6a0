package store_test

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

// rig is a store with two sources of containers and a clock that stands still.
type rig struct {
	*store.Store
	view *view

	mu    sync.Mutex
	now   time.Time
	asked []string
}

func newRig(t testing.TB, o store.Options) *rig {
	t.Helper()
	r := &rig{view: newView(), now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	if o.Containers == nil {
		o.Containers = []string{"best", "second"}
	}
	o.Host = []string{"static", "cloud"}
	o.Now = r.clock
	r.Store = store.New(o, r.want)
	t.Cleanup(r.Subscribe(r.view))
	return r
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *rig) want(id, podUID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, id+"/"+podUID)
}

func (r *rig) wanted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

// numbers checks the sizes of what is kept.
func (r *rig) numbers(t testing.TB, live, dead, unknown int) {
	t.Helper()
	s := r.Stats()
	if s.Live != live || s.Dead != dead || s.Unknown != unknown {
		t.Errorf("%d live, %d dead, %d unknown; want %d, %d, %d", s.Live, s.Dead, s.Unknown, live, dead, unknown)
	}
	if n := len(r.view.ids()); n != live+dead+unknown {
		t.Errorf("the subscriber knows %d, want %d", n, live+dead+unknown)
	}
}

// view is a subscriber: what one has to know after all it was told.
type view struct {
	mu         sync.Mutex
	containers map[string]*store.Entity
	pods       map[string]*entity.Pod
	host       []entity.Attribute
	calls      []string
}

func newView() *view {
	return &view{containers: map[string]*store.Entity{}, pods: map[string]*entity.Pod{}}
}

func (v *view) ContainerChanged(id string, e *store.Entity) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, "container "+id)
	if e == nil {
		delete(v.containers, id)
		return
	}
	v.containers[id] = e
}

func (v *view) PodChanged(uid string, p *entity.Pod) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, "pod "+uid)
	if p == nil {
		delete(v.pods, uid)
		return
	}
	v.pods[uid] = p
}

func (v *view) HostChanged(attributes []entity.Attribute) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, "host")
	v.host = attributes
}

// get returns what was told of a container last, nil if it was forgotten.
func (v *view) get(id string) *store.Entity {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.containers[id]
}

func (v *view) ids() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var ids []string
	for id := range v.containers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// takeCalls returns what was called since the last time.
func (v *view) takeCalls() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	calls := v.calls
	v.calls = nil
	return calls
}

// diff compares values of this package's tests.
func diff(want, got any) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty())
}
