package cri_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// testImage is a static busybox and nothing else; sandboxes use it, too.
const (
	testRepository = "docker.io/tallyman-test/cri"
	testImage      = testRepository + ":1"
)

// daemon is a containerd of this test's own. It shares with another one the
// directory of the shims' sockets, whose names are hashes of its address.
type daemon struct {
	dir     string
	digest  string // testImage by its digest
	process *exec.Cmd
	conn    *grpc.ClientConn
	runtime runtimev1.RuntimeServiceClient
}

func (d *daemon) socket() string   { return filepath.Join(d.dir, "c.sock") }
func (d *daemon) endpoint() string { return "unix://" + d.socket() }

// newDaemon starts containerd and gives it the test image.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "containerd", "containerd-shim-runc-v2", "runc", "ctr", "busybox")
	// t.TempDir is too long for a socket below it.
	dir, err := os.MkdirTemp("", "tlycri")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{dir: dir}
	t.Cleanup(func() { d.remove(t) })
	d.configure(t)
	d.start(t)
	archive := filepath.Join(dir, "image.tar")
	text, digest := imageArchive(t)
	d.digest = testRepository + "@" + digest
	if err := os.WriteFile(archive, text, 0o600); err != nil {
		t.Fatal(err)
	}
	d.ctr(t, "images", "import", archive)
	// A pulled image has a name by digest, too; an imported one is given it.
	d.ctr(t, "images", "tag", testImage, d.digest)
	d.conn, err = grpc.NewClient(d.endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.conn.Close() })
	d.runtime = runtimev1.NewRuntimeServiceClient(d.conn)
	d.waitReady(t)
	return d
}

// configure makes containerd keep to its directory. The snapshotter "native"
// copies instead of mounting, which works on every file system. A score below
// this process's own needs CAP_SYS_RESOURCE, which root in a container lacks.
func (d *daemon) configure(t *testing.T) {
	t.Helper()
	text := fmt.Sprintf(`version = 2
root = "%[1]s/root"
state = "%[1]s/state"
[grpc]
  address = "%[1]s/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[2]s"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%[1]s/none"
    conf_dir = "%[1]s/none"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
`, d.dir, testImage)
	if err := os.WriteFile(filepath.Join(d.dir, "config.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (d *daemon) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.process = exec.Command("containerd", "--config", filepath.Join(d.dir, "config.toml"))
	d.process.Stdout, d.process.Stderr = log, log
	// If the test process is killed, containerd does not stay.
	d.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.process.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 60*time.Second, func() error {
		out, err := exec.Command("ctr", "-a", d.socket(), "version").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// waitReady waits until sandboxes can be made, which is later than the version
// can be asked.
func (d *daemon) waitReady(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, 60*time.Second, func() error {
		_, err := d.runtime.ListPodSandbox(t.Context(), &runtimev1.ListPodSandboxRequest{})
		return err
	})
	images := runtimev1.NewImageServiceClient(d.conn)
	testkit.Eventually(t, 60*time.Second, func() error {
		answer, err := images.ImageStatus(t.Context(), &runtimev1.ImageStatusRequest{
			Image: &runtimev1.ImageSpec{Image: testImage}})
		if err == nil && len(answer.GetImage().GetRepoDigests()) == 0 {
			err = fmt.Errorf("no image %s yet", d.digest)
		}
		return err
	})
}

// stop ends containerd; its containers go on.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	if err := d.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop containerd: %v", err)
	}
	_ = d.process.Wait() // how it ended does not matter
}

// remove takes away all that was made: sandboxes and their containers, the
// daemon, mounts, and the directory.
func (d *daemon) remove(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if t.Failed() {
		if text, err := os.ReadFile(filepath.Join(d.dir, "log")); err == nil {
			t.Logf("containerd's log ends with:\n%s", text[max(0, len(text)-6000):])
		}
	}
	conn, err := grpc.NewClient(d.endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		runtime := runtimev1.NewRuntimeServiceClient(conn)
		list, _ := runtime.ListPodSandbox(ctx, &runtimev1.ListPodSandboxRequest{})
		for _, sb := range list.GetItems() {
			_, errStop := runtime.StopPodSandbox(ctx, &runtimev1.StopPodSandboxRequest{PodSandboxId: sb.Id})
			_, errRemove := runtime.RemovePodSandbox(ctx, &runtimev1.RemovePodSandboxRequest{PodSandboxId: sb.Id})
			if errStop != nil || errRemove != nil {
				t.Errorf("remove sandbox %s: %v %v", sb.Id, errStop, errRemove)
			}
		}
		_ = conn.Close()
	}
	if d.process != nil && d.process.Process != nil {
		d.stop(t)
	}
	unmountBelow(t, d.dir)
	if err := os.RemoveAll(d.dir); err != nil {
		t.Error(err)
	}
	removeCgroups(d.cgroup())
}

// cgroup is the parent of the sandboxes' cgroups.
func (d *daemon) cgroup() string { return "/" + filepath.Base(d.dir) }

// removeCgroups removes the empty parent from each hierarchy.
func removeCgroups(parent string) {
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + parent)
	for _, dir := range append(dirs, "/sys/fs/cgroup"+parent) {
		_ = os.Remove(dir) // most hierarchies are another's, or have none
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

func (d *daemon) ctr(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"-a", d.socket(), "-n", "k8s.io"}, args...)
	if out, err := exec.Command("ctr", args...).CombinedOutput(); err != nil {
		t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// blob is a file of an image, named by its hash.
type blob struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	body        []byte
}

func newBlob(mediaType string, body []byte) blob {
	sum := sha256.Sum256(body)
	return blob{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: len(body), body: body}
}

// imageArchive is the test image as an OCI image layout in a tar stream, as
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md says,
// and the digest of its manifest.
func imageArchive(t *testing.T) (text []byte, digest string) {
	t.Helper()
	layer := newBlob("application/vnd.oci.image.layer.v1.tar", busyboxLayer(t))
	config := newBlob("application/vnd.oci.image.config.v1+json", mustJSON(t, map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{
			"Cmd":    []string{"/bin/busybox", "sleep", "100000"},
			"Labels": map[string]string{"org.opencontainers.image.revision": "1f2e3d"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}},
	}))
	manifest := newBlob("application/vnd.oci.image.manifest.v1+json", mustJSON(t, map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config, "layers": []blob{layer},
	}))
	// The annotation is containerd's way to name an image in an archive.
	manifest.Annotations = map[string]string{"io.containerd.image.name": testImage}
	index := mustJSON(t, map[string]any{"schemaVersion": 2, "manifests": []blob{manifest}})

	files := []tarFile{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
	}
	for _, b := range []blob{layer, config, manifest} {
		files = append(files, tarFile{"blobs/sha256/" + strings.TrimPrefix(b.Digest, "sha256:"), b.body})
	}
	return tarOf(t, files), manifest.Digest
}

func busyboxLayer(t *testing.T) []byte {
	t.Helper()
	file, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return tarOf(t, []tarFile{{"bin/busybox", program}})
}

type tarFile struct {
	name string
	body []byte
}

func tarOf(t *testing.T, files []tarFile) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
