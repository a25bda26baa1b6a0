package watch

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// hostLike makes of the thread's network namespace that of a host: with a bridge, a
// container that has a route of its own, and a network beyond which all else is.
var hostLike = []string{
	"link set lo up",
	"link add br0 type bridge",
	"link add port0 type veth peer name one0",
	"link set port0 master br0 up",
	"link set one0 up",
	"link set br0 up",
	"addr add 10.1.0.1/24 dev br0",
	"addr add fd00:1::1/64 dev br0 nodad",
	"route add 10.2.0.5/32 dev one0",
	"link add card0 type veth peer name wire0",
	"link set card0 up",
	"link set wire0 up",
	"link add link card0 name lan0 type macvlan",
	"link set lan0 up",
	"addr add 192.168.7.2/24 dev lan0",
	"route add default via 192.168.7.1 dev lan0",
	"route add blackhole 10.3.0.0/16",
}

// onHost runs f on a thread in such a namespace.
func onHost(t *testing.T, f func() error) {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "ip")
	testkit.InNewNetns(t, func() error {
		for _, line := range hostLike {
			if err := ip(line); err != nil {
				return err
			}
		}
		return f()
	})
}

// ip runs the command of that name, in the namespace of the calling thread.
func ip(line string) error {
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, out)
	}
	return nil
}

// Of addresses those are left that lead to containers: not the host's own, not what the
// default route leads to, whatever that is, and no others on its network.
func TestLeadingIn(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	onHost(t, func() error {
		var all []netip.Addr
		for _, text := range []string{
			"10.1.0.7", "10.1.0.1", "10.2.0.5", "10.2.0.6", "10.3.0.1", "192.168.7.2", "192.168.7.9", "100.100.100.200",
			"127.0.0.1", "224.0.0.1", "255.255.255.255", "10.1.0.255", "fd00:1::7", "fd00:1::1", "fd00:9::1", "::1",
		} {
			all = append(all, netip.MustParseAddr(text))
		}
		f := func(want string) error {
			got, err := leadingIn(append([]netip.Addr(nil), all...))
			if text := fmt.Sprint(got); err != nil || text != want {
				return fmt.Errorf("%s, %w; want %s", text, err, want)
			}
			return nil
		}
		if err := f("[10.1.0.7 10.2.0.5 fd00:1::7]"); err != nil {
			return err
		}
		for _, line := range []string{"route replace default via 10.1.0.254 dev br0", "-6 route add default via fd00:1::fe dev br0"} {
			if err := ip(line); err != nil {
				return err
			}
		}
		if err := f("[10.1.0.7 10.2.0.5 fd00:1::7]"); err != nil {
			return err
		}
		all = nil
		for ip := netip.MustParseAddr("10.1.0.2"); len(all) < 2*maxAddresses; ip = ip.Next() {
			all = append(all, ip)
		}
		if got, err := leadingIn(all); err != nil || len(got) != maxAddresses {
			return fmt.Errorf("%d of too many: %w", len(got), err)
		}
		return nil
	})
}

// Where nobody says any address, those of the container's network are believed if they
// lead to containers and the network is not one of its own making.
func TestBelieved(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare", "env", "ip")
	const has = "ip link set lo up && ip addr add 100.100.100.200/32 dev lo && ip addr add 10.1.0.7/32 dev lo && exec env "
	serve := func(name, how string) int {
		process := testkit.Run(t, testkit.Cgroup(t, name), "unshare", how, "sh", "-c", has+listenEnv+"=tcp4:0.0.0.0:80 "+program(t, "app"))
		waitFor(t, process, "app")
		return process.Process.Pid
	}
	given, made := serve("watch-given", "-n"), serve("watch-made", "-Urn")
	f := func(name string, pid int, s *subject, want ...string) {
		t.Helper()
		l := newLooker(hostfs.NewRoots("/"))
		l.hosts() // where no thread of ours has left its place
		testkit.Eventually(t, within, func() (err error) {
			onHost(t, func() error {
				l.begin()
				s.found = l.processes(s, []int{pid}, time.Now())
				l.look(s, false)
				err = listens("tcp 0.0.0.0:80 app")(s.target)
				return nil
			})
			return err
		})
		if err := reaches(want...)(s.target); err != nil || len(s.target.Addresses) != len(want) {
			t.Errorf("%s: %v, addresses %v", name, err, s.target.Addresses)
		}
	}
	f("given", given, &subject{id: "c"}, "10.1.0.7:80")
	f("made", made, &subject{id: "c"})
	none := &docker.Container{ID: "c", NetworkMode: "none"}
	f("none by the engine", given, &subject{id: "c", engine: none})
	join := &docker.Container{ID: "d", NetworkMode: "container:c"}
	f("the none of another", given, &subject{id: "d", engine: join, joins: none})
	said := &target.Identity{Addresses: []netip.Addr{netip.MustParseAddr("10.44.0.7")}}
	f("none by the engine, and the kubelet has one", given, &subject{id: "c", engine: none, identity: said}, "10.44.0.7:80")
}

// A container of a real engine that nobody says anything of is reached all the same.
func TestBelievedOfAnEngine(t *testing.T) {
	engine := testkit.Docker(t)
	testkit.VerifyNoLeaks(t)
	r := newRig(t, Options{View: view(t)})
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "unknown", NetworkMode: "bridge", Cmd: []string{"sh", "-c", "mkdir -p /tmp/w; exec httpd -f -p 0.0.0.0:8080 -h /tmp/w"},
	})
	r.expect(t, c.ID, func(got *target.Target) error {
		ends := got.Endpoints()
		if len(ends) != 1 || ends[0].Port != 8080 || len(got.Addresses) != 1 || ends[0].Addr.Addr() != got.Addresses[0].IP {
			return fmt.Errorf("endpoints %+v", ends)
		}
		return nil
	})
}
