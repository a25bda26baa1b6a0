package testkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	mountsHybrid = `22 27 0:21 / /proc rw,relatime - proc proc rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,xattr,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
99 31 0:32 / /mnt/again rw,relatime - cgroup cgroup rw,xattr,memory
`
	mountsV2 = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
)

func TestParseMountinfo(t *testing.T) {
	f := func(text string, want hierarchies, layout Layout) {
		t.Helper()
		got := parseMountinfo([]byte(text))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(hierarchy{})); diff != "" {
			t.Errorf("hierarchies (-want +got):\n%s", diff)
		}
		if got.layout() != layout {
			t.Errorf("layout is %s, want %s", got.layout(), layout)
		}
	}
	f(mountsHybrid, hierarchies{
		{mount: "/sys/fs/cgroup/cpu,cpuacct", controllers: []string{"cpu", "cpuacct"}},
		{mount: "/sys/fs/cgroup/memory", controllers: []string{"memory"}},
		{mount: "/sys/fs/cgroup/systemd", controllers: []string{"name=systemd"}},
		{mount: "/sys/fs/cgroup/unified", unified: true},
	}, LayoutHybrid)
	f(mountsV2, hierarchies{{mount: "/sys/fs/cgroup", unified: true}}, LayoutV2)
	f("35 31 0:32 / /a\\040b rw - cgroup cgroup rw,pids\n", hierarchies{
		{mount: "/a b", controllers: []string{"pids"}},
	}, LayoutV1)
}

func TestFindHierarchy(t *testing.T) {
	v2 := hierarchies{{mount: "/c", unified: true, controllers: []string{"cpu", "io", "memory"}}}
	hybrid := parseMountinfo([]byte(mountsHybrid))
	f := func(tree hierarchies, controller, want string) {
		t.Helper()
		got, err := tree.find(controller)
		if err != nil || got.mount != want {
			t.Errorf("find(%q) = %q, %v, want %q", controller, got.mount, err, want)
		}
	}
	f(v2, "", "/c")
	f(v2, "blkio", "/c")
	f(v2, "cpuacct", "/c")
	f(hybrid, "", "/sys/fs/cgroup/unified")
	f(hybrid, "cpuacct", "/sys/fs/cgroup/cpu,cpuacct")
	if got, err := hybrid.find("rdma"); err == nil {
		t.Errorf("find(rdma) = %+v, want an error", got)
	}
}

// Whatever is mounted, a hierarchy has a place, and none is listed twice.
func FuzzParseMountinfo(f *testing.F) {
	f.Add(mountsHybrid)
	f.Add(mountsV2)
	f.Add("35 31 0:32 / /x rw - cgroup cgroup rw,name=\n - \n")
	f.Fuzz(func(t *testing.T, text string) {
		tree := parseMountinfo([]byte(text))
		if len(tree) > strings.Count(text, "cgroup") {
			t.Errorf("%d hierarchies from %d mentions", len(tree), strings.Count(text, "cgroup"))
		}
		for i, h := range tree {
			if h.mount == "" || h.unified && h.controllers != nil || tree[:i].has(h) {
				t.Errorf("hierarchy %d is %+v", i, h)
			}
		}
	})
}

func TestParseRelease(t *testing.T) {
	f := func(release string, want int) {
		t.Helper()
		if got, err := parseRelease(release); err != nil || got != want {
			t.Errorf("parseRelease(%q) = %d, %v, want %d", release, got, err, want)
		}
	}
	f("6.18.44-fc-v657", 6018)
	f("5.4", 5004)
	f("5.10-rc1+", 5010)
	for _, bad := range []string{"", "6", "x.1", "6.x", "-1.2", "6.1000"} {
		if got, err := parseRelease(bad); err == nil {
			t.Errorf("parseRelease(%q) = %d, want an error", bad, got)
		}
	}
}

// A release that parses starts with its own number, and sorts by it.
func FuzzParseRelease(f *testing.F) {
	f.Add("6.18.44-fc-v657")
	f.Add("5.10-rc1+")
	f.Add("65535.999")
	f.Fuzz(func(t *testing.T, release string) {
		n, err := parseRelease(release)
		if err == nil && (n < 0 || n%1000 > 999 || n/1000 > 65535 || !strings.Contains(release, ".")) {
			t.Errorf("parseRelease(%q) = %d", release, n)
		}
	})
}

func TestEngineGivesUpOneThingAtATime(t *testing.T) {
	all := engineOptions{storage: "overlay2", iptables: true}
	f := func(o engineOptions, log string, want engineOptions, again bool) {
		t.Helper()
		if got, ok := o.less(log); got != want || ok != again {
			t.Errorf("%+v.less(%q) = %+v, %v", o, log, got, ok)
		}
	}
	f(all, "failed to create NAT chain DOCKER: iptables not found", engineOptions{storage: "overlay2"}, true)
	f(all, "error initializing graphdriver: overlay2 is not supported", engineOptions{storage: "vfs", iptables: true}, true)
	f(engineOptions{storage: "vfs"}, "iptables and graphdriver", engineOptions{storage: "vfs"}, false)
	f(all, "no space left on device", all, false)
}

// The watchdog must end an engine that nobody uses, and only then.
func TestSharedEngineEndsWithItsLastUser(t *testing.T) {
	NeedRoot(t)
	NeedCommand(t, "dockerd", "ip", "flock")
	VerifyNoLeaks(t)
	dir := t.TempDir()
	s := share{grace: 0, logf: t.Logf}
	first, release, err := shareEngine(t.Context(), dir, s)
	if err != nil {
		t.Fatal(err)
	}
	second, releaseSecond, err := shareEngine(t.Context(), dir, s)
	if err != nil {
		t.Fatal(err)
	}
	if first.Socket() != second.Socket() {
		t.Errorf("two users have the engines %s and %s", first.Socket(), second.Socket())
	}
	release()
	if _, err := dialEngine(t.Context(), second.Socket()); err != nil {
		t.Errorf("after the first user left: %v", err)
	}
	releaseSecond()
	d, err := newDaemon(filepath.Join(dir, "engine"))
	if err != nil {
		t.Fatal(err)
	}
	Eventually(t, stopWithin, func() error { return missing(d.dir, d.run) })
	if d.alive() {
		t.Error("dockerd runs on")
	}
}

var errStillThere = errors.New("still there")

func missing(paths ...string) error {
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, errors.Join(errStillThere, err))
		}
	}
	return nil
}
