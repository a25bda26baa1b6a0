package container_test

import (
	"bufio"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
)

const (
	idA  = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	idB  = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
	idC  = "2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"
	uid1 = "8712f785-1a3e-41ec-a00b-e2dcc77431cb"
	uid2 = "11112222-3333-4444-5555-666677778888"
	und1 = "8712f785_1a3e_41ec_a00b_e2dcc77431cb"
	und2 = "11112222_3333_4444_5555_666677778888"
	task = "e358efa489f58062f10dd7316b65649e"
)

// vector is one row of testdata/cgroup-paths.tsv.
type vector struct{ n, path, class, runtime, id, podUID, note string }

func vectors(tb testing.TB) []vector {
	tb.Helper()
	f, err := os.Open("testdata/cgroup-paths.tsv")
	require.NoError(tb, err)
	defer func() { _ = f.Close() }()
	var all []vector
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		c := strings.Split(lines.Text(), "\t")
		require.Len(tb, c, 7)
		for i := range c {
			if c[i] == "-" {
				c[i] = ""
			}
		}
		all = append(all, vector{c[0], c[1], c[2], c[3], c[4], c[5], c[6]})
	}
	require.Greater(tb, len(all), 70)
	return all
}

func firstGroup(pattern, s string) string {
	m := regexp.MustCompile(pattern).FindStringSubmatch(s)
	if m == nil {
		return ""
	}
	return m[1]
}

func TestParsePathVectors(t *testing.T) {
	for _, v := range vectors(t) {
		want := container.Identity{
			Runtime: v.runtime, ID: v.id, PodUID: v.podUID,
			ParentID: firstGroup(`(?:^|\s)parent=(\S+)`, v.note),
			TaskID:   firstGroup(`task(?:=| id as uuid )([0-9a-f-]+)`, v.note),
			Deleted:  strings.Contains(v.note, "deleted=true"),
			Relative: strings.HasPrefix(v.path, "/../"),
		}
		if want.Runtime == "unknown" {
			want.Runtime = ""
		}
		var err error
		want.Class, err = container.ParseClass(v.class)
		require.NoError(t, err)
		if strings.Contains(v.note, "only with a containerd hint") {
			want = container.Identity{} // the text alone has no hint
		}
		got := container.ParsePath(v.path)
		if want.Class == container.ClassService {
			if s := firstGroup(`service=(\S+)`, v.note); s != "" && got.Service != s {
				t.Errorf("row %s: service %q, want %q", v.n, got.Service, s)
			}
		}
		got.Root, got.Inner, got.Service = "", "", ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("row %s %s (-want +got):\n%s", v.n, v.path, diff)
		}
	}
}

