package netns_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const patience = time.Minute

// newTracker looks at the real host.
func newTracker(t testing.TB) *netns.Tracker {
	t.Helper()
	testkit.NeedRoot(t)
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(t, err)
	t.Cleanup(view.Release)
	tracker := netns.NewTracker(netns.Options{
		Roots: hostfs.NewRoots("/"), Index: view.Index(), ProcsFile: view.ProcsFile, Boot: view.BootTime(),
	})
	t.Cleanup(tracker.Close)
	return tracker
}

// place is a container made of a cgroup and a process.
type place struct {
	group *testkit.Group
	cmd   *exec.Cmd
	id    string
}

// newPlace starts a sleeping process behind the given words of a command.
func newPlace(t testing.TB, words ...string) place {
	t.Helper()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	id := hex.EncodeToString(raw)
	g := testkit.Cgroup(t, "/tallyman-test-netns/"+id)
	return place{group: g, cmd: testkit.Run(t, g, append(words, "sleep", "600")...), id: id}
}

func (p place) pid() int { return p.cmd.Process.Pid }

// find refreshes until the namespace of a container has that many members.
func find(t testing.TB, tracker *netns.Tracker, p place, members int) *netns.Namespace {
	t.Helper()
	var found *netns.Namespace
	testkit.Eventually(t, patience, func() error {
		for _, n := range tracker.Refresh() {
			for _, m := range n.Members {
				if m.Cgroup.ID == p.id {
					found = n
				}
			}
		}
		if found == nil || len(found.Members) != members {
			return fmt.Errorf("namespace of %s: %+v", p.id[:8], found)
		}
		return nil
	})
	return found
}

func ids(n *netns.Namespace) []string {
	var all []string
	for _, m := range n.Members {
		all = append(all, m.Cgroup.ID)
	}
	return all
}

func TestRealNamespaces(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare", "nsenter")
	tracker := newTracker(t)
	a := newPlace(t, "unshare", "-n")
	find(t, tracker, a, 1)
	b := newPlace(t, "nsenter", "-t", strconv.Itoa(a.pid()), "-n")
	c := newPlace(t, "unshare", "-n")
	onHost := newPlace(t)

	shared := find(t, tracker, a, 2)
	require.Equal(t, []string{a.id, b.id}, ids(shared), "one namespace, and the first container owns it")
	alone := find(t, tracker, c, 1)
	require.NotEqual(t, shared.Inode, alone.Inode)
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", c.pid()))
	require.NoError(t, err)
	require.Equal(t, want, fmt.Sprintf("net:[%d]", alone.Inode))
	for _, n := range tracker.Refresh() {
		require.NotContains(t, ids(n), onHost.id, "it is in the host's namespace")
	}

	require.NoError(t, a.cmd.Process.Kill())
	_ = a.cmd.Wait()
	shared = find(t, tracker, b, 1)
	require.True(t, tracker.Read(shared, true), "it is read through the one that is left")
}

// Traffic inside a namespace of its own, where nobody else makes any.
func TestRealCounters(t *testing.T) {
	testkit.NeedCommand(t, "unshare")
	tracker := newTracker(t)
	p := newPlace(t, "unshare", "-n")
	n := find(t, tracker, p, 1)
	testkit.InNetns(t, p.pid(), func() error { return testkit.Up("lo") })
	require.True(t, tracker.Read(n, true))
	before := n.Sample
	before.Interfaces = slices.Clone(before.Interfaces)

	const datagrams, size = 10, 100
	var keep []net.Conn
	testkit.InNetns(t, p.pid(), func() error {
		var err error
		keep, err = talk(datagrams, size)
		return err
	})
	defer func() {
		for _, c := range keep {
			_ = c.Close()
		}
	}()
	require.True(t, tracker.Read(n, true))
	got := n.Sample
	require.Equal(t, uint64(datagrams), got.UDP.InDatagrams-before.UDP.InDatagrams)
	require.Equal(t, uint64(datagrams+1), got.UDP.OutDatagrams-before.UDP.OutDatagrams)
	require.Equal(t, uint64(1), got.UDP.NoPorts-before.UDP.NoPorts)
	require.Equal(t, uint64(1), got.TCP.ActiveOpens-before.TCP.ActiveOpens)
	require.Equal(t, uint64(1), got.TCP.PassiveOpens-before.TCP.PassiveOpens)
	require.Equal(t, uint64(2), got.TCP.Established, "both ends are in this namespace")
	lo, was := got.Interfaces[0], before.Interfaces[0]
	require.Equal(t, "lo", lo.Name)
	require.GreaterOrEqual(t, lo.Receive.Bytes-was.Receive.Bytes, uint64(datagrams*(size+8+20+14)))
	require.Equal(t, lo.Receive, lo.Transmit)
}

// The reader may be in any namespace: the host's numbers stay the host's.
func TestHostFromAnotherNamespace(t *testing.T) {
	tracker := newTracker(t)
	var names []string
	testkit.InNewNetns(t, func() error {
		host := tracker.Refresh()[0]
		if !tracker.Read(host, true) {
			return errors.New("the host's namespace cannot be read")
		}
		for _, i := range host.Sample.Interfaces {
			names = append(names, i.Name)
		}
		return nil
	})
	all, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range all {
		require.Contains(t, names, i.Name)
	}
}

// Namespaces that go while they are read are counted and nothing else.
func TestVanishWhileRead(t *testing.T) {
	const count = 50
	tracker, processes := manyNamespaces(t, count)
	all := tracker.Refresh()
	require.Len(t, all, count+1)
	for i, n := range all {
		if i == count/2 {
			for _, cmd := range processes {
				require.NoError(t, cmd.Process.Kill())
				_ = cmd.Wait()
			}
		}
		require.Equal(t, i < count/2, tracker.Read(n, true), "namespace %d", i)
	}
	s := tracker.Stats()
	require.Equal(t, uint64(count-count/2+1), s.Vanished)
	require.Empty(t, s.ReadErrors)
	require.Empty(t, s.ParseErrors)
	require.Len(t, tracker.Refresh(), 1, "only the host's is left")
	require.Equal(t, count, tracker.Stats().NoProcess)
}

// Containers of all kinds are found where hostview finds them.
func TestEveryRealMemberIsAContainer(t *testing.T) {
	for _, n := range newTracker(t).Refresh() {
		for _, m := range n.Members {
			require.Contains(t, []container.Class{container.ClassContainer, container.ClassSandbox}, m.Cgroup.Class)
			require.False(t, m.Started.IsZero())
		}
	}
}

// talk sends datagrams to a port that listens and one to a port that does
// not, and opens a TCP connection, both ends of which it returns.
func talk(datagrams, size int) ([]net.Conn, error) {
	in, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := net.DialUDP("udp4", nil, in.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	buf := make([]byte, size)
	for range datagrams {
		if _, err := out.Write(buf); err != nil {
			return nil, err
		}
		if _, err := in.Read(buf); err != nil {
			return nil, err
		}
	}
	closed, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
	if err != nil {
		return nil, err
	}
	defer closed.Close()
	if _, err := closed.Write(buf); err != nil {
		return nil, err
	}
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	client, err := net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr))
	if err != nil {
		return nil, err
	}
	server, err := listener.Accept()
	return []net.Conn{client, server}, err
}
