package container_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
)

// clock is a settable time source for one goroutine.
type clock struct{ t time.Time }

func newClock() *clock                   { return &clock{t: time.Unix(1_700_000_000, 0)} }
func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func newIndex(c *clock, maxDead int) *container.Index {
	return container.NewIndex(container.IndexOptions{Grace: time.Minute, MaxDead: maxDead, Now: c.now})
}

// wantInode checks that a lookup finds this inode; 0 means nothing.
func wantInode(t *testing.T, want uint64, got *container.Cgroup, ok bool) {
	t.Helper()
	if ok != (want != 0) || ok && got.Inode != want {
		t.Errorf("found %v %+v, want inode %d", ok, got, want)
	}
}

func TestIndexLifeAndGrace(t *testing.T) {
	c := newClock()
	x := newIndex(c, 0)
	path := "/docker/" + idA
	x.Add(container.Cgroup{Path: path, Inode: 7})
	before, ok := x.ByID(idA)
	wantInode(t, 7, before, ok)
	require.Equal(t, "docker", before.Runtime)
	require.Equal(t, c.t, before.FirstSeen)

	c.advance(time.Second)
	x.Remove(path, 8, time.Time{}) // another one's end
	require.Equal(t, container.IndexStats{Live: 1}, x.Stats())
	x.Remove(path, 7, time.Time{})
	x.Remove(path, 7, time.Time{})
	require.Equal(t, container.IndexStats{Dead: 1}, x.Stats())
	require.True(t, before.Gone.IsZero(), "a snapshot has changed")

	c.advance(time.Minute - 1)
	for _, find := range []func() (*container.Cgroup, bool){
		func() (*container.Cgroup, bool) { return x.ByPath(path) },
		func() (*container.Cgroup, bool) { return x.ByInode(7) },
		func() (*container.Cgroup, bool) { return x.ByID(idA) },
	} {
		got, ok := find()
		wantInode(t, 7, got, ok)
		require.Equal(t, time.Unix(1_700_000_001, 0), got.Gone)
	}
	c.advance(1)
	got, ok := x.ByInode(7)
	wantInode(t, 0, got, ok)
	got, ok = x.ByPath(path)
	wantInode(t, 0, got, ok)
	require.Equal(t, container.IndexStats{}, x.Stats())
}

func TestIndexRestart(t *testing.T) {
	c := newClock()
	x := newIndex(c, 0)
	path := "/docker/" + idA
	x.Add(container.Cgroup{Path: path, Inode: 7})
	c.advance(time.Second)
	x.Remove(path, 7, time.Time{})
	x.Add(container.Cgroup{Path: path, Inode: 9})
	got, ok := x.ByPath(path)
	wantInode(t, 9, got, ok)
	got, ok = x.ByID(idA)
	wantInode(t, 9, got, ok)
	got, ok = x.ByInode(7)
	wantInode(t, 7, got, ok)

	// An end nobody told of: the next one under the path implies it.
	c.advance(time.Second)
	x.Add(container.Cgroup{Path: path, Inode: 11})
	got, ok = x.ByInode(9)
	wantInode(t, 9, got, ok)
	require.False(t, got.Gone.IsZero())
	x.Remove(path, 9, time.Time{}) // told late
	got, ok = x.ByID(idA)
	wantInode(t, 11, got, ok)
	require.Equal(t, container.IndexStats{Live: 1, Dead: 2}, x.Stats())

	// Forgetting the old ones leaves the live one alone.
	c.advance(time.Hour)
	require.Equal(t, container.IndexStats{Live: 1}, x.Stats())
	got, ok = x.ByPath(path)
	wantInode(t, 11, got, ok)
	got, ok = x.ByID(idA)
	wantInode(t, 11, got, ok)
}

func TestIndexAddTwice(t *testing.T) {
	c := newClock()
	x := newIndex(c, 0)
	seen := c.t
	x.Add(container.Cgroup{Path: "/x", Inode: 5})
	c.advance(time.Second)
	x.Add(container.Cgroup{Path: "/x", Inode: 5})
	x.Add(container.Cgroup{Path: "/x"})
	got, ok := x.ByPath("/x")
	wantInode(t, 5, got, ok)
	require.Equal(t, seen, got.FirstSeen)

	// A slower source saw it before its end: it stays dead.
	x.Remove("/x", 5, time.Time{})
	x.Add(container.Cgroup{Path: "/x", Inode: 5, FirstSeen: seen})
	require.Equal(t, container.IndexStats{Dead: 1}, x.Stats())
	// Seen after its alleged end: that was wrong.
	c.advance(time.Second)
	x.Add(container.Cgroup{Path: "/x", Inode: 5})
	require.Equal(t, 1, x.Stats().Live)
	// Renamed: the inode moves.
	x.Add(container.Cgroup{Path: "/y", Inode: 5})
	got, ok = x.ByInode(5)
	wantInode(t, 5, got, ok)
	require.Equal(t, "/y", got.Path)
	require.Equal(t, 1, x.Stats().Live)
	// Without an inode it is not found by one.
	x.Add(container.Cgroup{Path: "/z"})
	got, ok = x.ByInode(0)
	wantInode(t, 0, got, ok)
}

