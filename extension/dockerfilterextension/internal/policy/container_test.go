package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// patience bounds what takes a second on a loaded machine: a container's start.
const patience = 30 * time.Second

func deadline() time.Time { return time.Now().Add(patience) }

var errNotYet = errors.New("not yet")

// both runs a test the way this kernel does it, and as kernels before 6.5 do.
func both(t *testing.T, test func(t *testing.T, i *Identifier)) {
	for _, without := range []bool{false, true} {
		t.Run(map[bool]string{false: "pidfd", true: "start time"}[without], func(t *testing.T) {
			i := NewIdentifier()
			i.withoutPidfd = without
			require.NoError(t, i.Check())
			test(t, i)
		})
	}
}

// A uid says nothing about where a process is: the container does.
func TestContainers(t *testing.T) {
	engine := testkit.Docker(t)
	type want struct{ uid, gid uint32 }
	for name, tc := range map[string]struct {
		adjust func(*container.Config, *container.HostConfig)
		want   want
	}{
		"root":     {func(*container.Config, *container.HostConfig) {}, want{0, 0}},
		"user":     {func(c *container.Config, _ *container.HostConfig) { c.User = "1234:5678" }, want{1234, 5678}},
		"pid host": {func(_ *container.Config, h *container.HostConfig) { h.PidMode = "host" }, want{0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, i *Identifier) {
				r := newRig(t)
				spec := r.spec("connect")
				spec.Adjust = tc.adjust
				c := engine.RunContainer(t, spec)
				require.Equal(t, Identity{
					Kind: KindContainer, ContainerID: c.ID, PID: c.PID,
					UID: tc.want.uid, GID: tc.want.gid, Command: "helper",
				}, i.Identify(r.accept(t)))
			})
		})
	}
}

// What `docker exec` starts belongs to the container as well.
func TestExecInContainer(t *testing.T) {
	engine := testkit.Docker(t)
	r := newRig(t)
	spec := r.spec("connect")
	spec.Cmd = nil
	c := engine.RunContainer(t, spec)
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), r.helper, r.socket)
		done <- err
	}()
	conn := r.accept(t)
	id := NewIdentifier().Identify(conn)
	require.Equal(t, KindContainer, id.Kind, id)
	require.Equal(t, c.ID, id.ContainerID)
	require.NotEqual(t, c.PID, id.PID)
	require.NoError(t, conn.Close())
	require.NoError(t, <-done)
}

// A container that may write its cgroups takes the name of another one below
// its own directory. It stays who it is.
func TestContainerTakesAnothersName(t *testing.T) {
	engine := testkit.Docker(t)
	r := newRig(t)
	victim := engine.RunContainer(t, testkit.ContainerSpec{NetworkMode: "none"})
	// The short id is the name of the host in the container.
	const enter = `for d in /cg/docker/$(hostname)* /cg/*/docker/$(hostname)*; do
	mkdir -p $d/docker/$1 && echo $$ >$d/docker/$1/cgroup.procs
done 2>/dev/null; exec "$2" "$3"`
	spec := r.spec("connect")
	spec.Cmd = []string{"sh", "-c", enter, "sh", victim.ID, r.helper, r.socket}
	spec.Binds = append(spec.Binds, "/sys/fs/cgroup:/cg")
	attacker := engine.RunContainer(t, spec)
	id := NewIdentifier().Identify(r.accept(t))
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", attacker.PID))
	require.NoError(t, err)
	require.Contains(t, string(cgroup), "/docker/"+victim.ID, "the attack has not taken place")
	require.Equal(t, KindContainer, id.Kind)
	require.Equal(t, attacker.ID, id.ContainerID)
}

// The first thread of a process ends while others go on: cgroup v1 then shows
// the process in the root, where the host's are.
func TestContainerWithoutFirstThread(t *testing.T) {
	engine := testkit.Docker(t)
	both(t, func(t *testing.T, i *Identifier) {
		r := newRig(t)
		c := engine.RunContainer(t, r.spec("leaderless"))
		conn := r.accept(t)
		testkit.Eventually(t, patience, func() error {
			stat, err := i.stat(c.PID)
			if err == nil && !stat.Ended {
				err = errNotYet
			}
			return err
		})
		require.Equal(t, Identity{PID: c.PID, Reason: ReasonGone}, i.Identify(conn))
	})
}

func TestHostProcesses(t *testing.T) {
	testkit.NeedRoot(t)
	both(t, func(t *testing.T, i *Identifier) {
		for _, uid := range []uint32{0, 65534} {
			r := newRig(t)
			cmd := r.start(t, "connect", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}})
			require.Equal(t, Identity{
				Kind: KindHost, PID: cmd.Process.Pid, UID: uid, GID: uid, Command: "helper",
			}, i.Identify(r.accept(t)))
		}
	})
}

