package sockdiag_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const patience = time.Minute

// A container has a cgroup, a namespace and processes of its own.
func TestContainer(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedUnified(t)
	testkit.NeedCommand(t, "unshare", "env")
	group := testkit.Cgroup(t, "sockdiag")
	for network, address := range map[string]string{"tcp4": "0.0.0.0:4711", "tcp6": "[::]:4712"} {
		own, err := os.Executable()
		require.NoError(t, err)
		cmd := testkit.Run(t, group, "unshare", "-n", "env", serverEnv+"="+network+" "+address, own)
		path := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
		testkit.Eventually(t, patience, func() error {
			// It is unshare(1) first, and has a namespace of its own after that.
			line, err := os.ReadFile(path + "cmdline")
			if err == nil && string(line) != own+"\x00" {
				err = fmt.Errorf("still %q", line)
			}
			return err
		})
		ns := namespaceOf(t, path+"ns/net")
		all := &sockdiag.Sockets{}
		testkit.Eventually(t, patience, func() error {
			all, err = sockdiag.Dump(ns, sockdiag.Options{ListenersOnly: true})
			if err == nil && len(all.Listeners) == 0 {
				err = fmt.Errorf("nobody listens: %+v", all)
			}
			return err
		})
		require.Len(t, all.Listeners, 1)
		l := all.Listeners[0]
		require.Equal(t, address, l.Local.String())
		require.Equal(t, network == "tcp6", l.V6Only)
		require.Equal(t, unifiedID(t, cmd.Process.Pid), l.Cgroup)
		require.NotEqual(t, unifiedID(t, os.Getpid()), l.Cgroup, "it is not ours")

		info, err := ns.Stat()
		require.NoError(t, err)
		found := sockdiag.Owners(sockdiag.Search{Proc: "/proc", Namespace: inodeOf(info)}, map[uint64]struct{}{l.Inode: {}})
		require.Equal(t, map[uint64]int{l.Inode: cmd.Process.Pid}, found.Pids)
		require.Less(t, found.Descriptors, 50, "of that namespace's processes only")
	}
}

// A namespace whose processes have gone has no sockets as long as it is held, and
// what is no namespace is never taken for the caller's own.
func TestVanishedNamespace(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare")
	cmd := exec.Command("unshare", "-n", "sleep", "600")
	require.NoError(t, cmd.Start())
	path := filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid))
	testkit.Eventually(t, patience, func() error {
		line, err := os.ReadFile(path + "/cmdline")
		if err == nil && !strings.HasPrefix(string(line), "sleep") {
			err = fmt.Errorf("still %q", line)
		}
		return err
	})
	ns, err := os.Open(path + "/ns/net")
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	listen(t, "tcp", "127.0.0.1:0") // ours, which is not in there
	all, err := sockdiag.Dump(ns, sockdiag.Options{})
	require.NoError(t, err)
	require.Empty(t, all.Listeners)
	require.Empty(t, all.Conns)
	require.NoError(t, ns.Close())
	_, err = sockdiag.Dump(ns, sockdiag.Options{})
	require.ErrorContains(t, err, "open sock_diag socket")

	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	_, err = sockdiag.Dump(file, sockdiag.Options{})
	require.ErrorIs(t, err, unix.EINVAL)
}

// Who has no capabilities sees the sockets of his own namespace, and is told why
// he does not see those of another.
func TestWithoutCapabilities(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedRoot(t)
	own, err := os.Executable()
	require.NoError(t, err)
	// The test's own folder may not be entered by others.
	program := filepath.Join(t.TempDir(), "asker")
	text, err := os.ReadFile(own)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, text, 0o755))
	for dir := filepath.Dir(program); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), plainEnv+"=127.0.0.1:0")
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{namespaceOf(t, "/proc/self/ns/net")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	require.NoError(t, err)
	lines := strings.Split(string(out), "\n")
	require.Equal(t, "true; open sock_diag socket: setns: "+unix.EPERM.Error()+" (another namespace needs CAP_SYS_ADMIN)", lines[0])
	require.Equal(t, "true", lines[1], "the descriptors of others are not his to see, and that is counted")
}

// Three thousand sockets come whole, each once, in a namespace with nothing else.
func TestManySockets(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	const pairs = 1500
	testkit.InNewNetns(t, func() error {
		if err := testkit.Up("lo"); err != nil {
			return err
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		l, ends, err := crowd("[::]:0", pairs)
		defer func() {
			for _, c := range ends {
				_ = c.Close()
			}
		}()
		if err != nil {
			return err
		}
		defer l.Close()
		found := make(chan error, 1)
		go func() { found <- findAll(ns, l, ends) }()
		return <-found
	})
}

// crowd makes connections of both families to one listener, in the namespace of
// the calling thread.
func crowd(address string, pairs int) (net.Listener, []net.Conn, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	port := strconv.Itoa(int(addrPort(l.Addr()).Port()))
	var ends []net.Conn
	for i := range pairs {
		host := []string{"127.0.0.1", "::1"}[i%2]
		client, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			return l, ends, err
		}
		ends = append(ends, client)
		server, err := l.Accept()
		if err != nil {
			return l, ends, err
		}
		ends = append(ends, server)
	}
	return l, ends, nil
}

func findAll(ns *os.File, l net.Listener, ends []net.Conn) error {
	all, err := sockdiag.Dump(ns, sockdiag.Options{})
	if err != nil {
		return err
	}
	if len(all.Listeners) != 1 || len(all.Conns) != len(ends) || all.Malformed+all.Dropped != 0 {
		return fmt.Errorf("%d listeners, %d connections, %d malformed, %d dropped of %d",
			len(all.Listeners), len(all.Conns), all.Malformed, all.Dropped, len(ends))
	}
	type tuple struct{ local, remote netip.AddrPort }
	seen := map[tuple]bool{}
	incoming := 0
	for i := range all.Conns {
		c := &all.Conns[i]
		seen[tuple{c.Local, c.Remote}] = true
		if c.Incoming {
			incoming++
		}
	}
	if incoming != len(ends)/2 {
		return fmt.Errorf("%d are incoming of %d", incoming, len(ends))
	}
	for _, c := range ends {
		if !seen[tuple{addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())}] {
			return fmt.Errorf("%v to %v is missing", c.LocalAddr(), c.RemoteAddr())
		}
	}
	for _, most := range []int{1, 2, 100, len(ends), len(ends) + 1} {
		if err := findSome(ns, most, len(ends)); err != nil {
			return fmt.Errorf("with a limit of %d: %w", most, err)
		}
	}
	return nil
}

// findSome: what is kept and what is left out are all, the listener is among the
// first, and the direction of each connection is right.
func findSome(ns *os.File, most, ends int) error {
	some, err := sockdiag.Dump(ns, sockdiag.Options{MaxSockets: most})
	if err != nil {
		return err
	}
	if len(some.Listeners) != 1 || len(some.Conns) != most-1 || some.Dropped != ends+1-most {
		return fmt.Errorf("%d listeners, %d connections, %d dropped", len(some.Listeners), len(some.Conns), some.Dropped)
	}
	for i := range some.Conns {
		c := &some.Conns[i]
		if c.Incoming != (c.Local.Port() == some.Listeners[0].Local.Port()) {
			return fmt.Errorf("%+v has the wrong direction", c)
		}
	}
	return nil
}