func TestIndexSameID(t *testing.T) {
	f := func(order ...uint64) {
		t.Helper()
		c := newClock()
		x := newIndex(c, 0)
		path := func(i uint64) string { return fmt.Sprintf("/d%d/lxc/web", i) }
		left := []uint64{1, 2, 3}
		for _, i := range left {
			x.Add(container.Cgroup{Path: path(i), Inode: i})
		}
		for _, i := range order {
			got, ok := x.ByID("web")
			wantInode(t, slices.Max(left), got, ok)
			x.Remove(path(i), i, time.Time{})
			left = slices.DeleteFunc(left, func(j uint64) bool { return i == j })
		}
		got, ok := x.ByID("web")
		wantInode(t, order[len(order)-1], got, ok)
		c.advance(time.Hour)
		got, ok = x.ByID("web")
		wantInode(t, 0, got, ok)
	}
	f(1, 2, 3)
	f(1, 3, 2)
	f(2, 1, 3)
	f(2, 3, 1)
	f(3, 1, 2)
	f(3, 2, 1)
}

func TestIndexBound(t *testing.T) {
	c := newClock()
	x := newIndex(c, 10)
	for i := uint64(1); i <= 25; i++ {
		path := fmt.Sprintf("/lxc/n%d", i)
		x.Add(container.Cgroup{Path: path, Inode: i})
		x.Remove(path, i, time.Time{})
	}
	require.Equal(t, container.IndexStats{Dead: 10, Evicted: 15}, x.Stats())
	got, ok := x.ByInode(15)
	wantInode(t, 0, got, ok)
	got, ok = x.ByID("n16")
	wantInode(t, 16, got, ok)
}

func TestIndexCountsAndLive(t *testing.T) {
	x := newIndex(newClock(), 0)
	paths := []string{"/", "/docker", "/docker/" + idA, "/docker/" + idA + "/system.slice",
		"/docker/" + idA + "/docker/" + idB, "/system.slice", "/system.slice/a.service"}
	for i, p := range paths {
		x.Add(container.Cgroup{Path: p, Inode: uint64(i + 1)})
	}
	want := map[container.Class]int{container.ClassUnknown: 1, container.ClassHost: 1,
		container.ClassContainer: 2, container.ClassSlice: 1, container.ClassService: 1}
	if diff := cmp.Diff(want, x.Counts()); diff != "" {
		t.Error(diff)
	}
	var live []string
	for cg := range x.Live() {
		live = append(live, cg.Path)
		x.Remove(cg.Path, cg.Inode, time.Time{}) // changing it inside is allowed
	}
	slices.Sort(live)
	slices.Sort(paths)
	if diff := cmp.Diff(paths, live); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[container.Class]int{}, x.Counts()); diff != "" {
		t.Error(diff)
	}
	for range x.Live() {
		t.Error("something is still alive")
	}
}

func TestIndexConcurrent(t *testing.T) {
	x := container.NewIndex(container.IndexOptions{MaxDead: 50})
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			for i := range uint64(500) {
				path, inode := fmt.Sprintf("/lxc/n%d", i%40), g<<32|i+1
				x.Add(container.Cgroup{Path: path, Inode: inode})
				if cg, ok := x.ByPath(path); ok && cg.Path != path {
					t.Errorf("%s answers for %s", cg.Path, path)
				}
				for cg := range x.Live() {
					if !cg.Gone.IsZero() {
						t.Errorf("%s is dead", cg.Path)
					}
				}
				x.Remove(path, inode, time.Time{})
			}
		})
	}
	wg.Wait()
	for i := range 40 {
		x.Remove(fmt.Sprintf("/lxc/n%d", i), 0, time.Time{})
	}
	require.Equal(t, 0, x.Stats().Live)
	require.Equal(t, 50, x.Stats().Dead)
}
