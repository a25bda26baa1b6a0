package watch

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A container of a real engine, with the engine alone and with cgroups beside it:
// found with its names and its socket, followed over a restart, gone with its end.
func TestEngine(t *testing.T) {
	f := func(name string, withView bool) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			engine := testkit.Docker(t)
			testkit.VerifyNoLeaks(t)
			o := Options{Endpoint: engine.Host()}
			if withView {
				o.View = view(t)
			}
			r := newRig(t, o)
			c := engine.RunContainer(t, testkit.ContainerSpec{
				Name: "discovered", Cmd: []string{"sh", "-c", "mkdir -p /tmp/w; exec httpd -f -p 8080 -h /tmp/w"},
				Labels: map[string]string{"prometheus.io/scrape": "true"},
				Adjust: func(c *container.Config, h *container.HostConfig) {
					c.Hostname = "calls-itself"
					web := network.MustParsePort("8080/tcp")
					c.ExposedPorts = network.PortSet{web: {}, network.MustParsePort("9090/tcp"): {}, network.MustParsePort("36412/sctp"): {}}
					h.PortBindings = network.PortMap{web: {{HostIP: netip.MustParseAddr("127.0.0.1")}}}
				},
			})
			begun := time.Now()
			got := r.expect(t, c.ID, func(got *target.Target) error {
				return errors.Join(listens("tcp [::]:8080 busybox")(got), isAt(got, c.PID))
			})
			t.Logf("found within %v", time.Since(begun))
			image, tag, _ := strings.Cut(testkit.Busybox, ":")
			if got.Name != c.Name || got.Image != image || got.ImageTag != tag || got.Labels["prometheus.io/scrape"] != "true" {
				t.Errorf("%+v", got)
			}
			if err := isPublished(got, "calls-itself"); err != nil {
				t.Error(err)
			}
			if got.HostNetwork || len(got.Addresses) == 0 || !got.Addresses[0].IP.Is4() {
				t.Errorf("addresses %v", got.Addresses)
			}
			if want := (pairs{"container.id": c.ID, "container.runtime.name": "docker"}); !maps.Equal(got.Resource, want) {
				t.Errorf("resource %v", got.Resource)
			}
			if err := c.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.expect(t, c.ID, func(got *target.Target) error {
				return errors.Join(isAt(got, c.PID), listens("tcp [::]:8080 busybox")(got), isPublished(got, "calls-itself"))
			})
			if err := c.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			begun = time.Now()
			r.expectGone(t, c.ID)
			t.Logf("gone within %v", time.Since(begun))
		})
	}
	f("engine alone", false)
	f("engine and cgroups", true)
}

// A container in another's network is reached by the other's address, and what the other
// opens is not its own.
func TestEngineJoined(t *testing.T) {
	engine := testkit.Docker(t)
	testkit.VerifyNoLeaks(t)
	r := newRig(t, Options{Endpoint: engine.Host(), View: view(t)})
	serve := func(name, mode, port string) *testkit.Container {
		return engine.RunContainer(t, testkit.ContainerSpec{
			Name: name, NetworkMode: mode, Cmd: []string{"sh", "-c", "mkdir -p /tmp/w; exec httpd -f -p 0.0.0.0:" + port + " -h /tmp/w"},
		})
	}
	first := serve("first", "bridge", "8080")
	second := serve("second", "container:"+first.ID, "8081")
	third := serve("third", "container:"+first.Name, "8082")
	at := r.expect(t, first.ID, listens("tcp 0.0.0.0:8080 busybox")).Endpoints()[0].Addr.Addr().String()
	t.Logf("at %s", at)
	r.expect(t, second.ID, reaches(at+":8081"))
	r.expect(t, third.ID, reaches(at+":8082"))
	r.expect(t, first.ID, reaches(at+":8080"))
}

func isAt(got *target.Target, pid int) error {
	if got.PID != pid {
		return fmt.Errorf("process %d, want %d", got.PID, pid)
	}
	return nil
}

// isPublished: port 8080 is, 9090 is only exposed, and there is no other.
func isPublished(got *target.Target, hostname string) error {
	if got.Hostname != hostname || len(got.Ports) != 2 || got.Ports[0].HostPort == 0 {
		return fmt.Errorf("host name %q, ports %v", got.Hostname, got.Ports)
	}
	want := []target.Port{
		{Number: 8080, Protocol: target.TCP, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: got.Ports[0].HostPort},
		{Number: 9090, Protocol: target.TCP},
	}
	if !slices.Equal(got.Ports, want) {
		return fmt.Errorf("ports %v, want %v", got.Ports, want)
	}
	ends := got.Endpoints()
	if len(ends) != 1 || ends[0].Port != 8080 || ends[0].HostPort != got.Ports[0].HostPort || !ends[0].Listening {
		return fmt.Errorf("endpoints %+v", ends)
	}
	return nil
}

// Of a range that is announced as a whole, the first are told and the rest counted.
func TestAnnouncedPorts(t *testing.T) {
	c := &docker.Container{Hostname: "h", Networks: []docker.Network{{Name: "n", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}}}
	for n := range maxPorts + 7 {
		c.Ports = append(c.Ports, docker.Port{Number: uint16(2000 + n), Protocol: "tcp"})
	}
	l := newLooker(hostfs.NewRoots("/"))
	s := &subject{engine: c, pid: os.Getpid()}
	s.found = l.processes(s, []int{os.Getpid()}, time.Now())
	l.look(s, true)
	if len(s.target.Ports) != maxPorts || s.target.Ports[0].Number != 2000 || l.beyond != (Beyond{Ports: 7}) {
		t.Errorf("%d ports from %v", len(s.target.Ports), s.target.Ports[0])
	}
}

func TestImageOf(t *testing.T) {
	const id = "sha256:4f1c0de5a7b3c1d2e3f405162738495a6b7c8d9eaf0b1c2d3e4f5061728394a5"
	f := func(ref string, tags []string, want, wantTag string) {
		t.Helper()
		name, tag := imageOf(&docker.Container{ImageRef: ref, ImageID: id, ImageTags: tags})
		if name != want || tag != wantTag {
			t.Errorf("%q: %q %q", ref, name, tag)
		}
	}
	f("nginx:1.25", nil, "nginx", "1.25")
	f("registry:5000/team/app", []string{"other:2"}, "registry:5000/team/app", "")
	f(id, []string{"redis:7"}, "redis", "7")
	f("4f1c0de5a7b3", []string{"redis:7"}, "redis", "7")
	f("4f1c0de5a7b3", nil, "", "")
}

func TestAddressesOf(t *testing.T) {
	got := addressesOf(&docker.Container{Networks: []docker.Network{
		{Name: "back", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}}, {Name: "none"},
	}})
	if fmt.Sprint(got) != "[{back 10.0.0.2} {back fd00::2}]" {
		t.Error(got)
	}
}

func TestNew(t *testing.T) {
	for _, o := range []Options{
		{}, {Endpoint: docker.DefaultEndpoint}, {Endpoint: "nonsense", Changed: func([]*target.Target) {}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func atLeast(got, want uint64) error {
	if got < want {
		return fmt.Errorf("%d, want %d", got, want)
	}
	return nil
}
