package container_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// hierarchies are directories in which this kernel lets us make cgroups.
func hierarchies() []string {
	var found []string
	for _, dir := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(dir + "/cgroup.procs"); err == nil {
			found = append(found, dir)
		}
	}
	return found
}

// newCgroup makes an empty cgroup for this test and removes it, and whatever
// is left below, at the end.
func newCgroup(tb testing.TB, hierarchy string) string {
	tb.Helper()
	testkit.NeedRoot(tb)
	dir, err := os.MkdirTemp(hierarchy, "tallyman-container-test-")
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, removeTree(dir)) })
	return dir
}

// removeTree removes directories only: control files cannot be removed.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeTree(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(err, os.Remove(dir))
}

// memory returns a cgroup in the hierarchy that production watches.
func memory(tb testing.TB) string {
	tb.Helper()
	all := hierarchies()
	require.NotEmpty(tb, all, "no cgroup hierarchy is mounted below /sys/fs/cgroup")
	return newCgroup(tb, all[0])
}

// recorder keeps what the callbacks said, as "+path" and "-path".
type recorder struct {
	mu     sync.Mutex
	events []string
	last   map[string]container.Cgroup
	// block, if set, holds up the first callback after it was set.
	block, blocked chan struct{}
}

func (r *recorder) appear(cg container.Cgroup) { r.note("+", cg) }
func (r *recorder) vanish(cg container.Cgroup) { r.note("-", cg) }

func (r *recorder) note(sign string, cg container.Cgroup) {
	r.mu.Lock()
	r.events = append(r.events, sign+cg.Path)
	r.last[sign+cg.Path] = cg
	block := r.block
	r.block = nil
	r.mu.Unlock()
	if block != nil {
		close(r.blocked)
		<-block
	}
}

// take returns the events so far and forgets them.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

func (r *recorder) cgroup(event string) container.Cgroup {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[event]
}

// wait collects events until there are as many as wanted, and compares.
func (r *recorder) wait(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	eventually(t, func() bool {
		got = append(got, r.take()...)
		return len(got) >= len(want)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
}

// eventually waits for what another goroutine or the kernel will do.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal("nothing happened for 30 s")
		}
	}
}

// rig is a started discovery over dir whose reconcile walk is driven by tick.
type rig struct {
	*container.Discovery
	*recorder
	index *container.Index
	ticks chan time.Time
}

func start(t *testing.T, dir string, change func(*container.DiscoveryOptions)) *rig {
	t.Helper()
	r := &rig{recorder: &recorder{last: map[string]container.Cgroup{}, blocked: make(chan struct{})},
		index: container.NewIndex(container.IndexOptions{}), ticks: make(chan time.Time)}
	opts := container.DiscoveryOptions{Dir: dir, Index: r.index, OnAppear: r.appear, OnVanish: r.vanish, Tick: r.ticks}
	if change != nil {
		change(&opts)
	}
	r.Discovery = container.NewDiscovery(opts)
	require.NoError(t, r.Start())
	t.Cleanup(r.Close)
	return r
}

// reconcile runs one walk to its end.
func (r *rig) reconcile(t *testing.T) {
	t.Helper()
	before := r.Stats().Walks
	r.ticks <- time.Time{}
	eventually(t, func() bool { return r.Stats().Walks > before })
}

func mkdir(tb testing.TB, parts ...string) string {
	tb.Helper()
	dir := filepath.Join(parts...)
	require.NoError(tb, os.Mkdir(dir, 0o755))
	return dir
}

func rmdir(tb testing.TB, dir string) {
	tb.Helper()
	require.NoError(tb, os.Remove(dir))
}

// hexID makes a container id out of a number.
func hexID(i int) string { return fmt.Sprintf("%064x", i) }

// hold stops the discovery inside of a callback until the result is closed.
func (r *rig) hold(t *testing.T, top string) chan struct{} {
	t.Helper()
	release := make(chan struct{})
	r.mu.Lock()
	r.block = release
	r.mu.Unlock()
	mkdir(t, top, "hold")
	<-r.blocked
	return release
}

func openFiles(tb testing.TB) int {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(tb, err)
	n := 0
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "/proc/") {
			n++
		}
	}
	return n
}

func inodeOf(tb testing.TB, info os.FileInfo) uint64 {
	tb.Helper()
	st, ok := info.Sys().(*syscall.Stat_t)
	require.True(tb, ok)
	return st.Ino
}
