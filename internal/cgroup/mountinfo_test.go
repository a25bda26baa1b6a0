package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMountinfo(t *testing.T) {
	f := func(text string, want ...mount) {
		t.Helper()
		got := parseMountinfo([]byte(text))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(mount{})); diff != "" {
			t.Errorf("parseMountinfo(%q): (-want +got)\n%s", text, diff)
		}
	}
	memory := mount{dir: "/sys/fs/cgroup/memory", root: "/", options: []string{"rw", "memory"}}
	unified := mount{dir: "/sys/fs/cgroup", root: "/", options: []string{"rw"}, unified: true}
	f("35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n", memory)
	f("35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory", memory) // last line cut at its end
	f("35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:1 propagate_from:2 - cgroup cgroup rw,memory\n", memory)
	f("31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n", unified)
	f("31 23 0:28 / /sys/fs/cgroup rw - cgroup2 none rw,nsdelegate,memory_localevents\n",
		mount{dir: "/sys/fs/cgroup", root: "/", options: []string{"rw", "nsdelegate", "memory_localevents"}, unified: true})
	f("33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n",
		mount{dir: "/sys/fs/cgroup/cpu,cpuacct", root: "/", options: []string{"rw", "cpu", "cpuacct"}})
	f("40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n",
		mount{dir: "/sys/fs/cgroup/systemd", root: "/", options: []string{"rw", "xattr", "name=systemd"}})
	f("511 510 0:32 /docker/4f6c /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
		mount{dir: "/sys/fs/cgroup/memory", root: "/docker/4f6c", options: []string{"rw", "memory"}})
	f("35 31 0:32 /a\\040b /m\\011n\\012o\\134p/ rw - cgroup cgroup rw,memory\n",
		mount{dir: "/m\tn\no\\p", root: "/a b", options: []string{"rw", "memory"}})
	f(`35 31 0:32 / /m\134040n rw - cgroup cgroup rw,memory`+"\n", // a backslash, and then digits
		mount{dir: `/m\040n`, root: "/", options: []string{"rw", "memory"}})
	f("22 27 0:21 / /proc rw,relatime - proc proc rw\n27 1 254:0 / /cgroup rw - ext4 /dev/vda rw\n"+
		"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", memory)

	f("")
	f("\n\n - \n")
	f("35 31 0:32 / /sys/fs/cgroup/memory rw,relatime cgroup cgroup rw,memory\n")
	f("35 31 0:32 / - cgroup cgroup rw,memory\n")
	f("35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup\n")
	f("35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup3 cgroup rw,memory\n")
}

func TestMountFile(t *testing.T) {
	f := func(root, cgroupPath, want string) {
		t.Helper()
		m := mount{dir: "/m", root: root}
		if got := m.file(cgroupPath, "pids.current"); got != want {
			t.Errorf("file of %s in a mount of %s = %q, want %q", cgroupPath, root, got, want)
		}
	}
	f("/", "/", "/m/pids.current")
	f("/", "/docker/4f6c", "/m/docker/4f6c/pids.current")
	f("/docker/4f6c", "/docker/4f6c", "/m/pids.current")
	f("/docker/4f6c", "/docker/4f6c/docker/b", "/m/docker/b/pids.current")
	f("/docker/4f6c", "/docker/4f6cd", "") // another container with a longer name
	f("/docker/4f6c", "/docker", "")
	f("/docker/4f6c", "/", "")
}

func TestWiderMount(t *testing.T) {
	host, own := &mount{dir: "/host", root: "/"}, &mount{dir: "/own", root: "/docker/4f6c"}
	f := func(a, b, want *mount) {
		t.Helper()
		if got := wider(wider(nil, a), b); got != want {
			t.Errorf("of %v and %v: %v", a, b, got)
		}
	}
	f(own, host, host)
	f(host, own, host)
	f(host, &mount{dir: "/second", root: "/"}, host)
}
