package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// looked is what the four checks have found, by name.
type looked map[string]Result

func lookAtConnections(t *testing.T, roots hostfs.Roots) looked {
	t.Helper()
	o := Options{Roots: roots}
	// BPF programs do not depend on where the host's processes are looked for.
	c := o.connections(options().tryPrograms)
	all := looked{}
	for name, look := range map[string]func(context.Context) Result{
		"stream": c.checkStream, "nat": c.checkNAT, "table": c.checkTable, "lookup": c.checkLookup,
	} {
		all[name] = named(t, look(t.Context()))
	}
	return all
}

// onModernKernel is for what the checks say of a kernel that lacks nothing.
func onModernKernel(t *testing.T) {
	t.Helper()
	testkit.NeedBPF(t)
	types, err := readKernelTypes(typesDir)
	require.NoError(t, err)
	if !types.hasAnswers() {
		testkit.Lack(t, testkit.Feature{Name: "tracepoints of send and receive", MinKernel: "6.3"}, errNoResult)
	}
	if !types.hasLookup() {
		testkit.Lack(t, testkit.Feature{Name: lookupFunction}, errNoLookup)
	}
}

func TestConnectionsAsRoot(t *testing.T) {
	onModernKernel(t)
	testkit.VerifyNoLeaks(t)
	all := lookAtConnections(t, hostfs.NewRoots("/"))
	for name, r := range all {
		require.Equal(t, Pass, r.Status, "%s: %+v", name, r)
	}
	require.Contains(t, all["stream"].Found, "with response times")
	require.Contains(t, all["nat"].Found, "pull")
	require.NoError(t, askConntrack(home{isOwn: true}), "what root needs only without BPF")
}

const (
	rightsEnv = "TALLYMAN_TEST_RIGHTS"
	result    = "RESULT "
)

// What a plain user is told with one capability and without another: this test, run
// again as one.
func TestConnectionsByRights(t *testing.T) {
	if os.Getenv(rightsEnv) != "" {
		text, err := json.Marshal(lookAtConnections(t, hostfs.NewRoots("/")))
		require.NoError(t, err)
		fmt.Println(result + string(text))
		return
	}
	onModernKernel(t)
	if isOwn, err := isAtHome(hostfs.NewRoots("/")); err != nil || !isOwn {
		testkit.Lack(t, testkit.Feature{Name: "host network namespace"}, errElsewhere)
	}
	const bpf, perfmon, net, sys = unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN
	// Of the stream, of NAT and of what is open.
	type statuses [3]Status
	f := func(want statuses, natFound string, caps ...uintptr) {
		t.Helper()
		all := asNobody(t, caps)
		require.Equal(t, want, statuses{all["stream"].Status, all["nat"].Status, all["lookup"].Status}, "%+v", all)
		require.Contains(t, all["nat"].Found, natFound)
		require.Equal(t, Pass, all["table"].Status, "%+v", all["table"])
		if want[0] == Warn {
			require.Contains(t, all["stream"].Remedy, "CAP_BPF")
		}
		if want[2] == Warn {
			require.Contains(t, all["lookup"].Error, "setns: operation not permitted")
		}
	}
	f(statuses{Warn, Warn, Warn}, "cannot be asked")
	f(statuses{Warn, Pass, Warn}, "ctnetlink", net)
	f(statuses{Pass, Warn, Warn}, "cannot be asked", bpf, perfmon)
	f(statuses{Pass, Pass, Warn}, "pull", bpf, perfmon, net)
	f(statuses{Pass, Pass, Pass}, "pull", sys)
}

func asNobody(t *testing.T, caps []uintptr) (all looked) {
	t.Helper()
	var stdout bytes.Buffer
	cmd := exec.Command(forAll(t), "-test.run=^TestConnectionsByRights$")
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", &stdout, &stdout
	cmd.Env = append(os.Environ(), rightsEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: caps}
	require.NoError(t, cmd.Run(), "%s", &stdout)
	for line := range strings.Lines(stdout.String()) {
		if text, ok := strings.CutPrefix(line, result); ok {
			require.NoError(t, json.Unmarshal([]byte(text), &all))
			return all
		}
	}
	t.Fatalf("no result in %s", &stdout)
	return nil
}

// forAll copies the test binary to where every user may run it.
func forAll(t *testing.T) string {
	t.Helper()
	binary, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "tallyman-doctor-") // t.TempDir is not for others
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "test")
	require.NoError(t, os.WriteFile(path, binary, 0o755))
	return path
}

const listenEnv = "TALLYMAN_TEST_LISTEN"

// The host is another network namespace, as for an agent in a container: of one with
// two listeners and no connections.
func TestConnectionsFromAnotherNamespace(t *testing.T) {
	if os.Getenv(listenEnv) != "" {
		for range 2 {
			l, err := net.Listen("tcp4", "0.0.0.0:0")
			require.NoError(t, err)
			defer l.Close()
		}
		fmt.Println(result)
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test has ended
		return
	}
	onModernKernel(t)
	roots := seenFromElsewhere(t, startElsewhere(t))
	testkit.VerifyNoLeaks(t)
	all := lookAtConnections(t, roots)
	for name, r := range all {
		require.Equal(t, Pass, r.Status, "%s: %+v", name, r)
	}
	require.Contains(t, all["table"].Found, "0 of ")
	require.Contains(t, all["lookup"].Found, "2 listen")
	require.Contains(t, all["nat"].Found, "pull")
	host, err := openHome(roots)
	require.NoError(t, err)
	defer host.file.Close()
	require.False(t, host.isOwn)
	require.NoError(t, askConntrack(host))
}

// startElsewhere returns the pid of a process in a network namespace of its own.
func startElsewhere(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestConnectionsFromAnotherNamespace$")
	cmd.Env = append(os.Environ(), listenEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, stdin.Close())
		_, _ = io.Copy(io.Discard, stdout)
		require.NoError(t, cmd.Wait())
	})
	first := make([]byte, len(result))
	_, err = io.ReadFull(stdout, first)
	require.NoError(t, err)
	require.Equal(t, result, string(first))
	return cmd.Process.Pid
}

// seenFromElsewhere is a root whose process 1 is that process.
func seenFromElsewhere(t *testing.T, pid int) hostfs.Roots {
	t.Helper()
	roots := hostfs.NewRoots(t.TempDir())
	require.NoError(t, os.Mkdir(roots.Proc, 0o700))
	require.NoError(t, os.Symlink(filepath.Join("/proc", strconv.Itoa(pid)), filepath.Join(roots.Proc, "1")))
	require.NoError(t, os.Symlink("/proc/sys", filepath.Join(roots.Proc, "sys")))
	return roots
}
