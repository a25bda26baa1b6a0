package docs_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// nodeImage is the agent's image as scripts/image.sh makes it, with a busybox to look
// around with, and for the pods that are observed. pauseImage is the same and waits.
const (
	nodeImage  = "docker.io/tallyman-test/node:1"
	pauseImage = "docker.io/tallyman-test/pause:1"
)

// node is a containerd of this test's own, with what a node has for pods.
type node struct {
	dir     string
	process *exec.Cmd
	conn    *grpc.ClientConn
	runtime runtimev1.RuntimeServiceClient
	cgroups []string // parents of the pods' cgroups
}

func (n *node) path(parts ...string) string {
	return filepath.Join(append([]string{n.dir}, parts...)...)
}
func (n *node) socket() string { return n.path("run", "containerd.sock") }

func newNode(t *testing.T) *node {
	t.Helper()
	testkit.NeedBPF(t)
	testkit.NeedCommand(t, "containerd", "containerd-shim-runc-v2", "runc", "ctr", "busybox", "nsenter", "ip")
	dir, err := os.MkdirTemp("", "tlynode") // t.TempDir is too long for a socket below it
	require.NoError(t, err)
	n := &node{dir: dir}
	t.Cleanup(func() { n.remove(t) })
	for _, name := range []string{"run", "cni", "conf", "pods", "etc"} {
		require.NoError(t, os.Mkdir(n.path(name), 0o755))
	}
	n.configure(t)
	n.start(t)
	n.load(t)
	n.conn, err = grpc.NewClient("unix://"+n.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	n.runtime = runtimev1.NewRuntimeServiceClient(n.conn)
	testkit.Eventually(t, time.Minute, n.ready(t.Context()))
	return n
}

// plugin is a network without a way out: each pod has a namespace of its own, with a pair
// of interfaces in it (CNI 0.3.1, https://www.cni.dev/docs/spec/).
const plugin = `#!/bin/sh
cat >/dev/null
if [ "$CNI_COMMAND" = ADD ]; then
  nsenter --net="$CNI_NETNS" ip link set lo up
  [ "$CNI_IFNAME" = lo ] || {
    nsenter --net="$CNI_NETNS" ip link add "$CNI_IFNAME" type veth peer name peer0
    nsenter --net="$CNI_NETNS" ip addr add 10.111.0.2/24 dev "$CNI_IFNAME"
    nsenter --net="$CNI_NETNS" ip link set "$CNI_IFNAME" up
  }
  echo '{"cniVersion":"0.3.1","interfaces":[{"name":"'"$CNI_IFNAME"'","sandbox":"'"$CNI_NETNS"'"}],"ips":[{"version":"4","address":"10.111.0.2/24","interface":0}]}'
fi
`

// configure makes containerd keep to its directory. The snapshotter "native" copies
// instead of mounting, which works on every file system. A score below this process's own
// needs CAP_SYS_RESOURCE, which root in a container lacks.
func (n *node) configure(t *testing.T) {
	t.Helper()
	for _, name := range []string{"loopback", "plugin"} {
		require.NoError(t, os.WriteFile(n.path("cni", name), []byte(plugin), 0o755))
	}
	network := `{"cniVersion": "0.3.1", "name": "none", "plugins": [{"type": "plugin"}]}`
	require.NoError(t, os.WriteFile(n.path("conf", "10-none.conflist"), []byte(network), 0o644))
	text := fmt.Sprintf(`version = 2
root = "%[1]s/root"
state = "%[1]s/shims"
[grpc]
  address = "%[1]s/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[2]s"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%[1]s/cni"
    conf_dir = "%[1]s/conf"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
`, n.dir, pauseImage)
	require.NoError(t, os.WriteFile(n.path("config.toml"), []byte(text), 0o600))
}

func (n *node) start(t *testing.T) {
	t.Helper()
	log, err := os.Create(n.path("log"))
	require.NoError(t, err)
	defer log.Close()
	n.process = exec.Command("containerd", "--config", n.path("config.toml"))
	n.process.Stdout, n.process.Stderr = log, log
	// If the test process is killed, containerd does not stay.
	n.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, n.process.Start())
	testkit.Eventually(t, time.Minute, func() error {
		out, err := exec.Command("ctr", "-a", n.socket(), "version").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

var errNotReady = errors.New("containerd is not ready")

// ready is when image and network are known, which is later than the version.
func (n *node) ready(ctx context.Context) func() error {
	return func() error {
		status, err := n.runtime.Status(ctx, &runtimev1.StatusRequest{})
		if err != nil {
			return err
		}
		for _, c := range status.GetStatus().GetConditions() {
			if !c.Status {
				return fmt.Errorf("%w: %s: %s", errNotReady, c.Type, c.Message)
			}
		}
		images := runtimev1.NewImageServiceClient(n.conn)
		for _, name := range []string{nodeImage, pauseImage} {
			answer, err := images.ImageStatus(ctx, &runtimev1.ImageStatusRequest{Image: &runtimev1.ImageSpec{Image: name}})
			if err != nil || answer.GetImage() == nil {
				return errors.Join(err, errNotReady)
			}
		}
		return nil
	}
}

// load imports the images, as an archive of Docker's form: one layer, and files that say
// what is made of it.
func (n *node) load(t *testing.T) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	agent := os.Getenv(binaryEnv)
	files := map[string]string{"tallyman": agent, "tallymanctl": toolBeside(agent), "bin/busybox": busybox}
	for _, name := range []string{"otelcol-config.yaml", "otlp.yaml", "container.yaml"} {
		files["etc/tallyman/"+name] = imageFile(t, name)
	}
	writeTar(t, n.path("layer.tar"), files)
	archived := map[string]string{"layer.tar": n.path("layer.tar"), "manifest.json": n.path("manifest.json")}
	var images []string
	for name, config := range map[string]string{
		nodeImage:  `{"Entrypoint":["/tallyman"],"Env":[` + environmentJSON(t) + `]}`,
		pauseImage: `{"Entrypoint":["/bin/busybox","sleep","100000"]}`,
	} {
		file := fmt.Sprintf("config%d.json", len(images))
		text := `{"architecture":"` + runtime.GOARCH + `","os":"linux","config":` + config +
			`,"rootfs":{"type":"layers","diff_ids":["sha256:` + sumOf(t, n.path("layer.tar")) + `"]}}`
		require.NoError(t, os.WriteFile(n.path(file), []byte(text), 0o600))
		archived[file] = n.path(file)
		images = append(images, `{"Config":"`+file+`","RepoTags":["`+name+`"],"Layers":["layer.tar"]}`)
	}
	require.NoError(t, os.WriteFile(n.path("manifest.json"), []byte("["+strings.Join(images, ",")+"]"), 0o600))
	archive := n.path("image.tar")
	writeTar(t, archive, archived)
	out, err := exec.Command("ctr", "-a", n.socket(), "-n", "k8s.io", "images", "import", archive).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, errors.Join(os.Remove(archive), os.Remove(n.path("layer.tar"))))
}

func writeTar(t *testing.T, path string, files map[string]string) {
	t.Helper()
	out, err := os.Create(path)
	require.NoError(t, err)
	w := tar.NewWriter(out)
	for name, source := range files {
		file, err := os.Open(source)
		require.NoError(t, err)
		info, err := file.Stat()
		require.NoError(t, err)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: info.Size()}))
		_, err = io.Copy(w, file)
		require.NoError(t, errors.Join(err, file.Close()))
	}
	require.NoError(t, errors.Join(w.Close(), out.Close()))
}

