package origin

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/pidfd"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// testPatience bounds every wait: a loaded machine.
const testPatience = time.Minute

var errNotYet = errors.New("not yet")

// receiverMode makes this test binary a receiver in another pid namespace.
const receiverMode = "TALLYMAN_ORIGIN_RECEIVER"

func TestMain(m *testing.M) {
	socket := os.Getenv(receiverMode)
	if socket == "" {
		testkit.Main(m)
		return
	}
	if err := receiveOne(socket); err != nil {
		fmt.Fprintln(os.Stderr, "receiver:", err)
		os.Exit(1)
	}
}

// received is what the receiver in the other namespace prints.
type received struct {
	PID    int
	Tier   Tier
	Kind   string
	Reason Reason
	Check  string
	Info   string // what the kernel says of the descriptor
}

func receiveOne(socket string) error {
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: hostview.ProcessStreamProc})
	if err != nil {
		return err
	}
	defer view.Release()
	r := Open(Options{View: view, Roots: hostfs.NewRoots("/")})
	defer r.Close()
	s, err := r.Senders(0)
	if err != nil {
		return err
	}
	defer s.Close()
	fd, err := listen(socket, r.WantPIDFD())
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := waitReadable(fd); err != nil {
		return err
	}
	list, err := receive(fd)
	if err != nil || len(list) == 0 {
		return fmt.Errorf("receive: %w", err)
	}
	s.Begin()
	o := s.Resolve(list[0].from)
	info := ""
	if _, err := pidfd.Info(list[0].from.PIDFD); err != nil {
		info = err.Error()
	}
	list[0].close()
	check := ""
	if err := r.Check(); err != nil {
		check = err.Error()
	}
	return json.NewEncoder(os.Stdout).Encode(received{
		PID: list[0].from.PID, Tier: r.Tier(), Kind: o.Kind.String(), Reason: o.Reason, Check: check, Info: info,
	})
}

func waitReadable(fd int) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(testPatience/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = errNotYet
		}
		return err
	}
}

// listen makes the socket of a test, with the queue of the host's setting.
func listen(path string, pidfd bool) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	if err == nil && pidfd {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// datagram is one that was received: the sender wrote a number.
type datagram struct {
	number int
	from   Sender
}

func (d datagram) close() {
	if d.from.PIDFD >= 0 {
		_ = unix.Close(d.from.PIDFD)
	}
}

// receive takes all that is there.
func receive(fd int) ([]datagram, error) {
	var list []datagram
	buf, oob := make([]byte, 64), make([]byte, 128)
	for {
		n, on, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		d := datagram{from: Sender{PID: -1, PIDFD: pidfd.Descriptor(oob[:on])}}
		if n == 8 {
			d.number = int(binary.NativeEndian.Uint64(buf))
		}
		messages, err := unix.ParseSocketControlMessage(oob[:on])
		if err != nil {
			return list, err
		}
		for i := range messages {
			if c, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
				d.from.PID = int(c.Pid)
			}
		}
		list = append(list, d)
	}
}

func acquire(t testing.TB, tier Tier) *hostview.View {
	t.Helper()
	testkit.NeedRoot(t)
	wish := hostview.ProcessStreamProc
	if tier == TierStream {
		testkit.NeedBPF(t)
		wish = hostview.ProcessStreamAuto
	}
	v, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: wish})
	require.NoError(t, err)
	t.Cleanup(v.Release)
	return v
}

// rig is a receiving socket with a resolver of one tier.
type rig struct {
	t    testing.TB
	r    *Resolver
	s    *Senders
	path string
	fd   int
}

func newRig(t testing.TB, tier Tier, client ClientMode) *rig {
	t.Helper()
	v := acquire(t, tier)
	r := Open(Options{View: v, Roots: hostfs.NewRoots("/"), Client: client, best: tier})
	t.Cleanup(r.Close)
	if tier == TierPIDFD && r.Tier() == TierProc {
		testkit.Lack(t, testkit.Feature{Name: "PIDFD_INFO_EXIT", MinKernel: "6.17"}, r.Check())
	}
	require.Equal(t, tier, r.Tier())
	s, err := r.Senders(Clock())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	path := filepath.Join(t.TempDir(), "s")
	fd, err := listen(path, r.WantPIDFD())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Close(fd)) })
	return &rig{t: t, r: r, s: s, path: path, fd: fd}
}

// drain resolves what is there, as the receiver does.
func (g *rig) drain(f func(d datagram, o *Origin)) int {
	g.t.Helper()
	at := Clock()
	list, err := receive(g.fd)
	require.NoError(g.t, err)
	if len(list) == 0 {
		g.s.Empty(at)
		return 0
	}
	g.s.Begin()
	for _, d := range list {
		f(d, g.s.Resolve(d.from))
		d.close()
	}
	return len(list)
}