// A process in a pid namespace of its own is in something that is like a
// container, even if its cgroup does not say so.
func TestNestedProcessOfTheHost(t *testing.T) {
	testkit.NeedRoot(t)
	r := newRig(t)
	cmd := r.start(t, "connect", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	require.Equal(t, Identity{
		PID: cmd.Process.Pid, Reason: ReasonCgroup, Command: "helper",
	}, NewIdentifier().Identify(r.accept(t)))
}

func TestAgent(t *testing.T) {
	both(t, func(t *testing.T, i *Identifier) {
		r := newRig(t)
		client, err := net.Dial("unix", r.socket)
		require.NoError(t, err)
		defer client.Close()
		id := i.Identify(r.accept(t))
		require.Equal(t, KindAgent, id.Kind)
		require.Equal(t, os.Getpid(), id.PID)
	})
}

func TestDeadPeer(t *testing.T) {
	both(t, func(t *testing.T, i *Identifier) {
		r := newRig(t)
		cmd := r.start(t, "die", nil)
		require.NoError(t, cmd.Wait())
		require.Equal(t, Identity{
			PID: cmd.Process.Pid, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Reason: ReasonGone,
		}, i.Identify(r.accept(t)))
	})
}

// Nobody has waited for the peer: its number is still its own, but what /proc
// says of it is no longer what it was.
func TestPeerIsZombie(t *testing.T) {
	both(t, func(t *testing.T, i *Identifier) {
		r := newRig(t)
		cmd := r.start(t, "connect", nil)
		p, err := i.Peer(r.accept(t))
		require.NoError(t, err)
		defer p.Close()
		require.NoError(t, cmd.Process.Kill())
		testkit.Eventually(t, patience, func() error {
			stat, err := os.ReadFile(i.file(p.PID, "stat"))
			if err == nil && !bytes.Contains(stat, []byte(") Z ")) {
				err = errNotYet
			}
			return err
		})
		require.Equal(t, ReasonGone, i.IdentifyPeer(p).Reason)
	})
}

// The number of a container's process is given to root on the host. The old
// connection must not become root's, neither when the peer was looked at
// before its end nor, with a pidfd, when it is looked at only afterwards.
func TestReusedNumber(t *testing.T) {
	engine := testkit.Docker(t)
	both(t, func(t *testing.T, i *Identifier) {
		r := newRig(t)
		c := engine.RunContainer(t, r.spec("connect"))
		conn := r.accept(t)
		early, err := i.Peer(conn)
		require.NoError(t, err)
		defer early.Close()
		require.Equal(t, c.PID, early.PID)
		require.NoError(t, c.Kill(t.Context(), ""))
		takeNumber(t, c.PID)

		var now Identity
		now.PID = c.PID
		require.Empty(t, i.look(&now))
		require.Equal(t, KindHost, now.Kind, "the number now means a process of the host")
		want := Identity{PID: c.PID, Reason: ReasonGone}
		require.Equal(t, want, i.IdentifyPeer(early))
		if !i.withoutPidfd {
			require.Equal(t, want, i.Identify(conn))
		}
	})
}

// takeNumber starts a process with that number as soon as it is free. Others
// may get it first, and will give it back.
func takeNumber(t *testing.T, pid int) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return errNotYet
		}
		require.NoError(t, os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0))
		cmd := exec.Command("sleep", "1000")
		require.NoError(t, cmd.Start())
		stop := func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if cmd.Process.Pid != pid {
			stop()
			return errNotYet
		}
		t.Cleanup(stop)
		return nil
	})
}

// systemd gives user@1000.service to user 1000, who makes a directory in it
// that is named like a container.
func TestUserTakesContainersName(t *testing.T) {
	id := strings.Repeat("a1", 32)
	for name, path := range map[string]string{
		"in a delegated service": "/user.slice/user-1000.slice/user@1000.service/docker-" + id + ".scope",
		"of the engine":          "/system.slice/docker-" + id + ".scope",
	} {
		t.Run(name, func(t *testing.T) {
			g := testkit.Cgroup(t, path)
			r := newRig(t)
			testkit.Run(t, g, "env", helperMode+"=connect", r.helper, r.socket)
			got := NewIdentifier().Identify(r.accept(t))
			if name == "of the engine" {
				require.Equal(t, KindContainer, got.Kind)
				require.Equal(t, id, got.ContainerID)
				return
			}
			require.Equal(t, KindUnknown, got.Kind)
			require.Equal(t, ReasonCgroup, got.Reason)
		})
	}
}

// A server in another pid namespace sees the peer as number 0; one that looks
// at the /proc of another namespace trusts none of its numbers.
func TestOtherPidNamespace(t *testing.T) {
	testkit.NeedRoot(t)
	for mode, wantCheck := range map[string]string{
		"serve-own-proc": "",
		"serve":          "identify clients: /proc is not the procfs of this pid namespace (mount a new one)",
	} {
		t.Run(mode, func(t *testing.T) {
			r := newRig(t)
			r.socket = filepath.Join(r.dir, "inner")
			var out bytes.Buffer
			cmd := exec.Command(r.helper, r.socket)
			cmd.Env, cmd.Stdout, cmd.Stderr = []string{helperMode + "=" + mode}, &out, os.Stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
			require.NoError(t, cmd.Start())
			var conn net.Conn
			testkit.Eventually(t, patience, func() (err error) {
				conn, err = net.Dial("unix", r.socket)
				return err
			})
			defer conn.Close()
			require.NoError(t, cmd.Wait())
			var got served
			require.NoError(t, json.NewDecoder(strings.NewReader(out.String())).Decode(&got))
			require.Equal(t, served{Identity: Identity{Reason: ReasonNamespace}, Check: wantCheck}, got)
		})
	}
}

// Nothing stays open, whatever became of the peer.
func TestDescriptorsAreGivenBack(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	both(t, func(t *testing.T, i *Identifier) {
		r := newRig(t)
		r.start(t, "connect", nil)
		conn := r.accept(t)
		for range 10 {
			require.Equal(t, KindHost, i.Identify(conn).Kind)
		}
		p, err := i.Peer(conn)
		require.NoError(t, err)
		require.NoError(t, p.Close())
		require.NoError(t, p.Close())
		require.Equal(t, ReasonGone, i.IdentifyPeer(p).Reason)
		require.NoError(t, conn.Close())
		_, err = i.Peer(conn)
		require.Error(t, err)
		require.Equal(t, Identity{Reason: ReasonUnreadable}, i.Identify(conn))
	})
}
