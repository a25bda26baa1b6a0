package container_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tallymanhq/tallyman/internal/container"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDiscoveryCreateDelete(t *testing.T) {
	for _, h := range hierarchies() {
		t.Run(filepath.Base(h), func(t *testing.T) {
			top := newCgroup(t, h)
			docker := mkdir(t, top, "docker")
			mkdir(t, docker, idA)
			r := start(t, top, nil)
			r.wait(t, "+/", "+/docker", "+/docker/"+idA)
			require.True(t, r.cgroup("+/docker/"+idA).Initial)

			dir := mkdir(t, docker, idB)
			r.wait(t, "+/docker/"+idB)
			cg := r.cgroup("+/docker/" + idB)
			require.False(t, cg.Initial)
			require.Equal(t, idB, cg.ID)
			st, err := os.Stat(dir)
			require.NoError(t, err)
			require.Equal(t, inodeOf(t, st), cg.Inode)
			found, ok := r.index.ByInode(cg.Inode)
			require.True(t, ok)
			require.True(t, found.Gone.IsZero())

			rmdir(t, dir)
			r.wait(t, "-/docker/"+idB)
			require.False(t, r.cgroup("-/docker/"+idB).Gone.IsZero())
			found, ok = r.index.ByInode(cg.Inode)
			require.True(t, ok)
			require.False(t, found.Gone.IsZero())

			// One watch per parent, none per container.
			require.EqualValues(t, 2, r.Stats().Watches)
			require.Zero(t, r.Stats().Reconciled)
		})
	}
}

func TestDiscoveryNested(t *testing.T) {
	top := memory(t)
	outer := mkdir(t, mkdir(t, top, "docker"), idA)
	r := start(t, top, nil)
	r.wait(t, "+/", "+/docker", "+/docker/"+idA)
	require.EqualValues(t, 2, r.Stats().Watches)

	// The container is not watched until it is known to have children.
	in := "/docker/" + idA + "/docker"
	inner := mkdir(t, mkdir(t, outer, "docker"), idB)
	r.reconcile(t)
	r.wait(t, "+"+in, "+"+in+"/"+idB)
	require.EqualValues(t, 2, r.Stats().Reconciled)
	require.Equal(t, idA, r.cgroup("+"+in+"/"+idB).ParentID)
	require.Equal(t, "docker", r.cgroup("+"+in).Inner)
	require.EqualValues(t, 4, r.Stats().Watches)

	// From now on inotify tells.
	mkdir(t, outer, "docker", idC)
	r.wait(t, "+"+in+"/"+idC)
	rmdir(t, inner)
	r.wait(t, "-"+in+"/"+idB)
	require.NoError(t, removeTree(outer))
	r.wait(t, "-"+in+"/"+idC, "-"+in, "-/docker/"+idA)
	require.EqualValues(t, 2, r.Stats().Watches)
	require.EqualValues(t, 2, r.Stats().Reconciled)
}

// Who knows of a directory that no watch tells of need not wait for the walk.
func TestDiscoveryLook(t *testing.T) {
	top := memory(t)
	outer := mkdir(t, mkdir(t, top, "docker"), idA)
	r := start(t, top, nil)
	r.wait(t, "+/", "+/docker", "+/docker/"+idA)
	in := "/docker/" + idA + "/docker"
	inner := mkdir(t, mkdir(t, outer, "docker"), idB)
	r.Look(in+"/"+idB, 0)
	r.wait(t, "+"+in, "+"+in+"/"+idB)
	require.Zero(t, r.Stats().Reconciled)
	require.EqualValues(t, 4, r.Stats().Watches)

	// What is known, or comes by a watch, is told once; what is not below the
	// directory, never.
	r.Look(in+"/"+idB, 0)
	r.Look("/elsewhere/"+idB, 0)
	mkdir(t, outer, "docker", idC)
	r.Look(in+"/"+idC, 0)
	r.wait(t, "+"+in+"/"+idC)

	// One that is gone before anybody looks has come and gone.
	leaf := in + "/" + idC + "/gone"
	r.Look(leaf, 0)
	r.wait(t, "+"+leaf, "-"+leaf)
	rmdir(t, inner)
	r.wait(t, "-"+in+"/"+idB)

	// Nor is it missed if the way to it is as new.
	mkdir(t, outer, "docker", idC, "new")
	below := in + "/" + idC + "/new/gone"
	r.Look(below, 0)
	r.wait(t, "+"+in+"/"+idC+"/new", "+"+below, "-"+below)
}