// one receives exactly one datagram.
func (g *rig) one() *Origin {
	g.t.Helper()
	require.NoError(g.t, waitReadable(g.fd))
	var got *Origin
	require.Equal(g.t, 1, g.drain(func(_ datagram, o *Origin) { got = o }))
	return got
}

// settled waits for the answer.
func (g *rig) settled(o *Origin) *Origin {
	g.t.Helper()
	var final *Origin
	testkit.Eventually(g.t, testPatience, func() error {
		var ok bool
		if final, ok = g.r.Settle(o, false); !ok {
			return errNotYet
		}
		return nil
	})
	return final
}

// cgroupOf is a container's cgroup as Docker's cgroupfs driver makes it.
type cgroupOf struct {
	*testkit.Group
	id    string
	procs []string // its cgroup.procs in each hierarchy
}

func newContainer(t testing.TB) *cgroupOf {
	t.Helper()
	b := make([]byte, 32)
	_, err := rand.Read(b)
	require.NoError(t, err)
	c := &cgroupOf{id: hex.EncodeToString(b)}
	c.Group = testkit.Cgroup(t, "/tallyman-origin/"+c.id)
	for _, pattern := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup"} {
		found, err := filepath.Glob(pattern + c.Path() + "/cgroup.procs")
		require.NoError(t, err)
		c.procs = append(c.procs, found...)
	}
	require.NotEmpty(t, c.procs)
	return c
}

// life is what a child does: it enters a cgroup, sends and lives on a while.
type life struct {
	in     *cgroupOf // nil to stay
	socket string
	number int
	// before and after are how long it lives before and after it has sent.
	before, after time.Duration
	gate          int // read a byte from this descriptor first; 0 for none
}

// program turns a life into system calls. The descriptors are to be closed after
// fork; keep must live as long as the child may run.
func program(t testing.TB, l life) (calls []pidfd.Call, descriptors []int, keep [][]byte) {
	t.Helper()
	at := func(b []byte) uintptr {
		keep = append(keep, b)
		return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	}
	nap := func(d time.Duration) {
		if d > 0 {
			ts := binary.NativeEndian.AppendUint64(nil, uint64(d/time.Second))
			calls = append(calls, pidfd.Call{unix.SYS_NANOSLEEP, at(binary.NativeEndian.AppendUint64(ts, uint64(d%time.Second)))})
		}
	}
	if l.gate > 0 {
		calls = append(calls, pidfd.Call{unix.SYS_READ, uintptr(l.gate), at(make([]byte, 1)), 1})
	}
	if l.in != nil {
		zero := at([]byte("0"))
		for _, path := range l.in.procs {
			fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
			require.NoError(t, err)
			descriptors = append(descriptors, fd)
			calls = append(calls, pidfd.Call{unix.SYS_WRITE, uintptr(fd), zero, 1})
		}
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	descriptors = append(descriptors, fd)
	require.NoError(t, unix.Connect(fd, &unix.SockaddrUnix{Name: l.socket}))
	nap(l.before)
	text := binary.NativeEndian.AppendUint64(nil, uint64(l.number))
	calls = append(calls, pidfd.Call{unix.SYS_SENDTO, uintptr(fd), at(text), 8})
	nap(l.after)
	return calls, descriptors, keep
}

// start starts a child; waited waits for it.
func start(t testing.TB, l life) (pid int, waited func()) {
	t.Helper()
	calls, descriptors, keep := program(t, l)
	pid, err := pidfd.Fork(calls)
	for _, fd := range descriptors {
		require.NoError(t, unix.Close(fd))
	}
	require.NoError(t, err)
	return pid, func() {
		require.NoError(t, pidfd.Wait(pid))
		runtime.KeepAlive(keep)
	}
}

// startAs starts a child that has this number. Others that get it first, and
// children that get another one, never say anything.
func startAs(t testing.TB, pid int, l life) (waited func()) {
	t.Helper()
	gate := make([]int, 2)
	require.NoError(t, unix.Pipe2(gate, unix.O_CLOEXEC))
	defer func() {
		require.NoError(t, unix.Close(gate[0]))
		require.NoError(t, unix.Close(gate[1]))
	}()
	l.gate = gate[0]
	testkit.Eventually(t, testPatience, func() error {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			return errNotYet
		}
		require.NoError(t, os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0))
		var got int
		if got, waited = start(t, l); got != pid {
			require.NoError(t, unix.Kill(got, unix.SIGKILL))
			waited()
			return errNotYet
		}
		_, err := unix.Write(gate[1], []byte("x"))
		return err
	})
	return waited
}
