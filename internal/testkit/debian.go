package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// ErrNoPackages says that this host's apt does not bring Debian's packages.
var ErrNoPackages = errors.New("no packages from apt-get (a Debian or Ubuntu with its sources, and the network for the first time)")

// packagesWithin bounds a first download on a slow line: 120 MB in ten minutes are
// 200 kB in each second.
const packagesWithin = 10 * time.Minute

// Debian returns the name of an image of Debian packages, as [Engine.DebianImage]
// makes it. A host that cannot have them skips the test.
func (e *Engine) Debian(t testing.TB, packages ...string) string {
	t.Helper()
	NeedCommand(t, "apt-get", "dpkg-deb", "busybox")
	image, err := e.DebianImage(t.Context(), packages...)
	if errors.Is(err, ErrNoPackages) {
		Lack(t, Feature{Name: "Debian packages"}, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// DebianImage makes sure that the engine has an image of Debian packages with all
// that they depend on, and returns its name. The packages are this host's release's
// and are unpacked, not installed: nothing of the host changes, and no script of
// theirs runs, so a program's folders and configuration are for the container's
// command to make. Beside them there are the shell and the tools of a static busybox,
// and the users that Debian's daemons run as.
//
// The root file system is kept below .cache of the repository until a package has a
// newer version. The first time takes seconds per 10 MB and needs the network (the
// error is ErrNoPackages); from then on a second is for asking apt whether the versions
// are the same, and the rest for the import into an engine that is new.
func (e *Engine) DebianImage(ctx context.Context, packages ...string) (string, error) {
	cache, err := repositoryCache("debian")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, packagesWithin)
	defer cancel()
	root, err := (&apt{dir: cache}).root(ctx, packages)
	if err != nil {
		return "", fmt.Errorf("make image of %s: %w", strings.Join(packages, ", "), err)
	}
	image := "tallyman-test/debian:" + strings.TrimSuffix(filepath.Base(root), filepath.Ext(root))
	_, err = e.api.ImageInspect(ctx, image)
	if err == nil {
		return image, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("look for image %s: %w", image, err)
	}
	layer, err := os.Open(root)
	if err != nil {
		return "", fmt.Errorf("import image %s: %w", image, err)
	}
	defer layer.Close()
	return image, e.importImage(ctx, image, layer)
}

// NginxSpec is a container with Debian's nginx, which serves its status page at
// /status of port 80. Name, labels and all else are the caller's to add.
func (e *Engine) NginxSpec(t testing.TB) ContainerSpec {
	t.Helper()
	const script = `cat >/tmp/nginx.conf <<-END
		daemon off;
		error_log stderr;
		pid /tmp/nginx.pid;
		events {}
		http {
			access_log off;
			server {
				listen 80;
				location = /status { stub_status; }
			}
		}
	END
	exec nginx -c /tmp/nginx.conf`
	return ContainerSpec{Image: e.Debian(t, "nginx"), Cmd: []string{"sh", "-c", script}}
}

// ExporterSpec is a container with Debian's node exporter, which serves metrics in
// the format of Prometheus at /metrics of port 9100: a few of its own (go_*,
// process_*) and node_time_seconds, which grows by one in each second.
func (e *Engine) ExporterSpec(t testing.TB) ContainerSpec {
	t.Helper()
	return ContainerSpec{Image: e.Debian(t, "prometheus-node-exporter"), Cmd: []string{
		"prometheus-node-exporter", "--collector.disable-defaults", "--collector.time",
	}}
}

var errNoRepository = errors.New("no go.mod here or above")

// repositoryCache makes a folder of what tests keep, below that of the outermost
// module: some tests have one of their own within it.
func repositoryCache(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find repository: %w", err)
	}
	root := ""
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			root = dir
		}
		above := filepath.Dir(dir)
		if above == dir {
			break
		}
		dir = above
	}
	if root == "" {
		return "", fmt.Errorf("find repository: %w", errNoRepository)
	}
	cache := filepath.Join(root, ".cache", name)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make cache folder: %w", err)
	}
	return cache, nil
}
