package nat

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// passing makes a namespace that is wired to the rig's host; del deletes it, and
// gone says whether the kernel has given it up: the wire goes with it.
func (r *rig) passing() (ns string, del func(), gone func() error) {
	r.t.Helper()
	ns = fmt.Sprintf("tlynat%dp", os.Getpid())
	run(r.t, "ip netns add "+ns)
	deleted := false
	del = func() {
		if !deleted {
			deleted = true
			run(r.t, "ip netns del "+ns)
		}
	}
	r.t.Cleanup(del)
	run(r.t, "ip -n "+r.host+" link add vp type veth peer name eth0 netns "+ns)
	gone = func() error {
		if exec.Command("ip", "-n", r.host, "link", "show", "vp").Run() == nil {
			return fmt.Errorf("%s is kept alive", ns)
		}
		return nil
	}
	require.Error(r.t, gone())
	return ns, del, gone
}

// TestLetsNamespacesGo: a namespace that was asked is given up at once, and the
// one that a resolver was opened for with its Close.
func TestLetsNamespacesGo(t *testing.T) {
	r := newRig(t)
	both(t, func(t *testing.T, mode Mode) {
		t.Run("asked", func(t *testing.T) {
			r := r.with(t)
			resolver := r.open(mode)
			ns, del, gone := r.passing()
			at, err := OpenNamespace(path(ns))
			require.NoError(t, err)
			require.False(t, resolveOne(t, resolver, at, cacheQuery(1)).Found)
			require.NoError(t, at.Close())
			del()
			testkit.Eventually(t, waitFor, gone)
		})
		t.Run("home", func(t *testing.T) {
			r := r.with(t)
			ns, del, gone := r.passing()
			resolver, _, err := Open(Options{Mode: mode, Namespace: path(ns)})
			if err != nil {
				lack(t, mode, err)
			}
			require.False(t, resolveOne(t, resolver, Namespace{}, cacheQuery(1)).Found)
			require.NoError(t, resolver.Close())
			del()
			testkit.Eventually(t, waitFor, gone)
		})
	})
}

// threads counts the threads of this process, and those that are in another
// network namespace than the first one.
func threads(t testing.TB) (all, abroad int) {
	t.Helper()
	var own unix.Stat_t
	require.NoError(t, unix.Stat(ownNamespace, &own))
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	require.NoError(t, err)
	for _, task := range tasks {
		var there unix.Stat_t
		if unix.Stat(task, &there) != nil {
			continue // it has ended
		}
		all++
		if there.Ino != own.Ino {
			abroad++
		}
	}
	require.NotZero(t, all)
	return all, abroad
}

// TestThreadsStayHome: whoever asks where, no thread is left behind in a
// foreign namespace, and none is left over.
func TestThreadsStayHome(t *testing.T) {
	r := newRig(t)
	other, err := OpenNamespace(path(r.first))
	require.NoError(t, err)
	defer other.Close()
	atHome := func(wanted int) {
		t.Helper()
		testkit.Eventually(t, waitFor, func() error {
			if _, abroad := threads(t); abroad > wanted {
				return fmt.Errorf("%d threads are in another namespace, not %d", abroad, wanted)
			}
			return nil
		})
	}
	both(t, func(t *testing.T, mode Mode) {
		atHome(0)
		round := func() {
			resolver, _, err := Open(Options{Mode: mode, Namespace: path(r.host)})
			if err != nil {
				lack(t, mode, err)
			}
			var asking sync.WaitGroup
			for range 8 {
				asking.Go(func() {
					for _, at := range []Namespace{{}, other, {}, other} {
						if err := resolver.Resolve(context.Background(), at, []Query{cacheQuery(1)}, make([]Answer, 1)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			asking.Wait()
			atHome(1) // the resolver's own
			require.NoError(t, resolver.Close())
			atHome(0)
		}
		for range 5 {
			round()
		}
		before, _ := threads(t)
		rounds := 30
		if testing.Short() {
			rounds = 12 // more than the threads that may be left
		}
		for range rounds {
			round()
		}
		after, _ := threads(t)
		require.LessOrEqual(t, after, before+10) // the runtime's, that come and go
	})
}

// TestCloseWhileResolving: who asks while the resolver is closed gets answers or
// an error, in the process' own namespace, in the resolver's and in a third.
func TestCloseWhileResolving(t *testing.T) {
	r := newRig(t)
	own, err := OpenNamespace(ownNamespace)
	require.NoError(t, err)
	defer own.Close()
	other, err := OpenNamespace(path(r.first))
	require.NoError(t, err)
	defer other.Close()
	both(t, func(t *testing.T, mode Mode) {
		testkit.VerifyNoLeaks(t)
		for range 10 {
			resolver, _, err := Open(Options{Mode: mode, Namespace: path(r.host)})
			if err != nil {
				lack(t, mode, err)
			}
			var asking, begun sync.WaitGroup
			for _, at := range []Namespace{{}, own, other, {}} {
				begun.Add(1)
				asking.Go(func() { askUntilClosed(t, resolver, at, begun.Done) })
			}
			begun.Wait()
			require.NoError(t, resolver.Close())
			asking.Wait()
		}
	})
}

// askUntilClosed asks until it is told that there is nobody.
func askUntilClosed(t *testing.T, r Resolver, at Namespace, begun func()) {
	queries, answers := make([]Query, 300), make([]Answer, 300)
	for i := range queries {
		queries[i] = cacheQuery(uint16(i + 1))
	}
	for i := 0; ; i++ {
		answers[0].Found = true
		err := r.Resolve(context.Background(), at, queries, answers)
		if answers[0].Found { // as it was before
			t.Errorf("no answer, error %v", err)
		}
		if i == 0 {
			begun()
		}
		if err != nil {
			return
		}
		runtime.Gosched() // on one processor the askers else keep it among themselves for seconds
	}
}
