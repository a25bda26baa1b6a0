package watch

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

type pairs = map[string]string

// web is a container of a pod, as a runtime and a kubelet tell of it.
func web() *target.Identity {
	return &target.Identity{
		Image: "registry/team/shop", ImageTag: "1.2", Runtime: "containerd", Labels: pairs{"built": "today"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.44.0.7")},
		Pod: target.Pod{
			Name: "web-0", Namespace: "shop", UID: "u-1", Container: "web",
			Labels: pairs{"app": "shop"}, Annotations: pairs{"prometheus.io/scrape": "true"},
		},
	}
}

// pod runs a server in a cgroup as containerd makes it under a kubelet.
func pod(t *testing.T, n int) (id string, group *testkit.Group) {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare", "env")
	id = newID(n)
	group = testkit.Cgroup(t, fmt.Sprintf("/kubepods.slice/kubepods-pod%d.slice/cri-containerd-%s.scope", n, id))
	testkit.Run(t, group, "unshare", "-n", "env", listenEnv+"=tcp4:0.0.0.0:8080", program(t, "app"))
	return id, group
}

// A container is seen by its cgroup, and told of. What it is called comes later, is told
// then, and so is each change; nobody being left to say it changes nothing, its end
// does.
func TestIdentity(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	v := view(t)
	r := newRig(t, Options{View: v})
	id, group := pod(t, 31)
	bare := r.expect(t, id, listens("tcp 0.0.0.0:8080 app"))
	if bare.Name != "" || len(bare.Annotations)+len(bare.Labels) > 0 || bare.Resource["container.runtime.name"] != "containerd" {
		t.Errorf("before anybody has said anything: %+v", bare)
	}

	v.Identities().Put(id, web())
	got := r.expect(t, id, isNamed("web"))
	want := *bare
	want.Name, want.Image, want.ImageTag = "web", "registry/team/shop", "1.2"
	want.Labels, want.PodLabels, want.Annotations = pairs{"built": "today"}, pairs{"app": "shop"}, pairs{"prometheus.io/scrape": "true"}
	want.Addresses = []target.Address{{IP: netip.MustParseAddr("10.44.0.7")}}
	want.PodName, want.PodNamespace, want.PodContainer = "web-0", "shop", "web"
	// Not what it is called: names that come late start nothing anew.
	want.Resource = pairs{"container.id": id, "container.runtime.name": "containerd", "k8s.pod.uid": "u-1"}
	if diff := cmp.Diff(&want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	other := web()
	other.Pod.Annotations = pairs{"prometheus.io/scrape": "false"}
	v.Identities().Put(id, other)
	r.expect(t, id, func(got *target.Target) error {
		if got.Annotations["prometheus.io/scrape"] != "false" {
			return errors.New("not the pod's new annotations")
		}
		return nil
	})

	v.Identities().Remove(id)
	looks := r.Stats().Looks
	testkit.Eventually(t, 2*soon, func() error { return atLeast(r.Stats().Looks, looks+2) })
	if err := isNamed("web")(r.target(id)); err != nil {
		t.Error(err)
	}
	group.Remove()
	r.expectGone(t, id)
}

// What was said before the container came is known from the start, and nobody reads
// when the watch has ended.
func TestIdentityBefore(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	v := view(t)
	board := v.Identities()
	t.Cleanup(func() { checkReaders(t, v, 0) })
	r := newRig(t, Options{View: v})
	testkit.Eventually(t, within, func() error {
		if n, _ := board.Readers(); n != 1 {
			return fmt.Errorf("%d read", n)
		}
		return nil
	})
	testkit.NeedRoot(t)
	for n := 41; n < 43; n++ {
		id := newID(n)
		said := web()
		said.IsSandbox = n == 42
		board.Put(id, said)
		testkit.Run(t, testkit.Cgroup(t, fmt.Sprintf("/kubepods.slice/kubepods-pod%d.slice/cri-containerd-%s.scope", n, id)), "sleep", "1000")
		if !said.IsSandbox {
			r.expect(t, id, isNamed("web"))
			continue
		}
		// One that comes after it is told of, so it was looked at, too.
		after, _ := pod(t, 43)
		r.expect(t, after, listens("tcp 0.0.0.0:8080 app"))
		if got := r.target(id); got != nil {
			t.Errorf("a sandbox was told of: %+v", got)
		}
	}
}

func checkReaders(t *testing.T, v *hostview.View, want int) {
	t.Helper()
	if n, _ := v.Identities().Readers(); n != want {
		t.Errorf("%d read, want %d", n, want)
	}
}

func isNamed(want string) func(*target.Target) error {
	return func(got *target.Target) error {
		if got.Name != want || got.Pod().Name != "web-0" {
			return fmt.Errorf("is %q in pod %q, want %q", got.Name, got.Pod().Name, want)
		}
		return nil
	}
}

// Where the engine knows a container its word counts, and only what it cannot tell is
// taken from elsewhere. What others say of our engine's containers waits for it.
func TestEngineFirst(t *testing.T) {
	said := web()
	said.Name, said.Runtime = "called-otherwise", "docker"
	w := &Watch{runtime: "docker", engined: map[string]*docker.Container{}, identities: map[string]*target.Identity{"c": said}}
	if early := w.word("c", &group{}); early.identity != nil {
		t.Errorf("before our engine's word: %+v", early.identity)
	}
	w.runtime = ""
	if w.word("c", &group{}).identity != said {
		t.Error("without an engine it does not count")
	}
	w.runtime = "docker"
	w.engined["c"] = &docker.Container{
		ID: "c", Name: "by-engine", ImageRef: "nginx:1", Labels: pairs{"of": "engine"}, State: docker.State{Status: "running", Pid: 1},
	}
	s := &subject{id: "c"}
	s.update(w.word("c", nil), s.due)
	got := s.describe()
	want := []string{"by-engine", "nginx", "1", "docker", "map[of:engine]", "[{ 10.44.0.7}]", "map[app:shop]", "map[prometheus.io/scrape:true]"}
	all := []string{got.Name, got.Image, got.ImageTag, got.Runtime, fmt.Sprint(got.Labels), fmt.Sprint(got.Addresses),
		fmt.Sprint(got.PodLabels), fmt.Sprint(got.Annotations)}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if want := (pairs{"container.id": "c", "container.runtime.name": "docker", "k8s.pod.uid": "u-1"}); !maps.Equal(got.Resource, want) {
		t.Errorf("resource %v", got.Resource)
	}
	if pod := got.Pod(); pod.Name != "web-0" || pod.Namespace != "shop" || pod.Container != "web" {
		t.Errorf("pod %+v", pod)
	}
	s.found.isHost = true
	if got := s.describe(); len(got.Addresses) > 0 {
		t.Errorf("on the host's network: %v", got.Addresses)
	}
}

// What is said counts, in that order, and the kernel only where nobody says any: a
// container that may change its own network must not choose where we connect to.
func TestAddressesOfAPod(t *testing.T) {
	f := func(own, said []string, want string) {
		t.Helper()
		s := &subject{identity: &target.Identity{}}
		for _, text := range own {
			s.found.addresses = append(s.found.addresses, netip.MustParseAddr(text))
		}
		for _, text := range said {
			s.identity.Addresses = append(s.identity.Addresses, netip.MustParseAddr(text))
		}
		var all []string
		for _, a := range s.addresses() {
			all = append(all, a.IP.String())
		}
		if got := strings.Join(all, " "); got != want {
			t.Errorf("%v, said %v: %q, want %q", own, said, got, want)
		}
	}
	f(nil, nil, "")
	f(nil, []string{"10.0.0.2", "fd00::2"}, "10.0.0.2 fd00::2")
	f([]string{"10.0.0.2", "10.9.0.2"}, nil, "10.0.0.2 10.9.0.2")
	f([]string{"10.0.0.2", "10.9.0.2"}, []string{"10.9.0.2", "10.8.0.2"}, "10.9.0.2 10.8.0.2")
	f([]string{"10.0.0.2"}, []string{"10.7.0.1"}, "10.7.0.1")
}

// Without a view there is no board, and nothing to wait for.
func TestNoBoard(t *testing.T) {
	w := &Watch{identities: map[string]*target.Identity{}}
	w.listen()()
	if s := w.word("c", nil); s.identity != nil || s.isPodSandbox() {
		t.Errorf("%+v", s)
	}
}
