package testkit

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Debian's nginx answers from a container, and making its image again costs next to
// nothing.
func TestDebian(t *testing.T) {
	engine := Docker(t)
	begun := time.Now()
	spec := engine.NginxSpec(t)
	first := time.Since(begun)
	begun = time.Now()
	if again := engine.Debian(t, "nginx"); again != spec.Image {
		t.Errorf("image %s, again %s", spec.Image, again)
	}
	t.Logf("image after %v, again after %v", first, time.Since(begun))
	checkPage(t, engine.RunContainer(t, spec), ":80/status", "Active connections: 1 \n")
	checkPage(t, engine.RunContainer(t, engine.ExporterSpec(t)), ":9100/metrics", "\nnode_time_seconds ")
}

func checkPage(t *testing.T, c *Container, at, want string) {
	t.Helper()
	info, err := c.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + info.NetworkSettings.Networks["bridge"].IPAddress.String() + at
	// A server that has just been started, on a machine with other things to do.
	Eventually(t, 30*time.Second, func() error {
		page, err := ask.Get(url)
		if err != nil {
			return err
		}
		defer page.Body.Close()
		body, err := io.ReadAll(page.Body)
		if err == nil && !strings.Contains(string(body), want) {
			err = fmt.Errorf("%s: %s", page.Status, body)
		}
		return err
	})
}

// Without a network the error says what is missing, and nothing is kept.
func TestDebianWithoutNetwork(t *testing.T) {
	NeedCommand(t, "apt-get", "dpkg-deb")
	// Nobody listens there, and apt asks nobody else.
	for _, name := range []string{"http_proxy", "https_proxy"} {
		t.Setenv(name, "http://127.0.0.1:9")
	}
	dir := t.TempDir()
	file, err := (&apt{dir: dir}).root(t.Context(), []string{"memcached"})
	if !errors.Is(err, ErrNoPackages) || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("%q, error %v", file, err)
	}
	for _, pattern := range []string{"*.tar", "work", "lists"} {
		if left, _ := filepath.Glob(filepath.Join(dir, pattern)); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestPlaceInRoot(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := placeInRoot(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	f("./", "")
	f("./usr/", "usr")
	f("./lib/", "")
	f("./lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6")
	f("./lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2")
	f("./bin", "")
	f("./sbin/ldconfig", "usr/sbin/ldconfig")
	f("./library/x", "library/x")
	f("../../etc/passwd", "etc/passwd")
	f("./etc/.pwd.lock", "etc/.pwd.lock")
}

func TestIsUnneeded(t *testing.T) {
	f := func(name string, want bool) {
		t.Helper()
		if got := isUnneeded(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	f("usr/share/doc/nginx/copyright", true)
	f("usr/lib/postgresql/15/lib/bitcode/postgres/a.bc", true)
	f("usr/share/doc", false)
	f("usr/share/zoneinfo/UTC", false)
	f("usr/bin/redis-server", false)
}

// The cache is the main module's, also for a test of a module within it.
func TestRepositoryCache(t *testing.T) {
	outer := t.TempDir()
	inner := filepath.Join(outer, "test", "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{outer, inner} {
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(inner)
	if got, err := repositoryCache("x"); got != filepath.Join(outer, ".cache", "x") {
		t.Errorf("%q, error %v", got, err)
	}
}
