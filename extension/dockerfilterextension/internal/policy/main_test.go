package policy

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// helperMode makes this test binary a client or a server: it is static, so it
// runs in containers too, and is the same Go code as the tests.
const helperMode = "TALLYMAN_POLICY_HELPER"

func TestMain(m *testing.M) {
	mode := os.Getenv(helperMode)
	if mode == "" {
		testkit.Main(m)
		return
	}
	if err := help(mode, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "helper:", err)
		os.Exit(1)
	}
}

func help(mode, socket string) error {
	switch mode {
	case "connect":
		return connectAndStay(socket, func() {})
	case "leaderless":
		// The main goroutine is on the first thread; the system call ends
		// that thread alone.
		runtime.LockOSThread()
		return connectAndStay(socket, func() { _, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) })
	case "die":
		_, err := net.Dial("unix", socket)
		return err
	case "serve":
		return serveOne(socket)
	case "serve-own-proc":
		if err := mountProc(); err != nil {
			return err
		}
		return serveOne(socket)
	}
	return fmt.Errorf("unknown mode %q", mode)
}

// connectAndStay lives until the server closes the connection.
func connectAndStay(socket string, then func()) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		os.Exit(0)
	}()
	then()
	select {}
}

func mountProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	return nil
}

type served struct {
	Identity Identity
	Check    string
}

// serveOne identifies one client and prints who it is.
func serveOne(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	i := NewIdentifier()
	result := served{Identity: i.Identify(conn.(*net.UnixConn))}
	if err := i.Check(); err != nil {
		result.Check = err.Error()
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// rig is a listening socket in a folder of its own, with the helper beside it.
type rig struct {
	dir, socket, helper string
	listener            *net.UnixListener
}

// newRig makes both usable for every user, and from within containers.
func newRig(t testing.TB) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "policy-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	r := &rig{dir: dir, socket: filepath.Join(dir, "s"), helper: filepath.Join(dir, "helper")}
	self, err := os.Executable()
	require.NoError(t, err)
	program, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(r.helper, program, 0o755))
	r.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: r.socket, Net: "unix"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.listener.Close()) })
	require.NoError(t, os.Chmod(r.socket, 0o777))
	return r
}

// accept waits for the next client.
func (r *rig) accept(t testing.TB) *net.UnixConn {
	t.Helper()
	require.NoError(t, r.listener.SetDeadline(deadline()))
	conn, err := r.listener.AcceptUnix()
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// start runs the helper on the host; it is gone at the end of the test.
func (r *rig) start(t testing.TB, mode string, attr *syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(r.helper, r.socket)
	cmd.Env = []string{helperMode + "=" + mode}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// spec runs the helper in a container.
func (r *rig) spec(mode string) testkit.ContainerSpec {
	return testkit.ContainerSpec{
		Cmd:         []string{r.helper, r.socket},
		Env:         []string{helperMode + "=" + mode},
		Binds:       []string{r.dir + ":" + r.dir},
		NetworkMode: "none",
	}
}
