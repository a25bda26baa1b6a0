package container_test

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/tallymanhq/tallyman/internal/container"
)

var (
	hex64    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	podUIDRE = regexp.MustCompile(`^([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)
	hexOnly  = map[string]bool{"docker": true, "containerd": true, "cri-o": true, "podman": true, "": true}
	hasID    = map[container.Class]bool{container.ClassContainer: true, container.ClassSandbox: true,
		container.ClassBuild: true, container.ClassVM: true}
)

func checkIdentity(t *testing.T, p string, id container.Identity) {
	t.Helper()
	clean := "/"
	if rest := path.Clean(strings.TrimLeft(trimDeleted(p), "/")); rest != "." {
		clean = "/" + rest
	}
	if whole := strings.TrimRight(id.Root+"/"+id.Inner, "/"); whole != strings.TrimSuffix(clean, "/") {
		t.Errorf("%q: root %q and inner %q are not %q", p, id.Root, id.Inner, clean)
	}
	if (id.ID != "") != hasID[id.Class] {
		t.Errorf("%q: class %v with id %q", p, id.Class, id.ID)
	}
	if id.ID != "" && hexOnly[id.Runtime] && !hex64.MatchString(id.ID) {
		t.Errorf("%q: runtime %q with id %q", p, id.Runtime, id.ID)
	}
	if id.PodUID != "" && !podUIDRE.MatchString(id.PodUID) {
		t.Errorf("%q: pod uid %q", p, id.PodUID)
	}
	if (id.Service != "") != (id.Class == container.ClassService) {
		t.Errorf("%q: class %v with service %q", p, id.Class, id.Service)
	}
	if id.Class.String() == "" || strings.HasPrefix(id.Class.String(), "class(") {
		t.Errorf("%q: undefined class %d", p, id.Class)
	}
}

func trimDeleted(p string) string {
	for strings.HasSuffix(p, " (deleted)") {
		p = strings.TrimSuffix(p, " (deleted)")
	}
	return p
}

func FuzzParsePath(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.path)
	}
	f.Add("/../../x/..")
	f.Add("a//b/./ (deleted) (deleted)")
	f.Fuzz(func(t *testing.T, p string) {
		id := container.ParsePath(p)
		checkIdentity(t, p, id)

		// Root is the thing itself: all but Inner and the flag is found again.
		again := id
		again.Inner, again.Deleted = "", false
		if got := container.ParsePath(id.Root); got != again && !strings.HasSuffix(id.Root, " (deleted)") {
			t.Errorf("%q: root parses as %+v, want %+v", p, got, again)
		}
		deleted := id
		deleted.Deleted = true
		if got := container.ParsePath(p + " (deleted)"); got != deleted {
			t.Errorf("%q (deleted): %+v, want %+v", p, got, deleted)
		}
		// Whatever comes below something with an id and is no container of its
		// own belongs to it.
		if hasID[id.Class] {
			if got := container.ParsePath(id.Root + "/init.scope"); got.ID != id.ID || got.Root != id.Root {
				t.Errorf("%q: init.scope inside is %+v", p, got)
			}
		}
	})
}

func FuzzParseProcCgroup(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte("4:memory:" + v.path + "\n1:name=systemd:/\n0::/system.slice/x.service\n"))
	}
	f.Add([]byte("  13:name=systemd:/a:b  \r\n::\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		id, ok := container.ParseProcCgroup(content)
		if ok != (id.Class != container.ClassUnknown) {
			t.Errorf("%q: %v with %+v", content, ok, id)
		}
		if id.Root != "" {
			checkIdentity(t, strings.TrimRight(id.Root+"/"+id.Inner, "/"), id)
		}
		// A line that says nothing changes nothing.
		more, okMore := container.ParseProcCgroup(append([]byte("nonsense\n"), content...))
		if more != id || okMore != ok {
			t.Errorf("%q: %+v with a garbage line, %+v without", content, more, id)
		}
	})
}
