package watch

import (
	"fmt"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/ownthread"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// nobody is the user of that name: another one than the processes'.
const nobody = 65534

// asNobody looks at a process without any right, as the subject s.
func asNobody(t *testing.T, s *subject, process *exec.Cmd, isShared bool) *target.Target {
	t.Helper()
	ownthread.Do(func() {
		// The raw call changes this thread alone; capabilities go with the user.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			t.Error(errno)
			return
		}
		l := newLooker(hostfs.NewRoots("/"))
		s.found = l.processes(s, []int{process.Process.Pid}, time.Now())
		l.look(s, isShared)
	})
	if s.target == nil {
		t.Fatal("no target")
	}
	return s.target
}

func vouched() *docker.Container {
	return &docker.Container{
		ID: "c", NetworkMode: "bridge", State: docker.State{Status: "running", Pid: 1},
		Networks: []docker.Network{{Name: "bridge", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}},
	}
}

// Whose sockets there are is not known without rights, though the sockets are. Those of
// the host, or of others, are not taken for a container's, unless the engine says that its network
// is its own.
func TestWithoutRights(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "env")
	server := testkit.Run(t, testkit.Cgroup(t, "watch-rights"), "env", listenEnv+"=tcp4:127.0.0.1:"+freePort(t), program(t, "nginx"))
	waitFor(t, server, "nginx")
	f := func(name string, s subject, isShared, hasSockets bool) {
		t.Helper()
		s.id = "c"
		got := asNobody(t, &s, server, isShared)
		if !s.isBlind() || len(got.Listening) > 0 != hasSockets {
			t.Errorf("%s: is blind %v and listens at %v", name, s.isBlind(), got.Listening)
		}
		for _, e := range got.Endpoints() {
			if !hasSockets {
				t.Errorf("%s: endpoint %+v", name, e)
			}
		}
	}
	f("nobody says anything", subject{}, false, false)
	f("the engine vouches for it", subject{engine: vouched()}, false, true)
	f("but others are in it", subject{engine: vouched()}, true, false)
	f("or have joined it", subject{engine: vouched(), isJoined: true}, false, false)
	host := vouched()
	host.NetworkMode = "host"
	f("host", subject{engine: host}, false, false)
	join := vouched()
	join.NetworkMode = "container:other"
	f("another's", subject{engine: join, joins: vouched()}, false, false)
	f("another's that is not known", subject{engine: join}, false, false)
	bare := vouched()
	bare.Networks = nil
	f("without an address", subject{engine: bare}, false, false)
}

// What a process calls itself makes nothing certain.
func TestNameWithoutRights(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "env")
	server := testkit.Run(t, testkit.Cgroup(t, "watch-names"), "env", listenEnv+"=tcp4:127.0.0.1:"+freePort(t), program(t, "nginx"))
	waitFor(t, server, "nginx")
	got := asNobody(t, &subject{id: "c"}, server, false)
	if len(got.Executables) > 0 {
		t.Errorf("executables %q", got.Executables)
	}
	if len(got.Technologies) != 1 || got.Technologies[0].Confidence != target.Likely || got.Technologies[0].By != "process title nginx" {
		t.Errorf("%+v", got.Technologies)
	}
}

// waitFor waits until a process has become the program.
func waitFor(t *testing.T, process *exec.Cmd, name string) {
	t.Helper()
	l := newLooker(hostfs.NewRoots("/"))
	testkit.Eventually(t, within, func() error {
		stat, err := l.proc.Stat(process.Process.Pid)
		if got := l.command(stat, command{}, time.Now()).executable; err != nil || got != name {
			return fmt.Errorf("runs %q: %w", got, err)
		}
		return nil
	})
}