// A directory that came and went just before its parent got a watch is told, and
// one that the watch has told of is not told again, with whatever is known of its
// inode by then.
func TestDiscoveryLookBelowAWatch(t *testing.T) {
	top := memory(t)
	r := start(t, top, nil)
	r.wait(t, "+/")
	gone := func(digit string) string { return "/docker-" + strings.Repeat(digit, 64) + ".scope" }
	r.Look(gone("1"), 1<<40) // no event comes of that one
	r.wait(t, "+"+gone("1"), "-"+gone("1"))
	require.EqualValues(t, 1<<40, r.cgroup("+"+gone("1")).Inode)
	r.Look(gone("1"), 1<<40)

	// Its event came before its inode was known.
	rmdir(t, mkdir(t, top, gone("2")))
	r.wait(t, "+"+gone("2"), "-"+gone("2"))
	inode := r.cgroup("+" + gone("2")).Inode
	if inode == 0 {
		inode = 1 << 41
	}
	r.Look(gone("2"), inode)

	// Its event comes after the look.
	release := r.hold(t, top)
	r.index.Add(container.Cgroup{Path: gone("3"), Inode: 1 << 42})
	r.Look(gone("3"), 1<<42)
	rmdir(t, mkdir(t, top, gone("3")))
	close(release)
	r.wait(t, "+/hold", "+"+gone("3"), "-"+gone("3"))
	rmdir(t, mkdir(t, top, "last"))
	r.wait(t, "+/last", "-/last")
}

func TestDiscoveryDeepTreeAtOnce(t *testing.T) {
	top := memory(t)
	r := start(t, top, nil)
	r.wait(t, "+/")
	// Most of it exists before the watches do.
	require.NoError(t, os.MkdirAll(filepath.Join(top, "kubepods/burstable/pod"+uid1, idA), 0o755))
	r.wait(t, "+/kubepods", "+/kubepods/burstable", "+/kubepods/burstable/pod"+uid1, "+/kubepods/burstable/pod"+uid1+"/"+idA)
	require.Equal(t, uid1, r.cgroup("+/kubepods/burstable/pod"+uid1+"/"+idA).PodUID)
}

func TestDiscoveryRecreated(t *testing.T) {
	top := memory(t)
	dir := mkdir(t, mkdir(t, top, "docker"), idA)
	r := start(t, top, nil)
	r.wait(t, "+/", "+/docker", "+/docker/"+idA)
	first := r.cgroup("+/docker/" + idA).Inode

	// Between two callbacks, so that only the inode tells them apart.
	release := r.hold(t, top)
	rmdir(t, dir)
	mkdir(t, dir)
	close(release)
	r.wait(t, "+/hold", "-/docker/"+idA, "+/docker/"+idA)
	second := r.cgroup("+/docker/" + idA).Inode
	require.NotEqual(t, first, second)
	require.Equal(t, first, r.cgroup("-/docker/"+idA).Inode)
	live, ok := r.index.ByID(idA)
	require.True(t, ok)
	require.Equal(t, second, live.Inode)
	dead, ok := r.index.ByInode(first)
	require.True(t, ok)
	require.False(t, dead.Gone.IsZero())
}