// Whole results, for forms that follow from the rules and are no vector.
func TestParsePath(t *testing.T) {
	f := func(path string, want container.Identity) {
		t.Helper()
		if diff := cmp.Diff(want, container.ParsePath(path)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	docker := func(root, inner, id, parent string) container.Identity {
		return container.Identity{Class: container.ClassContainer, Runtime: "docker",
			ID: id, ParentID: parent, Root: root, Inner: inner}
	}
	// Cleaning, flags.
	f("//docker/./x/../"+idA+"/", docker("/docker/"+idA, "", idA, ""))
	f("/docker/"+idA+"/init (deleted)", func() container.Identity {
		id := docker("/docker/"+idA, "init", idA, "")
		id.Deleted = true
		return id
	}())
	f("/../../docker/"+idA, func() container.Identity {
		id := docker("/../../docker/"+idA, "", idA, "")
		id.Relative = true
		return id
	}())
	// Three levels: the parent is the nearest one.
	f("/docker/"+idA+"/docker/"+idB+"/x/docker/"+idC+"/y/z",
		docker("/docker/"+idA+"/docker/"+idB+"/x/docker/"+idC, "y/z", idC, idB))
	// What is inside falls through, traps included.
	f("/docker/"+idA+"/system.slice/var-"+idB+".mount", docker("/docker/"+idA, "system.slice/var-"+idB+".mount", idA, ""))
	f("/docker/"+idA+"/syscont-cgroup-root/init.scope", docker("/docker/"+idA, "syscont-cgroup-root/init.scope", idA, ""))
	f("/system.slice/foo:docker:"+idA, docker("/system.slice/foo:docker:"+idA, "", idA, ""))
	// A pod's directory in a kind node.
	pod := "/docker/" + idA + "/kubelet.slice/kubelet-kubepods-pod" + und1 + ".slice"
	f(pod, container.Identity{Class: container.ClassPod, PodUID: uid1, ParentID: idA, Root: pod})
	f("/kubepods/burstable/pod"+uid1+"/x", container.Identity{Class: container.ClassPod, PodUID: uid1,
		Root: "/kubepods/burstable/pod" + uid1, Inner: "x"})
	svc := "/system.slice/system-serial\\x2dgetty.slice/serial\\x2dgetty@ttyS0.service"
	f(svc+"/a/b", container.Identity{Class: container.ClassService, Runtime: "systemd",
		Service: "serial-getty@ttyS0.service", Root: svc, Inner: "a/b"})
	f("/system.slice", container.Identity{Class: container.ClassSlice, Root: "/system.slice"})
	f("/system.slice/x", container.Identity{Class: container.ClassHost, Root: "/system.slice/x"})
	f("/", container.Identity{Root: "/"})
	f("", container.Identity{Root: "/"})
	f("/..", container.Identity{Root: "/..", Relative: true})
	f("/../x.service", container.Identity{Class: container.ClassService, Runtime: "systemd",
		Service: "x.service", Root: "/../x.service", Relative: true})
}

// short is an identity as "class runtime id pod=uid parent=id task=id".
func short(id container.Identity) string {
	s := id.Class.String() + " " + id.Runtime + " " + id.ID
	for _, kv := range [][2]string{{"pod", id.PodUID}, {"parent", id.ParentID}, {"task", id.TaskID}} {
		if kv[1] != "" {
			s += " " + kv[0] + "=" + kv[1]
		}
	}
	return s
}

func TestParsePathForms(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		if got := short(container.ParsePath(path)); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	pods := "/kubepods.slice/kubepods-pod" + und1 + ".slice/"
	f("/nerdctl-"+idA+".scope", "container containerd "+idA)
	f("/x.slice/crio-"+idA, "sandbox cri-o "+idA)
	f("/kubepods/pod"+uid1+"/crio-"+idA, "container cri-o "+idA+" pod="+uid1)
	f("/x/libpod-conmon-"+idA, "monitor podman ")
	f("/libpod_parent/conmon", "monitor podman ")
	f("/libpod_parent/"+idA, "pod podman ")
	f("/machine.slice/machine-libpod_pod_"+idA+".slice", "pod podman ")
	f("/lxc.monitor.web1", "monitor lxc ")
	f("/lxc.payload/web1/init.scope", "container lxc web1")
	f("/lxc/web1/lxc/web2", "container lxc web2 parent=web1")
	f("/lxc/foo.service", "service systemd ")
	f("/machine.slice/systemd-nspawn@my\\x2dbox.service", "container nspawn my-box")
	f("/machine.slice/systemd-nspawn@web.service/payload/supervisor", "container nspawn web")
	f("/machine.slice/machine-qemu\\x2d12\\x2dmy\\x2dvm.scope", "vm libvirt my-vm")
	f("/machine.slice/machine-qemu\\x2duser\\x2d3\\x2dvm.scope", "vm libvirt vm")
	f("/machine.slice/machine-lxc\\x2d7\\x2dbox.scope", "container libvirt box")
	f("/machine.slice/machine-lxc\\x2dbox.scope", "container nspawn lxc-box")
	f("/nomad.slice/share.slice/"+uid1+".web.api.scope", "container nomad "+uid1+".web.api")
	f("/other.slice/"+uid1+".web.scope", "host  ")
	f("/ecs/c/"+task+"/x/"+idA, "container docker "+idA+" task="+task)
	f("/ecstasks.slice/ecstasks-"+task+".slice/docker-"+idA+".scope/docker/"+idB,
		"container docker "+idB+" parent="+idA+" task="+task)
	f("/"+task+"/"+idA, "container  "+idA)
	f("/ecs/c/"+task+"-", "host  ")
	f("/buildkit/n4eu0udvbz9vfzjy71jkvgkw", "host  ")
	f("/n4eu0udvbz9vfzjy71jkvgkwh", "host  ")
	// Pod uids: nested pods, malformed ones.
	f(pods+"cri-containerd-"+idA+".scope/kubepods/pod"+uid2+"/"+idB, "container  "+idB+" pod="+uid2+" parent="+idA)
	f(pods+"cri-containerd-"+idA+".scope/docker/"+idB, "container docker "+idB+" pod="+uid1+" parent="+idA)
	f("/docker/"+idA+"/pod"+uid1+"x/init", "container docker "+idA)
	f("/docker/"+idA+"/docker/pod"+uid1, "pod   pod="+uid1+" parent="+idA)
	f("/kubepods.slice/kubepods-burstable-podnope.slice/docker-"+idA+".scope", "container docker "+idA)
	f(pods+"docker-"+idA+".scope/kubepods-podnope.slice/docker-"+idB+".scope", "container docker "+idB+" parent="+idA)
	f("/kubepods/burstable/pod"+uid1[:35]+"/"+idA, "container  "+idA)
	f("/my-kubepods-burstable-pod"+und2+".slice:crio:"+idA, "container cri-o "+idA+" pod="+uid2)
	f("/mykubepods-pod"+und2+".slice", "slice  ")
	// Near misses.
	f("/docker/"+strings.ToUpper(idA), "host  ")
	f("/docker/"+idA[:63], "host  ")
	f("/docker/"+idA[:63]+"g", "host  ")
	f("/system.slice/docker-"+idA+".service", "service systemd ")
	f("/system.slice/docker-"+idA+".scope.scope", "host  ")
	f("/system.slice/xdocker-"+idA+".scope", "host  ")
	f("/system.slice/docker-"+idA+"0.scope", "host  ")
	f("/system.slice/run-"+task+".scope", "host  ")
	f("/x:docker:"+idA+"0", "host  ")
	f("/x:unheard:"+idA, "host  ")
	f("/k8s.io/nginx", "unknown  ")
}

func TestParseProcCgroup(t *testing.T) {
	kind := "/kubelet.slice/kubelet-kubepods-pod" + und1 + ".slice/cri-containerd-" + idB + ".scope"
	f := func(content, want string, wantOK bool) {
		t.Helper()
		id, ok := container.ParseProcCgroup([]byte(content))
		if got := short(id); got != want || ok != wantOK {
			t.Errorf("%q:\n got %q %v\nwant %q %v", content, got, ok, want, wantOK)
		}
	}
	lines := func(l ...string) string { return strings.Join(l, "\n") + "\n" }
	isA, isB := "container docker "+idA, "container containerd "+idB+" pod="+uid1+" parent="+idA
	// v1 and hybrid.
	f(lines("8:pids:/docker/"+idA, "4:memory:/docker/"+idA, "1:name=systemd:/docker/"+idA, "0::/docker/"+idA), isA, true)
	// An old kind in docker: deepest over all lines, in any order.
	f(lines("4:memory:/docker/"+idA, "1:cpu,cpuacct:/docker/"+idA, "0::/docker/"+idA+kind), isB, true)
	f(lines("0::/docker/"+idA+kind, "4:memory:/docker/"+idA), isB, true)
	// An unrelated unified line.
	f(lines("0::/system.slice/containerd.service", "4:memory:/docker/"+idA), isA, true)
	f(lines("4:memory:/docker/"+idA, "0::/system.slice/containerd.service"), isA, true)
	// Only cpu.
	f(lines("9:pids:/", "4:memory:/", "1:cpu:/kubepods/burstable/pod"+uid1+"/"+idA, "0::/"),
		"container  "+idA+" pod="+uid1, true)
	// Blanks, garbage.
	f("garbage\n  13:name=systemd:/docker/"+idA+"  \r\n\n12:x\n:::\nx::/docker/"+idB+"\n", isA, true)
	f("1:name=systemd:relative/docker/"+idA+"\n", "unknown  ", false)
	// Relative and own view, a zombie, nothing at all.
	f("0::/../docker-"+idA+".scope\n", isA, true)
	f("0::/\n", "unknown  ", false)
	f("4:memory:/\n0::/\n", "unknown  ", false)
	f("", "unknown  ", false)
	// As many containers on each line: memory, pids, others, systemd, unified.
	rank := []string{"0::", "5:name=systemd:", "1:cpu:", "3:pids:", "4:hugetlb,memory:"}
	for i := 1; i < len(rank); i++ {
		for j := range i {
			f(lines(rank[j]+"/docker/"+idB, rank[i]+"/docker/"+idA), isA, true)
			f(lines(rank[i]+"/docker/"+idA, rank[j]+"/docker/"+idB), isA, true)
		}
	}
	// A slice of a controller says less than systemd's own line.
	f(lines("4:memory:/system.slice", "1:name=systemd:/system.slice/x.service"), "service systemd ", true)
	// Colons in the path.
	f("4:memory:/kubepods-pod"+und1+".slice:cri-containerd:"+idA+"\n", "container containerd "+idA+" pod="+uid1, true)
	f("0::/docker/"+idA+" (deleted)\n", isA, true)
}

func TestClassNames(t *testing.T) {
	for c := container.ClassUnknown; c <= container.ClassVM; c++ {
		got, err := container.ParseClass(c.String())
		if err != nil || got != c {
			t.Errorf("ParseClass(%q) = %v, %v", c.String(), got, err)
		}
	}
	for _, s := range []string{"", "Container", "class(10)"} {
		if _, err := container.ParseClass(s); err == nil {
			t.Errorf("ParseClass(%q): no error", s)
		}
	}
	if s := (container.ClassVM + 1).String(); s != "class(10)" {
		t.Errorf("String of an undefined class: %q", s)
	}
}

func TestParsePathAllocates(t *testing.T) {
	for _, v := range vectors(t) {
		if strings.ContainsAny(v.path, `\_`) || strings.Contains(v.path, "/..") {
			continue // has to be cleaned, unescaped, or given its dashes
		}
		if n := testing.AllocsPerRun(10, func() { container.ParsePath(v.path) }); n != 0 {
			t.Errorf("%s: %v allocations", v.path, n)
		}
	}
}
