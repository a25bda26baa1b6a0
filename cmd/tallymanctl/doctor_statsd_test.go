package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/doctor"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// statsd runs doctor with a directory for custom metrics, of root and for all to
// enter.
func statsd(t *testing.T, attr *syscall.SysProcAttr) (out doctorOutput, dir string) {
	t.Helper()
	dir = filepath.Dir(program(t))
	cmd := outside(t, "doctor", "--json", "--state-dir", dir, "--statsd-dir", dir)
	cmd.SysProcAttr = attr
	out, _ = finish(t, cmd)
	return out, dir
}

func TestStatsdAsRoot(t *testing.T) {
	testkit.NeedBPF(t)
	out, dir := statsd(t, nil)
	socket := out.find(t, "statsd.socket")
	require.Equal(t, doctor.Pass, socket.Status, "%+v", socket)
	require.Equal(t, dir+", no socket yet", socket.Found)
	queue := out.find(t, "statsd.queue")
	require.Equal(t, doctor.Pass, queue.Status, "%+v", queue)
	require.Equal(t, "as deep as configured", queue.Found)
	senders := out.find(t, "statsd.senders")
	require.Equal(t, doctor.Pass, senders.Status, "%+v", senders)
	require.Contains(t, senders.Found, "process stream")
}

func TestStatsdAsNobody(t *testing.T) {
	testkit.NeedRoot(t) // to become nobody
	out, dir := statsd(t, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	socket := out.find(t, "statsd.socket")
	require.Equal(t, doctor.Fail, socket.Status, "%+v", socket)
	require.Contains(t, socket.Remedy, "install -d -o USER "+dir)
	queue := out.find(t, "statsd.queue")
	require.Equal(t, doctor.Warn, queue.Status, "%+v", queue)
	limit, err := os.ReadFile("/proc/sys/net/unix/max_dgram_qlen")
	require.NoError(t, err)
	require.Equal(t, "the host's: net.unix.max_dgram_qlen is "+strings.TrimSpace(string(limit)), queue.Found)
	require.Contains(t, queue.Remedy, "CAP_SYS_ADMIN")
	require.Contains(t, queue.Error, "operation not permitted")
	require.NotContains(t, out.find(t, "statsd.senders").Found, "process stream", "BPF is refused")
}

// A user other than root may make the namespace with CAP_SYS_ADMIN alone, but not
// write there.
func TestStatsdQueueOfAUser(t *testing.T) {
	testkit.NeedRoot(t)
	user := &syscall.Credential{Uid: 65534, Gid: 65534}
	out, _ := statsd(t, &syscall.SysProcAttr{Credential: user, AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN}})
	queue := out.find(t, "statsd.queue")
	require.Equal(t, doctor.Warn, queue.Status, "%+v", queue)
	require.Contains(t, queue.Remedy, "CAP_NET_ADMIN")
	require.Contains(t, queue.Error, "permission denied")
	out, _ = statsd(t, &syscall.SysProcAttr{Credential: user, AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}})
	require.Equal(t, doctor.Pass, out.find(t, "statsd.queue").Status, "%+v", out.Checks)
}

// Root without these capabilities: no process stream, and no deep queue.
func TestStatsdWithoutCapabilities(t *testing.T) {
	testkit.NeedBPF(t)
	dir := t.TempDir()
	cmd := outside(t, "doctor", "--json", "--state-dir", dir, "--statsd-dir", dir)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	withoutCapabilities(t, func() { _ = cmd.Run() }, unix.CAP_BPF, unix.CAP_SYS_ADMIN)
	out := parse(t, stdout.Bytes())
	require.Equal(t, doctor.Pass, out.find(t, "statsd.socket").Status)
	queue := out.find(t, "statsd.queue")
	require.Equal(t, doctor.Warn, queue.Status, "%+v", queue)
	require.Contains(t, queue.Error, "make network namespace: operation not permitted")
	senders := out.find(t, "statsd.senders")
	switch senders.Status {
	case doctor.Pass:
		require.Contains(t, senders.Found, "pidfd")
	case doctor.Warn: // a kernel that does not tell the cgroup of ended processes
		require.Contains(t, senders.Found, "/proc")
		require.NotEmpty(t, senders.Error)
	default:
		t.Errorf("%+v", senders)
	}
}

func TestStatsdInAPIDNamespace(t *testing.T) {
	testkit.NeedRoot(t)
	out, _ := statsd(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	senders := out.find(t, "statsd.senders")
	require.Equal(t, doctor.Fail, senders.Status, "%+v", senders)
	require.Contains(t, senders.Found, "while /proc shows the host's")
	require.Contains(t, senders.Remedy, "--pid host")
	require.Contains(t, senders.Meaning, "statsd.origin is none")
}

func TestStatsdInContainer(t *testing.T) {
	out := inContainer(t, "", func(*container.HostConfig) {})
	socket := out.find(t, "statsd.socket")
	require.Equal(t, doctor.Warn, socket.Status, "%+v", socket)
	require.Contains(t, socket.Found, "in this container's own file system")
	require.Contains(t, socket.Remedy, "-v /run/tallyman:/run/tallyman")
	require.Contains(t, out.find(t, "statsd.queue").Remedy, "CAP_SYS_ADMIN")
	require.Equal(t, doctor.Fail, out.find(t, "statsd.senders").Status)
}

// The remedies that are told do help.
func TestStatsdRemediesInContainer(t *testing.T) {
	dir := t.TempDir()
	var queues []doctor.Result
	for _, adjust := range []func(*container.HostConfig){
		func(h *container.HostConfig) { h.CapAdd = []string{"SYS_ADMIN"} },
		func(h *container.HostConfig) {
			h.CapAdd, h.ReadonlyPaths, h.MaskedPaths = []string{"SYS_ADMIN"}, []string{}, []string{}
		},
		func(h *container.HostConfig) { h.Sysctls = map[string]string{"net.unix.max_dgram_qlen": "4096"} },
	} {
		out := inContainer(t, "host", func(h *container.HostConfig) {
			h.Binds = append(h.Binds, dir+":/run/tallyman")
			adjust(h)
		})
		require.Equal(t, doctor.Pass, out.find(t, "statsd.socket").Status, "%+v", out.Checks)
		require.NotEqual(t, doctor.Fail, out.find(t, "statsd.senders").Status, "%+v", out.Checks)
		queues = append(queues, out.find(t, "statsd.queue"))
	}
	require.Equal(t, doctor.Warn, queues[0].Status, "%+v", queues[0])
	require.Contains(t, queues[0].Remedy, "systempaths=unconfined")
	require.Equal(t, doctor.Pass, queues[1].Status, "%+v", queues[1])
	require.Equal(t, "as deep as configured", queues[1].Found)
	require.Equal(t, doctor.Pass, queues[2].Status, "%+v", queues[2])
	require.Contains(t, queues[2].Found, "is 4096")
}

// Senders get the directory read-only: that is enough to reach the socket in it.
func TestStatsdReadOnlyInContainer(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "dsd.socket")
	agent, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	defer agent.Close()
	require.NoError(t, os.Chmod(path, 0o722))
	out := inContainer(t, "host", func(h *container.HostConfig) { h.Binds = append(h.Binds, dir+":/run/tallyman:ro") })
	socket := out.find(t, "statsd.socket")
	require.Equal(t, doctor.Warn, socket.Status, "%+v", socket)
	require.Contains(t, socket.Meaning, "Somebody takes custom metrics there")
	require.Contains(t, socket.Error, "read-only file system")
}