func TestDiscoveryGoneBeforeLooking(t *testing.T) {
	top := memory(t)
	r := start(t, top, nil)
	release := r.hold(t, top)
	rmdir(t, mkdir(t, top, "docker-"+idA+".scope"))
	close(release)
	r.wait(t, "+/", "+/hold", "+/docker-"+idA+".scope", "-/docker-"+idA+".scope")
	require.Zero(t, r.cgroup("+/docker-"+idA+".scope").Inode)
	dead, ok := r.index.ByID(idA)
	require.True(t, ok)
	require.Equal(t, "docker", dead.Runtime)
}

// balance checks that every directory appeared and vanished in turn.
func balance(t *testing.T, events []string) (appeared, vanished int) {
	t.Helper()
	alive := map[string]bool{}
	for _, e := range events {
		sign, path := e[0] == '+', e[1:]
		if alive[path] == sign {
			t.Errorf("%s twice in a row", e)
		}
		alive[path] = sign
		if sign {
			appeared++
		} else {
			vanished++
		}
	}
	return appeared, vanished
}

func TestDiscoveryChurn(t *testing.T) {
	const total, atOnce = 500, 50
	top := memory(t)
	docker := mkdir(t, top, "docker")
	before := openFiles(t)
	r := start(t, top, nil)
	r.wait(t, "+/", "+/docker")
	for i := 0; i < total; i += atOnce {
		for j := i; j < i+atOnce; j++ {
			mkdir(t, docker, hexID(j))
		}
		for j := i; j < i+atOnce; j++ {
			rmdir(t, filepath.Join(docker, hexID(j)))
		}
	}
	var events []string
	eventually(t, func() bool {
		events = append(events, r.take()...)
		return len(events) >= 2*total
	})
	r.reconcile(t)
	appeared, vanished := balance(t, append(events, r.take()...))
	if appeared != total || vanished != total {
		t.Errorf("%d appeared and %d vanished, want %d", appeared, vanished, total)
	}
	require.Equal(t, container.IndexStats{Live: 2, Dead: total}, r.index.Stats())
	require.EqualValues(t, 2, r.Stats().Watches)
	r.Close()
	require.Equal(t, before, openFiles(t))
}

func TestDiscoveryWatchBudget(t *testing.T) {
	top := memory(t)
	r := start(t, top, func(o *container.DiscoveryOptions) { o.MaxWatches = 3 })
	want := []string{"/"}
	for i := range 6 {
		pod := fmt.Sprintf("pod%032x", i)
		mkdir(t, mkdir(t, top, pod), hexID(i))
		want = append(want, "/"+pod, "/"+pod+"/"+hexID(i))
	}
	r.reconcile(t)
	require.Equal(t, want, livePaths(r.index))
	require.EqualValues(t, 3, r.Stats().Watches)
	require.EqualValues(t, 4, r.Stats().WatchFailures)

	// What nobody watches still comes and goes.
	for i := range 6 {
		pod := filepath.Join(top, fmt.Sprintf("pod%032x", i))
		rmdir(t, filepath.Join(pod, hexID(i)))
		mkdir(t, pod, hexID(100+i))
	}
	r.reconcile(t)
	for i := range 6 {
		want[2+2*i] = fmt.Sprintf("/pod%032x/%s", i, hexID(100+i))
	}
	require.Equal(t, want, livePaths(r.index))
	require.NotZero(t, r.Stats().Reconciled)
	require.EqualValues(t, 4, r.Stats().WatchFailures, "counted once per directory")

	// A watch that is given back goes to the next who needs one.
	require.NoError(t, removeTree(filepath.Join(top, fmt.Sprintf("pod%032x", 0))))
	for i := range 3 {
		require.NoError(t, removeTree(filepath.Join(top, fmt.Sprintf("pod%032x", i+1))))
	}
	r.reconcile(t)
	require.EqualValues(t, 3, r.Stats().Watches)
	balance(t, r.take())
}

