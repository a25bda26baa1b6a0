package transport_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// orderEnv makes the test binary another process: what it does is in order.
const orderEnv = "TALLYMAN_TRANSPORT_ORDER"

// nobody is a user without any rights.
const nobody = 65534

// patience is ample for anything that is waited for.
const patience = 30 * time.Second

// order is what another process does.
type order struct {
	Role string
	Path string
	// Count datagrams of Size bytes, one every Every; -1 is without an end.
	Count, Size int
	Every       time.Duration
}

func TestMain(m *testing.M) {
	text := os.Getenv(orderEnv)
	if text == "" {
		testkit.Main(m)
	}
	var o order
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = obey(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func obey(o order) error {
	switch o.Role {
	case "send":
		return sendAll(o)
	case "report":
		return tellReport(o)
	case "receive":
		return receiveLife(o)
	}
	return fmt.Errorf("no role %q", o.Role)
}

// sendAll sends with a socket that waits, and tells how many went out.
func sendAll(o order) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: o.Path}); err != nil {
		return err
	}
	payload := bytes.Repeat([]byte{'x'}, o.Size)
	begin := time.Now()
	tick := time.NewTicker(max(o.Every, time.Millisecond))
	defer tick.Stop()
	for n := 0; n != o.Count; n++ {
		// A late sender makes up for it, so that the rate is what was ordered.
		for o.Every > 0 && time.Since(begin) < time.Duration(n)*o.Every {
			<-tick.C
		}
		err := unix.Send(fd, payload, 0)
		for err == unix.EINTR {
			err = unix.Send(fd, payload, 0)
		}
		if err != nil {
			return fmt.Errorf("after %d datagrams: %w", n, err)
		}
	}
	fmt.Print(o.Count)
	return nil
}

// tellReport opens a socket and prints what came of it.
func tellReport(o order) error {
	s, err := transport.ListenUnix(transport.UnixOptions{Path: o.Path})
	if err != nil {
		fmt.Print(err)
		return nil
	}
	fmt.Printf("depth %d: %v", s.Report().Depth, s.Report().Shallow)
	return s.Close()
}

// process returns a command that follows the order, not started.
func process(t testing.TB, o order) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(o)
	require.NoError(t, err)
	// The link can be followed also by users who may not see the binary's folder.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), orderEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	return cmd
}

// asNobody makes a command run without rights.
func asNobody(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// output runs a command and returns what it prints.
func output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// room returns a short path in a folder of its own that everybody can enter.
func room(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "uds")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir + "/statsd.sock"
}

func listen(t testing.TB, o transport.UnixOptions) *transport.Socket {
	t.Helper()
	s, err := transport.ListenUnix(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func dial(t testing.TB, network, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix(network, nil, &net.UnixAddr{Name: path, Net: network})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func write(t testing.TB, conn net.Conn, payload string) {
	t.Helper()
	_, err := conn.Write([]byte(payload))
	require.NoError(t, err)
}

// reader makes a Reader of what takes datagrams.
type reader func([]transport.Datagram)

func (reader) Ask()                          {}
func (r reader) Take(d []transport.Datagram) { r(d) }
func (reader) Drained()                      {}
