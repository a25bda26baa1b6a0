package origin

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/pidfd"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestProbe(t *testing.T) {
	if err := pidfd.Probe(); err != nil {
		testkit.Lack(t, testkit.Feature{Name: "PIDFD_INFO_EXIT", MinKernel: "6.17"}, err)
	}
}

// A thousand processes live 5 ms, each in a container of its own, and send one
// datagram. All are put down to their containers, be the receiver idle or late.
func TestShortLives(t *testing.T) {
	containers := make([]*cgroupOf, 1000)
	for i := range containers {
		containers[i] = newContainer(t)
	}
	for _, tier := range []Tier{TierStream, TierPIDFD} {
		t.Run(string(tier), func(t *testing.T) {
			t.Run("at once", func(t *testing.T) { shortLives(t, tier, containers, false) })
			t.Run("late", func(t *testing.T) { shortLives(t, tier, containers, true) })
		})
	}
}

// shortLives looks when the first of five has sent, or only when all have gone.
func shortLives(t *testing.T, tier Tier, containers []*cgroupOf, late bool) {
	const atOnce = 5 // the queue of a socket holds 10
	processes := len(containers)
	g := newRig(t, tier, ClientOff)
	got := map[int]*Origin{}
	drain := func() { g.drain(func(d datagram, o *Origin) { got[d.number] = o }) }
	for i := 0; i < processes; i += atOnce {
		var waits []func()
		for j := range atOnce {
			_, waited := start(t, life{in: containers[i+j], socket: g.path, number: i + j, before: 2 * time.Millisecond, after: 3 * time.Millisecond})
			waits = append(waits, waited)
		}
		if !late {
			require.NoError(t, waitReadable(g.fd))
			drain()
		}
		for _, waited := range waits {
			waited()
		}
		drain()
		drain() // the queue is empty
	}
	require.Len(t, got, processes)
	kinds := map[Kind]int{}
	for i, o := range got {
		kinds[o.Kind]++
		final := g.settled(o)
		require.Equal(t, KindKernel, final.Kind, "%s, then %s %s", o.Kind, final.Kind, final.Reason)
		require.Equal(t, containers[i].id, final.ContainerID)
	}
	t.Logf("%v, %+v", kinds, g.r.Stats())
}

// Containers that nobody has known before send from their first process, and are
// removed when it has ended.
func TestNewContainers(t *testing.T) {
	for _, tier := range []Tier{TierStream, TierPIDFD} {
		t.Run(string(tier), func(t *testing.T) {
			g := newRig(t, tier, ClientOff)
			got := map[string]*Origin{}
			for range 20 {
				c := newContainer(t)
				_, waited := start(t, life{in: c, socket: g.path, before: time.Millisecond, after: 4 * time.Millisecond})
				waited()
				got[c.id] = g.one()
				c.Remove()
			}
			for id, o := range got {
				require.Equal(t, id, g.settled(o).ContainerID)
			}
		})
	}
}

// A runtime that uses cgroup v1 alone leaves nothing in the unified hierarchy:
// of a dead sender nothing is known then, and nothing is claimed.
func TestContainerOfV1Alone(t *testing.T) {
	testkit.NeedLayout(t, testkit.LayoutHybrid)
	g := newRig(t, TierPIDFD, ClientOff)
	c := newContainer(t)
	c.procs = slices.DeleteFunc(c.procs, func(file string) bool {
		return filepath.Dir(file) == c.Dir("")
	})
	_, waited := start(t, life{in: c, socket: g.path, after: 200 * time.Millisecond})
	require.Equal(t, c.id, g.one().ContainerID, "while it lives, /proc tells")
	waited()
	_, waited = start(t, life{in: c, socket: g.path})
	waited()
	o := g.settled(g.one())
	require.Equal(t, KindNone, o.Kind)
	require.Equal(t, ReasonCgroup, o.Reason)
}

// Who has more senders than descriptors forgets some, and knows them again.
func TestManySenders(t *testing.T) {
	g := newRig(t, TierProc, ClientOff)
	for pid := range maxSenders + 100 {
		g.s.remember(1<<22+pid, g.r.host()) // above every pid_max
	}
	require.Len(t, g.s.byPID, maxSenders)
	require.EqualValues(t, 100, g.r.Stats().Evicted)
	require.Equal(t, maxSenders, g.s.queue.Len())
	c := newContainer(t)
	from := Sender{PID: testkit.Run(t, c.Group, "sleep", "600").Process.Pid, PIDFD: -1}
	require.Equal(t, c.id, g.s.Resolve(from).ContainerID)
	for pid := range 3 * maxSenders { // used, it stays
		g.s.remember(2<<22+pid, g.r.host())
		if pid%1000 == 0 {
			g.s.Begin()
			require.Equal(t, c.id, g.s.Resolve(from).ContainerID)
		}
	}
	require.NotNil(t, g.s.byPID[from.PID])
}

