package docker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// shortLivedEngine is an engine of one test's own, which may be killed.
type shortLivedEngine struct {
	t      *testing.T
	dir    string
	engine *testkit.Engine
}

// private returns an engine that is not started yet. At the end of the test
// nothing of it is left, however the test went.
func private(t *testing.T) *shortLivedEngine {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "dockerd", "ip")
	dir, err := os.MkdirTemp("", "dk")
	require.NoError(t, err)
	p := &shortLivedEngine{t: t, dir: dir}
	t.Cleanup(func() {
		if p.engine != nil {
			require.NoError(t, p.engine.Stop())
			p.sweep()
		}
		require.NoError(t, os.RemoveAll(dir))
	})
	return p
}

func (p *shortLivedEngine) start() *testkit.Engine {
	p.t.Helper()
	e, err := testkit.StartEngine(context.Background(), p.dir, p.t.Logf)
	require.NoError(p.t, err)
	p.engine = e
	return e
}

// exec is where the engine's processes have their sockets.
func (p *shortLivedEngine) exec() string {
	return filepath.Join(filepath.Dir(p.engine.Socket()), "exec/containerd")
}

// kill ends the engine by force. Its containers go on.
func (p *shortLivedEngine) kill() {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(p.engine.Socket()), "docker.pid"))
	require.NoError(p.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(p.t, err)
	killProcess(p.t, pid)
	// Its containerd dies with it. Where process 1 does not reap, the zombie
	// keeps the number in this file, and the next dockerd takes it for alive.
	require.NoError(p.t, os.Remove(filepath.Join(p.exec(), "containerd.pid")))
}

// shim is the process that keeps a container for containerd.
type shim struct {
	pid           int
	namespace, id string
}

// shims are those of this engine alone: they name its socket.
func (p *shortLivedEngine) shims() []shim {
	p.t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(p.t, err)
	var list []shim
	for _, file := range processes {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		args := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
		after := func(flag string) string {
			if at := slices.Index(args, flag); at >= 0 && at+1 < len(args) {
				return args[at+1]
			}
			return ""
		}
		if strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") && after("-address") == p.address() {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			require.NoError(p.t, err)
			list = append(list, shim{pid, after("-namespace"), after("-id")})
		}
	}
	return list
}

func (p *shortLivedEngine) address() string { return filepath.Join(p.exec(), "containerd.sock") }

// sweep ends what an engine leaves behind that was killed and did not come back:
// shims, the processes of its containers, and their cgroups.
func (p *shortLivedEngine) sweep() {
	p.t.Helper()
	for _, s := range p.shims() {
		killProcess(p.t, s.pid)
		// SocketAddress of containerd's runtime/v2/shim places it there.
		sum := sha256.Sum256([]byte(filepath.Join(p.address(), s.namespace, s.id)))
		_ = os.Remove(fmt.Sprintf("/run/containerd/s/%x", sum))
	}
	for _, cgroup := range p.cgroups() {
		text, err := os.ReadFile(filepath.Join(cgroup, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		require.NoError(p.t, err)
		for _, line := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(line)
			require.NoError(p.t, err)
			killProcess(p.t, pid)
		}
		testkit.Eventually(p.t, patience, func() error { // it is busy until all have ended
			if err := os.Remove(cgroup); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
	}
}

// cgroups are those of this engine's containers, which it has on its disk.
func (p *shortLivedEngine) cgroups() []string {
	p.t.Helper()
	containers, err := os.ReadDir(filepath.Join(p.dir, "data/containers"))
	require.NoError(p.t, err)
	var list []string
	for _, c := range containers {
		for _, pattern := range []string{"/sys/fs/cgroup/docker/", "/sys/fs/cgroup/*/docker/"} {
			found, err := filepath.Glob(pattern + c.Name())
			require.NoError(p.t, err)
			list = append(list, found...)
		}
	}
	return list
}

// killProcess ends one process by force and waits for its end. A zombie, which
// only its parent can remove, has ended.
func killProcess(t *testing.T, pid int) {
	t.Helper()
	process, err := os.FindProcess(pid) // holds on to this very process
	require.NoError(t, err)
	defer func() { _ = process.Release() }()
	if err := process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(t, err)
	}
	testkit.Eventually(t, patience, func() error {
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
			return fmt.Errorf("%w: process %d lives", errNotYet, pid)
		}
		return nil
	})
}
