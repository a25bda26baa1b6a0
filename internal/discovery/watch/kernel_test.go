package watch

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// start runs a program in a container that is made of a cgroup alone.
func start(t *testing.T, n int, argv ...string) (id string, group *testkit.Group, process *exec.Cmd) {
	t.Helper()
	testkit.NeedRoot(t)
	id = newID(n)
	group = testkit.Cgroup(t, "/docker/"+id)
	return id, group, testkit.Run(t, group, argv...)
}

// Without an engine: a container in a network of its own is found, with what it
// runs, where it listens, and what it is; it is gone with its cgroup.
func TestOwnNetwork(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare", "env")
	r := newRig(t, Options{View: view(t)})
	redis := program(t, "redis-server")
	id, group, process := start(t, 1, "unshare", "-n", "env", listenEnv+"=tcp4:0.0.0.0:6379 udp4:0.0.0.0:8125 tcp6:[::]:8080", redis)
	got := r.expect(t, id, func(got *target.Target) error {
		if len(got.Listening) != 3 {
			return listens("three")(got)
		}
		return nil
	})
	checkRedis(t, got, process.Process.Pid)
	if got.HostNetwork || got.State != "running" || got.Runtime != "docker" || got.Resource["container.id"] != id {
		t.Errorf("%+v", got)
	}
	looks := r.Stats().Looks
	testkit.Eventually(t, 2*soon, func() error { return atLeast(r.Stats().Looks, looks+3) })
	if again := r.target(id); !again.Equal(got) {
		t.Errorf("%+v after another look, %+v before", again, got)
	}
	group.Remove()
	r.expectGone(t, id)
}

// checkRedis: the program, its socket, and what follows from them.
func checkRedis(t *testing.T, got *target.Target, pid int) {
	t.Helper()
	if l := got.Listening[0]; l.Addr.String() != "0.0.0.0:6379" || l.Executable != "redis-server" || l.PID != pid {
		t.Errorf("%+v", l)
	}
	if got.PID != pid || !slices.Equal(got.Executables, []string{"redis-server"}) {
		t.Errorf("process %d, executables %q", got.PID, got.Executables)
	}
	if len(got.Technologies) == 0 {
		t.Fatal("not recognised")
	}
	if tech := got.Technologies[0]; tech.Name != "redis" || tech.Confidence != target.Certain || tech.Port != 6379 {
		t.Errorf("%+v", tech)
	}
}

// On the host's network only the container's own sockets count.
func TestHostNetwork(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "env")
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	free := freePort(t)
	r := newRig(t, Options{View: view(t)})
	id, group, _ := start(t, 2, "env", listenEnv+"=tcp4:127.0.0.1:"+free, program(t, "app"))
	got := r.expect(t, id, listens("tcp 127.0.0.1:"+free+" app"))
	if !got.HostNetwork || len(got.Addresses) != 0 {
		t.Errorf("%+v", got)
	}
	group.Remove()
	r.expectGone(t, id)
}

// inOwn is what begins a network of a container's own, with one address.
const inOwn = "ip link set lo up && ip addr add 10.9.9.9/32 dev lo && exec env "

// reaches is a condition: these are the endpoints.
func reaches(want ...string) func(*target.Target) error {
	return func(got *target.Target) error {
		var all []string
		for _, e := range got.Endpoints() {
			all = append(all, e.Addr.String())
		}
		if !slices.Equal(all, want) {
			return fmt.Errorf("reached at %q, want %q", all, want)
		}
		return nil
	}
}

// has says which address a container has.
func has(v *hostview.View, id, ip string) {
	v.Identities().Put(id, &target.Identity{Addresses: []netip.Addr{netip.MustParseAddr(ip)}})
}

// Who listens at an address that it does not have (no right is needed for that) is not
// connected to there: that would be the cloud's metadata, or somebody else.
func TestForeignAddress(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare", "env", "ip")
	v := view(t)
	r := newRig(t, Options{View: v})
	id, _, _ := start(t, 7, "unshare", "-n", "sh", "-c",
		inOwn+listenEnv+"='free-tcp4:169.254.169.254:80 tcp4:10.9.9.9:81 tcp4:0.0.0.0:82' "+program(t, "app"))
	has(v, id, "10.9.9.9")
	r.expect(t, id, listens("tcp 169.254.169.254:80 app", "tcp 10.9.9.9:81 app", "tcp 0.0.0.0:82 app"))
	r.expect(t, id, reaches("10.9.9.9:81", "10.9.9.9:82"))
}

// On the host's network the addresses are those that the host has.
func TestForeignAddressOnTheHost(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "env")
	// Ports of a range of which the kernel gives none by itself.
	at, want := "free-tcp4:169.254.169.254:18180 tcp4:127.0.0.1:18181", []string{"127.0.0.1:18181"}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range interfaces {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			at += " tcp4:" + prefix.Addr().String() + ":18182"
			want = append(want, prefix.Addr().String()+":18182")
			break
		}
	}
	r := newRig(t, Options{View: view(t)})
	id, _, _ := start(t, 8, "env", listenEnv+"="+at, program(t, "app"))
	r.expect(t, id, reaches(want...))
}

// Whose a socket is on the loopback of a container is not searched for: Docker's name
// server is nobody's, and would be searched for again and again.
func TestOwnLoopback(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare", "env", "ip")
	v := view(t)
	r := newRig(t, Options{View: v})
	id, _, _ := start(t, 9, "unshare", "-n", "sh", "-c", inOwn+listenEnv+"='tcp4:127.0.0.11:53 tcp4:0.0.0.0:82' "+program(t, "app"))
	has(v, id, "10.9.9.9")
	r.expect(t, id, listens("tcp 127.0.0.11:53 ", "tcp 0.0.0.0:82 app"))
	r.expect(t, id, reaches("10.9.9.9:82"))
}

// Of two containers in one network each has its own sockets.
func TestSharedNetwork(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare", "nsenter", "env")
	r := newRig(t, Options{View: view(t)})
	first, _, process := start(t, 3, "unshare", "-n", "env", listenEnv+"=tcp4:0.0.0.0:80", program(t, "web"))
	r.expect(t, first, listens("tcp 0.0.0.0:80 web"))
	second, _, _ := start(t, 4, "nsenter", "-t", strconv.Itoa(process.Process.Pid), "-n", "env", listenEnv+"=tcp4:0.0.0.0:81", program(t, "side"))
	isShared := func(got *target.Target) error {
		if !got.SharedNetwork {
			return errors.New("is not told to share its network")
		}
		return nil
	}
	r.expect(t, second, func(got *target.Target) error { return errors.Join(listens("tcp 0.0.0.0:81 side")(got), isShared(got)) })
	r.expect(t, first, func(got *target.Target) error { return errors.Join(listens("tcp 0.0.0.0:80 web")(got), isShared(got)) })
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