func livePaths(x *container.Index) []string {
	var all []string
	for cg := range x.Live() {
		all = append(all, cg.Path)
	}
	slices.Sort(all)
	return all
}

// The kernel queues 16384 events by default and then drops. Plain directories
// do, and are much cheaper than cgroups.
func TestDiscoveryOverflow(t *testing.T) {
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	require.NoError(t, err)
	var events int
	_, err = fmt.Sscan(string(limit), &events)
	require.NoError(t, err)

	top := t.TempDir()
	r := start(t, top, nil)
	release := r.hold(t, top)
	for i := range events/2 + 1 {
		rmdir(t, mkdir(t, top, fmt.Sprint("x", i)))
	}
	mkdir(t, top, "docker-"+idA+".scope") // its event is lost
	close(release)
	eventually(t, func() bool { return r.Stats().Overflows > 0 && r.Stats().Walks > 1 })
	r.reconcile(t)
	require.Equal(t, []string{"/", "/docker-" + idA + ".scope", "/hold"}, livePaths(r.index))
	require.NotZero(t, r.Stats().Reconciled)
	balance(t, r.take())
}

// Without link counts a container is found to be a parent by listing it.
func TestDiscoveryPlainDirectories(t *testing.T) {
	top := t.TempDir()
	outer := mkdir(t, top, "docker-"+idA+".scope")
	mkdir(t, outer, "init")
	require.NoError(t, os.WriteFile(filepath.Join(top, "file"), nil, 0o600))
	require.NoError(t, os.Symlink(outer, filepath.Join(top, "docker-"+idB+".scope")))
	r := start(t, top, func(o *container.DiscoveryOptions) { o.Prefix = "/a.slice" })
	base := "/a.slice/docker-" + idA + ".scope"
	r.wait(t, "+/a.slice", "+"+base, "+"+base+"/init")
	mkdir(t, outer, "system.slice")
	r.wait(t, "+"+base+"/system.slice")
	require.NoError(t, os.Rename(filepath.Join(outer, "system.slice"), filepath.Join(outer, "user.slice")))
	r.wait(t, "-"+base+"/system.slice", "+"+base+"/user.slice")
	require.EqualValues(t, 2, r.Stats().Watches)
}

func TestDiscoveryDirVanishes(t *testing.T) {
	top := filepath.Join(memory(t), "sub")
	mkdir(t, top)
	mkdir(t, top, "docker")
	r := start(t, top, nil)
	r.wait(t, "+/", "+/docker")
	require.NoError(t, removeTree(top))
	r.wait(t, "-/docker")
	r.reconcile(t)
	r.wait(t, "-/")
	require.Zero(t, r.Stats().Watches)
	mkdir(t, top)
	mkdir(t, top, "docker")
	r.reconcile(t)
	r.wait(t, "+/", "+/docker")
	mkdir(t, top, "lxc")
	r.wait(t, "+/lxc")
}

func TestDiscoveryLifeCycle(t *testing.T) {
	before := openFiles(t)
	missing := container.NewDiscovery(container.DiscoveryOptions{Dir: filepath.Join(t.TempDir(), "none")})
	require.ErrorIs(t, missing.Start(), container.ErrGone)
	missing.Close()

	never := container.NewDiscovery(container.DiscoveryOptions{Dir: t.TempDir()})
	never.Close()
	never.Close()
	require.ErrorIs(t, never.Start(), container.ErrStarted)

	r := start(t, t.TempDir(), nil)
	require.ErrorIs(t, r.Start(), container.ErrStarted)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(r.Close)
	}
	wg.Wait()
	r.Close()
	require.Zero(t, r.Stats().Watches)
	require.Equal(t, before, openFiles(t))

	// With the timer of its own.
	own := start(t, t.TempDir(), func(o *container.DiscoveryOptions) { o.Tick, o.Reconcile = nil, time.Millisecond })
	eventually(t, func() bool { return own.Stats().Walks > 2 })
}