// remove takes away all that was made: pods, the daemon, mounts, cgroups, the directory.
func (n *node) remove(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if text, err := os.ReadFile(n.path("log")); err == nil && t.Failed() {
		t.Logf("containerd's log ends with:\n%s", text[max(0, len(text)-4000):])
	}
	if n.runtime != nil {
		list, err := n.runtime.ListPodSandbox(ctx, &runtimev1.ListPodSandboxRequest{})
		for _, sandbox := range list.GetItems() {
			_, errStop := n.runtime.StopPodSandbox(ctx, &runtimev1.StopPodSandboxRequest{PodSandboxId: sandbox.Id})
			_, errRemove := n.runtime.RemovePodSandbox(ctx, &runtimev1.RemovePodSandboxRequest{PodSandboxId: sandbox.Id})
			err = errors.Join(err, errStop, errRemove)
		}
		if err = errors.Join(err, n.conn.Close()); err != nil {
			t.Errorf("remove pods: %v", err)
		}
	}
	if n.process != nil && n.process.Process != nil {
		_ = n.process.Process.Signal(syscall.SIGTERM)
		_ = n.process.Wait() // how it ended does not matter
	}
	unmountBelow(t, n.dir)
	if err := os.RemoveAll(n.dir); err != nil {
		t.Error(err)
	}
	for _, parent := range n.cgroups {
		removeCgroups(parent)
	}
}

// removeCgroups removes an empty parent and, if that is empty then, the one above it.
func removeCgroups(parent string) {
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + parent)
	for _, dir := range append(dirs, "/sys/fs/cgroup"+parent) {
		_ = os.Remove(dir) // most hierarchies are another's, or have none
		_ = os.Remove(filepath.Dir(dir))
	}
}

func unmountBelow(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
		return
	}
	lines := strings.Split(string(text), "\n")
	slices.Reverse(lines) // the latest mount first
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			if err := unix.Unmount(fields[1], unix.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", fields[1], err)
			}
		}
	}
}
