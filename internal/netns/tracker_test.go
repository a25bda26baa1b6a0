package netns

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestSharedNamespaceHasOneOwner(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := newRig(t)
	r.process(100, 50, "")
	r.process(101, 40, "100") // older, but seen later
	r.process(102, 60, "")
	r.process(103, 70, "1")
	r.container("a", 100)
	r.container("c", 102)
	r.container("d", 103)
	require.ElementsMatch(t, []string{"a", "c"}, r.refresh(), "d is in the host's namespace")

	r.container("b", 101)
	require.ElementsMatch(t, []string{"ab", "c"}, r.refresh(), "the owner stays the owner")
	all := r.tracker.Refresh()
	require.False(t, all[1].Changed)
	require.Equal(t, Stats{
		Namespaces: 3, Members: 3, ReadErrors: map[string]uint64{}, ParseErrors: map[string]uint64{},
	}, r.tracker.Stats())

	r.kill(100)
	require.ElementsMatch(t, []string{"b", "c"}, r.refresh())
	require.Equal(t, 1, r.tracker.Stats().NoProcess)
	r.remove("c")
	require.Equal(t, []string{"b"}, r.refresh())
}

func TestOwnerWithoutHistory(t *testing.T) {
	r := newRig(t)
	r.process(100, 50, "")
	r.process(101, 40, "100")
	r.container("a", 100)
	r.container("b", 101)
	require.Equal(t, []string{"ba"}, r.refresh(), "the container that started first")
}

// A pod's sandbox owns the namespace, whoever is older.
func TestSandboxOwns(t *testing.T) {
	r := newRig(t)
	const pod = "/kubepods.slice/kubepods-pod8712f785_1a3e_41ec_a00b_e2dcc77431cb.slice/"
	sandbox := "crio-" + id("5")
	require.Equal(t, container.ClassSandbox, container.ParsePath(pod+sandbox).Class)
	r.process(100, 40, "")
	r.process(101, 50, "100")
	r.cgroup(pod+"crio-"+id("a")+".scope", 100)
	require.Equal(t, []string{"a"}, r.refresh())
	r.cgroup(pod+sandbox, 101)
	require.Equal(t, []string{"5a"}, r.refresh())
}

// A process may enter its namespace after the container was found: the
// runtime's own one does.
func TestNamespaceIsLookedAtAgain(t *testing.T) {
	r := newRig(t)
	r.process(100, 50, "1")
	r.container("a", 100)
	require.Empty(t, r.refresh())
	require.NoError(t, os.Remove(filepath.Join(r.root, "proc/100", nsFile)))
	r.write("proc/100/"+nsFile, "")
	require.Equal(t, []string{"a"}, r.refresh())
}

// Of a container's processes the oldest counts; one without any is waited
// for; one whose processes are in cgroups inside it is found through these.
func TestProcessOfAContainer(t *testing.T) {
	r := newRig(t)
	r.process(100, 70, "1")
	r.process(101, 60, "")
	r.container("a", 100, 101)
	r.container("b")
	require.Equal(t, []string{"a"}, r.refresh())
	require.Equal(t, 1, r.tracker.Stats().NoProcess)

	r.process(102, 80, "")
	r.cgroup("/docker/"+id("b")+"/init.scope", 102)
	require.ElementsMatch(t, []string{"a", "b"}, r.refresh())
	require.Zero(t, r.tracker.Stats().NoProcess)

	r.write("proc/101/stat", "101 (sleep) Z 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 6000 1000 100 0 0\n")
	require.NoError(t, os.Remove(filepath.Join(r.root, "proc/101", nsFile)))
	require.ElementsMatch(t, []string{"b"}, r.refresh(), "a zombie has no namespace")
}

// A container of the same name is another one.
func TestContainerIsReplaced(t *testing.T) {
	r := newRig(t)
	r.process(100, 50, "")
	r.process(101, 60, "")
	r.container("a", 100)
	first := r.tracker.Refresh()[1].Inode
	r.remove("a")
	r.container("a", 101)
	all := r.tracker.Refresh()
	require.Len(t, all, 2)
	require.NotEqual(t, first, all[1].Inode)
}

func TestMemberLimit(t *testing.T) {
	r := newRig(t)
	r.tracker.maxMembers = 1
	r.process(100, 50, "")
	r.process(101, 50, "")
	r.container("a", 100)
	require.Equal(t, []string{"a"}, r.refresh())
	r.container("b", 101)
	require.Equal(t, []string{"a"}, r.refresh())
	require.Equal(t, uint64(1), r.tracker.Stats().DroppedMembers)
}

// Without process 1 there is no host namespace to read; the rest goes on.
func TestHostCannotBeRead(t *testing.T) {
	r := newRig(t)
	r.process(100, 50, "")
	r.container("a", 100)
	r.kill(1)
	all := r.tracker.Refresh()
	require.Len(t, all, 2)
	require.False(t, r.tracker.Read(all[0], true))
	require.True(t, r.tracker.Read(all[1], true))
	require.Equal(t, uint64(1), r.tracker.Stats().ReadErrors["1"])
	require.Zero(t, all[0].Sample.Have)
	r.process(1, 0, "")
	require.True(t, r.tracker.Read(r.tracker.Refresh()[0], true), "a system container was restarted")
}

func TestNamespaceStartsWithItsOldestMember(t *testing.T) {
	r := newRig(t)
	r.process(100, 50, "")
	r.process(101, 40, "100")
	r.container("a", 100)
	r.container("b", 101)
	all := r.tracker.Refresh()
	boot := all[1].Members[1].Started.Add(-50 * time.Second)
	require.Equal(t, 40*time.Second, all[1].Start.Sub(boot))
	require.Equal(t, r.tracker.o.Boot, all[0].Start)
}
