package docker

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// podmanConfig keeps locks and networks in a directory of the test's own.
// Podman raises limits up to the host's, which not every root may.
const podmanConfig = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
lock_type = "file"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_config_dir = "%s/net"
`

// podman serves Docker's API for one test, on images and containers of its own.
type podman struct {
	t       *testing.T
	dir     string
	service *exec.Cmd
	log     bytes.Buffer
}

func newPodman(t *testing.T) *podman {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "podman", "conmon", "runc")
	dir, err := os.MkdirTemp("", "pm")
	require.NoError(t, err)
	p := &podman{t: t, dir: dir}
	require.NoError(t, os.WriteFile(p.path("containers.conf"), fmt.Appendf(nil, podmanConfig, dir), 0o600))
	t.Cleanup(func() {
		p.stop()
		out, err := p.command("rm", "--all", "--force", "--time", "0").CombinedOutput()
		require.NoError(t, err, string(out))
		removeEmptyCgroups("/sys/fs/cgroup/*/libpod_parent")
		removeEmptyCgroups("/sys/fs/cgroup/libpod_parent")
		require.NoError(t, os.RemoveAll(dir))
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	return p
}

func (p *podman) path(name string) string { return filepath.Join(p.dir, name) }

func (p *podman) host() string { return "unix://" + p.path("podman.sock") }

func (p *podman) command(args ...string) *exec.Cmd {
	cmd := exec.Command("podman", append([]string{
		"--root", p.path("root"), "--runroot", p.path("run"), "--tmpdir", p.path("tmp"), "--storage-driver", "vfs", "--runtime", "runc",
	}, args...)...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+p.path("containers.conf"))
	return cmd
}

// start serves the socket and returns the engine behind it.
func (p *podman) start() *testkit.Engine {
	p.t.Helper()
	p.service = p.command("system", "service", "--time", "0", p.host())
	p.service.Stdout, p.service.Stderr = &p.log, &p.log
	require.NoError(p.t, p.service.Start())
	p.t.Setenv(client.EnvOverrideHost, p.host())
	var e *testkit.Engine
	testkit.Eventually(p.t, patience, func() (err error) {
		e, err = testkit.FindEngine(p.t.Context())
		return err
	})
	return e
}

// stop ends the service; containers go on. It may be called twice.
func (p *podman) stop() {
	if p.service == nil {
		return
	}
	_ = p.service.Process.Signal(syscall.SIGTERM)
	_ = p.service.Wait() // which tells of the signal
	p.service = nil
	_ = os.Remove(p.path("podman.sock"))
}

// removeEmptyCgroups removes what a pattern finds and what is below it. What is
// not empty stays.
func removeEmptyCgroups(pattern string) {
	roots, _ := filepath.Glob(pattern)
	for _, root := range roots {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append([]string{path}, dirs...)
			}
			return nil
		})
		for _, dir := range dirs {
			_ = syscall.Rmdir(dir)
		}
	}
}

func TestPodman(t *testing.T) {
	p := newPodman(t)
	e := p.start()
	ctx := context.Background()
	r := newTape()
	w, _ := watch(t, WatcherOptions{Endpoint: p.host(), Images: true}, r)
	r.waitFor(t, "synced", 1)
	require.Equal(t, "podman", r.engine.Runtime)
	require.NotEmpty(t, r.engine.Version)
	spec := testkit.ContainerSpec{Name: "one", NetworkMode: "none", Labels: map[string]string{"who": "me"}}
	spec.Cmd = []string{"sh", "-c", "while [ ! -e /end ]; do sleep 0.1; done; exit 7"}
	one := create(t, e, spec)
	spec.Name = "two"
	two := create(t, e, spec)
	r.waitFor(t, "start "+one, 1)
	r.waitFor(t, "start "+two, 1)
	told := r.last(one)
	require.Equal(t, []string{"one", "sh", "me", "none", "running"},
		[]string{told.Name, told.Command, told.Labels["who"], told.NetworkMode, told.State.Status})

	image := "docker.io/" + testkit.Busybox // as Podman completes it
	require.Equal(t, []string{image, image}, append([]string{told.ImageRef}, told.ImageTags...))
	require.Len(t, told.ImageDigests, 1)

	_, err := e.Client().ContainerRename(ctx, one, client.ContainerRenameOptions{NewName: "new"})
	require.NoError(t, err)
	r.waitFor(t, "rename "+one, 1)
	end := func(c string) {
		out, err := p.command("exec", c, "touch", "/end").CombinedOutput()
		require.NoError(t, err, string(out))
	}
	end(one)
	r.waitFor(t, "die "+one, 1)

	p.stop() // and two ends while nobody serves the socket
	r.waitFor(t, "disconnected", 1)
	end(two)
	testkit.Eventually(t, patience, func() error {
		out, err := p.command("inspect", "--format", "{{.State.Status}}", two).CombinedOutput()
		if err != nil || string(out) != "exited\n" {
			return fmt.Errorf("%w: %v %s", errNotYet, err, out)
		}
		return nil
	})
	e = p.start()
	ready := time.Now()
	r.waitFor(t, "synced", 2)
	require.Less(t, time.Since(ready), atOnce)
	r.waitFor(t, "die "+two, 1)
	for _, c := range []string{one, two} {
		_, err := e.Client().ContainerRemove(ctx, c, client.ContainerRemoveOptions{})
		require.NoError(t, err)
		r.waitFor(t, "gone "+c, 1)
	}
	for _, c := range []string{one, two} {
		for _, event := range r.of(c) {
			require.False(t, event.Recovered, "Podman remembers all: %+v", event)
			if event.Action == actionDie {
				require.Equal(t, 7, *event.ExitCode)
			}
		}
	}
	require.Equal(t, []string{"create", "start", "rename", "die", "destroy"}, r.actions(one))
	require.Equal(t, []string{"create", "start", "die", "destroy"}, r.actions(two))
	require.Equal(t, "new", r.last(one).Name)
	t.Logf("%+v", w.Stats())
}