// A number is given to a process of another container. Neither is taken for the
// other, whenever anybody looks.
func TestReusedNumber(t *testing.T) {
	for _, tier := range []Tier{TierStream, TierPIDFD, TierProc} {
		t.Run(string(tier), func(t *testing.T) {
			if tier != TierProc { // the package comment says what that one cannot do
				t.Run("both queued", func(t *testing.T) { bothQueued(t, tier) })
			}
			t.Run("one after the other", func(t *testing.T) {
				// On a busy host a third process may have had the number in between, and then
				// nobody can be named.
				const tries = 5
				for n := 1; !oneAfterTheOther(t, tier); n++ {
					require.Less(t, n, tries, "the number is always taken for reused")
				}
			})
			t.Run("first is remembered", func(t *testing.T) { firstIsRemembered(t, tier) })
		})
	}
}

func bothQueued(t *testing.T, tier Tier) {
	g := newRig(t, tier, ClientOff)
	a, b := newContainer(t), newContainer(t)
	pid, waited := start(t, life{in: a, socket: g.path, number: 1})
	waited()
	startAs(t, pid, life{in: b, socket: g.path, number: 2})()
	got := map[int]*Origin{}
	require.Equal(t, 2, g.drain(func(d datagram, o *Origin) {
		require.Equal(t, pid, d.from.PID)
		got[d.number] = o
	}))
	first, second := g.settled(got[1]), g.settled(got[2])
	if tier == TierPIDFD {
		require.Equal(t, a.id, first.ContainerID)
		require.Equal(t, b.id, second.ContainerID)
		return
	}
	require.Equal(t, ReasonReused, first.Reason)
	require.Equal(t, ReasonReused, second.Reason)
}

// The receiver looks after each, but only when it has gone. It knows of an empty
// queue in between, and time has gone on further than events may be late here. It
// returns whether both could be told.
func oneAfterTheOther(t *testing.T, tier Tier) bool {
	t.Helper()
	g := newRig(t, tier, ClientOff)
	a, b := newContainer(t), newContainer(t)
	pid, waited := start(t, life{in: a, socket: g.path, number: 1})
	waited()
	first := g.one()
	past := Clock() + 10*slack
	testkit.Eventually(t, testPatience, func() error {
		require.Zero(t, g.drain(nil))
		if Clock() < past {
			return errNotYet
		}
		return nil
	})
	startAs(t, pid, life{in: b, socket: g.path, number: 2})()
	second := g.one()
	first, second = g.settled(first), g.settled(second)
	if tier == TierProc {
		require.Equal(t, ReasonGone, first.Reason)
		require.Equal(t, ReasonGone, second.Reason)
		return true
	}
	if first.Reason == ReasonReused || second.Reason == ReasonReused {
		require.Contains(t, []string{"", a.id}, first.ContainerID)
		require.Contains(t, []string{"", b.id}, second.ContainerID)
		return false
	}
	require.Equal(t, a.id, first.ContainerID, first.Reason)
	require.Equal(t, b.id, second.ContainerID, second.Reason)
	return true
}

