package doctor

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/pidfd"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// lookAtStatsd looks at a directory, and makes sure that nothing in it changes.
func lookAtStatsd(t *testing.T, dir string) Result {
	t.Helper()
	o := options()
	o.StatsdDir = dir
	before := listing(t, dir)
	r := named(t, o.checkStatsdSocket(t.Context()))
	require.Equal(t, before, listing(t, dir))
	return r
}

func listing(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Dir(dir), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		all = append(all, path+" "+info.Mode().String()+" "+info.ModTime().String())
		return nil
	})
	require.NoError(t, err)
	return all
}

// bind makes a socket with the permissions that the receiver gives it.
func bind(t *testing.T, kind int, dir string) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	path := filepath.Join(dir, statsdName)
	file := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { _ = file.Close() })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, os.Chmod(path, 0o722))
	return file
}

func TestStatsdSocket(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	missing := filepath.Join(t.TempDir(), "statsd", "below")
	r := lookAtStatsd(t, filepath.Dir(missing))
	require.Equal(t, Pass, r.Status, "%+v", r)
	require.Contains(t, r.Found, "is not there yet")

	dir := t.TempDir()
	r = lookAtStatsd(t, dir)
	require.Equal(t, Pass, r.Status, "%+v", r)
	require.Equal(t, dir+", no socket yet", r.Found)
	require.Contains(t, r.Meaning, "-v "+dir+":/var/run/datadog:ro")

	living := bind(t, unix.SOCK_DGRAM, dir)
	r = lookAtStatsd(t, dir)
	require.Equal(t, Pass, r.Status, "%+v", r)
	require.Contains(t, r.Found, "0722; somebody listens")
	_, _, err := unix.Recvfrom(int(living.Fd()), make([]byte, 1), unix.MSG_DONTWAIT)
	require.ErrorIs(t, err, unix.EAGAIN, "nothing was sent")

	require.NoError(t, living.Close())
	r = lookAtStatsd(t, dir)
	require.Equal(t, Pass, r.Status, "%+v", r)
	require.Contains(t, r.Found, "nobody listens")

	require.NoError(t, os.Chmod(dir, 0o777))
	r = lookAtStatsd(t, dir)
	require.Equal(t, Warn, r.Status, "%+v", r)
	require.Contains(t, r.Found, "every user may write to (0777)")
}

func TestStatsdSocketInTheWay(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := func(dir, found, errorText string) {
		t.Helper()
		r := lookAtStatsd(t, dir)
		require.Equal(t, Fail, r.Status, "%+v", r)
		require.Contains(t, r.Found, found)
		require.Contains(t, r.Error, errorText)
		require.Equal(t, noStatsdStart, r.Meaning)
	}
	file := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(file, statsdName), nil, 0o600))
	f(file, "is not a socket", "")
	stream := t.TempDir()
	require.NoError(t, unix.Listen(int(bind(t, unix.SOCK_STREAM, stream).Fd()), 1))
	f(stream, "another program's", "another type")
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	require.NoError(t, os.Mkdir(long, 0o700))
	f(long, "the kernel has room for 107", "")
	f("/proc/sys/missing", "is not there yet; /proc/sys; this process may not write there", "write to /proc/sys")
}

func TestStatsdSocketUnknown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	o := options()
	o.StatsdDir = filepath.Join(file, "below")
	require.Equal(t, Unknown, named(t, o.checkStatsdSocket(t.Context())).Status)
}

func TestJudgeStatsdPlace(t *testing.T) {
	f := func(p statsdPlace, want Status, found string) {
		t.Helper()
		p.dir, p.there = "/run/tallyman", "/run/tallyman"
		r := named(t, p.judge())
		require.Equal(t, want, r.Status, "%+v", r)
		require.Contains(t, r.Found, found)
	}
	socket := socketFile{path: "/run/tallyman/dsd.socket", owner: "root:root", mode: 0o722}
	f(statsdPlace{mode: 0o755, isInner: true}, Warn, "in this container's own file system")
	f(statsdPlace{mode: 0o755, hasSocket: true, socket: socket, refused: unix.EACCES}, Warn, "may not write")
	f(statsdPlace{mode: 0o755, hasSocket: true, socket: socket, refused: unix.EACCES, answer: unix.ECONNREFUSED}, Fail, "may not write")
	f(statsdPlace{mode: 0o755, hasSocket: true, socket: socket, answer: unix.EACCES}, Warn, "cannot be reached")
	f(statsdPlace{mode: 0o755, hasSocket: true, socket: socket}, Pass, "root:root 0722; somebody listens")
}