// The first process is known and lives, and sends once more before it ends: its
// datagram is still queued when the second one sends.
func firstIsRemembered(t *testing.T, tier Tier) {
	g := newRig(t, tier, ClientOff)
	a, b := newContainer(t), newContainer(t)
	gate := make([]int, 2)
	require.NoError(t, unix.Pipe2(gate, unix.O_CLOEXEC))
	calls, descriptors, keep := program(t, life{in: a, socket: g.path, number: 1})
	opened := new([1]byte)
	calls = append(calls,
		pidfd.Call{unix.SYS_READ, uintptr(gate[0]), uintptr(unsafe.Pointer(opened)), 1}, calls[len(calls)-1])
	pid, err := pidfd.Fork(calls)
	require.NoError(t, err)
	for _, fd := range append(descriptors, gate[0]) {
		require.NoError(t, unix.Close(fd))
	}
	for g.settled(g.oneOrNothing(pid)).ContainerID != a.id {
		require.NoError(t, unix.Kill(pid, 0))
	}
	_, err = unix.Write(gate[1], []byte("x"))
	require.NoError(t, err)
	require.NoError(t, pidfd.Wait(pid))
	runtime.KeepAlive(opened)
	runtime.KeepAlive(keep)
	require.NoError(t, unix.Close(gate[1]))
	startAs(t, pid, life{in: b, socket: g.path, number: 2, after: 50 * time.Millisecond})
	require.NoError(t, waitReadable(g.fd))
	got := map[int][]*Origin{}
	testkit.Eventually(t, testPatience, func() error {
		g.drain(func(d datagram, o *Origin) { got[d.number] = append(got[d.number], o) })
		if len(got[2]) == 0 {
			return errNotYet
		}
		return nil
	})
	require.NoError(t, pidfd.Wait(pid))
	require.NotEmpty(t, got[1])
	for _, o := range slices.Concat(got[1], got[2]) {
		want := a.id
		if slices.Contains(got[2], o) {
			want = b.id
		}
		if o = g.settled(o); o.Kind == KindKernel {
			require.Equal(t, want, o.ContainerID)
		} else {
			require.Equal(t, ReasonReused, o.Reason)
			require.NotEqual(t, TierPIDFD, tier, "a descriptor leaves nothing open")
		}
	}
}

// oneOrNothing resolves the sender's number as if it had sent again.
func (g *rig) oneOrNothing(pid int) *Origin {
	at := Clock()
	var got *Origin
	if g.drain(func(_ datagram, o *Origin) { got = o }) > 0 {
		return got
	}
	g.s.Empty(at)
	g.s.Begin()
	fd, err := unix.PidfdOpen(pid, 0)
	require.NoError(g.t, err)
	defer unix.Close(fd)
	if !g.r.WantPIDFD() {
		return g.s.Resolve(Sender{PID: pid, PIDFD: -1})
	}
	return g.s.Resolve(Sender{PID: pid, PIDFD: fd})
}

// A receiver in a pid namespace of its own is told by nobody who sent.
func TestOtherNamespace(t *testing.T) {
	testkit.NeedRoot(t)
	socket := filepath.Join(t.TempDir(), "s")
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), receiverMode+"="+socket)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	testkit.Eventually(t, testPatience, func() error {
		_, err := os.Stat(socket)
		return err
	})
	_, waited := start(t, life{socket: socket, number: 1})
	waited()
	require.NoError(t, cmd.Wait())
	var got received
	require.NoError(t, json.Unmarshal(out.Bytes(), &got), out.String())
	require.Zero(t, got.PID)
	require.Equal(t, ReasonNamespace, got.Reason)
	require.NotEqual(t, TierStream, got.Tier)
	require.Contains(t, got.Check, "pid: host")
	if got.Tier == TierPIDFD {
		require.Equal(t, unix.EREMOTE.Error(), got.Info, "nor does a descriptor tell")
	}
}

func TestHostProcess(t *testing.T) {
	for _, tier := range []Tier{TierStream, TierPIDFD, TierProc} {
		t.Run(string(tier), func(t *testing.T) {
			g := newRig(t, tier, ClientOff)
			pid, waited := start(t, life{socket: g.path, number: 1, after: 300 * time.Millisecond})
			o := g.settled(g.one())
			require.Equal(t, KindHost, o.Kind, "%d: %s", pid, o.Reason)
			waited()
		})
	}
}

func TestPeer(t *testing.T) {
	for _, tier := range []Tier{TierStream, TierPIDFD} {
		t.Run(string(tier), func(t *testing.T) {
			g := newRig(t, tier, ClientOff)
			c := newContainer(t)
			cmd := testkit.Run(t, c.Group, "sleep", "600")
			fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
			require.NoError(t, err)
			defer unix.Close(fd)
			require.Equal(t, c.id, g.r.Peer(cmd.Process.Pid, fd).ContainerID)
			require.Equal(t, c.id, g.r.Peer(cmd.Process.Pid, -1).ContainerID)
			require.Equal(t, ReasonNamespace, g.r.Peer(0, -1).Reason)
			require.NoError(t, cmd.Process.Kill())
			_ = cmd.Wait() // killed
			require.Equal(t, c.id, g.settled(g.r.Peer(cmd.Process.Pid, fd)).ContainerID)
			byNumber := g.settled(g.r.Peer(cmd.Process.Pid, -1))
			if tier == TierStream {
				require.Equal(t, c.id, byNumber.ContainerID)
			} else {
				require.Equal(t, ReasonGone, byNumber.Reason)
			}
		})
	}
}