func TestJudgeQueue(t *testing.T) {
	f := func(host int, refused error, want Status, parts ...string) {
		t.Helper()
		r := named(t, judgeQueue(host, refused))
		require.Equal(t, want, r.Status, "%+v", r)
		for _, part := range parts {
			require.Contains(t, r.Found+"\n"+r.Remedy, part)
		}
	}
	f(10, nil, Pass, "as deep as configured")
	f(4096, unix.EPERM, Pass, "is 4096")
	f(10, unix.EPERM, Warn, "is 10", "CAP_SYS_ADMIN")
	f(4095, unix.EROFS, Warn, "is 4095", "systempaths=unconfined")
	f(10, unix.EACCES, Warn, "is 10", "CAP_NET_ADMIN")
}

// The host's own number stays, and so does this thread's namespace.
func TestStatsdQueue(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.VerifyNoLeaks(t)
	before, err := readQueueLimit()
	require.NoError(t, err)
	home, err := os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	for range 20 {
		require.Equal(t, Pass, named(t, checkStatsdQueue(t.Context())).Status)
	}
	after, err := readQueueLimit()
	require.NoError(t, err)
	require.Equal(t, before, after)
	testkit.Eventually(t, DefaultTimeout, func() error { return allThreadsIn(home) })
}

// allThreadsIn waits for the threads that have been elsewhere to end.
func allThreadsIn(home string) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		ns, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net")
		if err == nil && ns != home {
			return fmt.Errorf("thread %s is in %s, not in %s", task.Name(), ns, home)
		}
	}
	return nil
}

func TestJudgeSenders(t *testing.T) {
	const own = 4026532182
	host, mounted := hostfs.NewRoots("/"), hostfs.NewRoots("/hostfs")
	f := func(s senders, roots hostfs.Roots, want Status, found string) {
		t.Helper()
		r := named(t, s.judge(roots))
		require.Equal(t, want, r.Status, "%+v", r)
		require.Contains(t, r.Found, found)
	}
	f(senders{pidNamespace: hostPIDNamespace}, host, Pass, "process stream")
	f(senders{pidNamespace: hostPIDNamespace, noStream: true}, host, Pass, "pidfd")
	f(senders{pidNamespace: hostPIDNamespace, noStream: true, noPIDFD: hostfs.ErrNotSupported}, host, Warn, "by /proc")
	f(senders{pidNamespace: own}, host, Warn, "no number")
	f(senders{pidNamespace: own, procIsHosts: true}, mounted, Fail, "while /hostfs/proc shows the host's")
}

// What the programs' check found decides, whatever it is.
func TestSendersGoByTheStream(t *testing.T) {
	f := func(results []Result, want string) {
		t.Helper()
		r := named(t, options().checkSenders(func() []Result { return results })(t.Context()))
		require.Contains(t, r.Found, want)
	}
	if inode, err := ownNamespace("pid"); err != nil || inode != hostPIDNamespace {
		testkit.Lack(t, testkit.Feature{Name: "host pid namespace"}, fmt.Errorf("own one is %d: %w", inode, err))
	}
	all := map[string]error{}
	for _, p := range programs {
		all[p.name] = nil
	}
	f(judgePrograms(all, nil), "process stream")
	all["on_oom"] = errTest
	f(judgePrograms(all, nil), "process stream")
	without := "by process descriptors"
	if pidfd.Probe() != nil {
		without = "by /proc"
	}
	f(judgePrograms(nil, errTest), without)
	f([]Result{undecided("not tried", errTest)}, without)
	all["on_fork"] = errTest
	f(judgePrograms(all, nil), without)
}
