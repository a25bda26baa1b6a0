package policy

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// ids of containers; each is one letter, 64 times.
func cid(letter string) string { return strings.Repeat(letter, 64) }

func lines(paths ...string) []byte {
	var b strings.Builder
	for n, p := range paths {
		b.WriteString(strconv.Itoa(len(paths)-n) + ":name=h" + strconv.Itoa(n) + ":" + p + "\n")
	}
	return []byte(b.String())
}

// fakeProc is an identifier that finds process 7 with these files. The
// connection is not what is tested, so the peer is made by hand.
func fakeProc(t *testing.T, cgroup []byte, nsPID string) (*Identifier, *Peer) {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "proc", "7")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, content := range map[string]string{
		"cgroup": string(cgroup),
		"status": "Name:\tx\nNSpid:\t" + nsPID + "\nThreads:\t1\n",
		"stat":   "7 (x) S 1 7 7 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 1 0 4711 1 1\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return &Identifier{roots: hostfs.NewRoots(root), pid: 4}, &Peer{PID: 7, pidfd: -1, start: 4711}
}

func TestPlaces(t *testing.T) {
	a, b, agent := cid("a"), cid("b"), cid("c")
	const user = "/user.slice/user-1000.slice/user@1000.service"
	f := func(name string, self, peer []byte, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			i, p := fakeProc(t, peer, "7")
			i.self, _ = parsePlace(self)
			id := i.IdentifyPeer(p)
			require.Equal(t, "x", id.Command)
			got := id.Kind.String()
			if id.Kind == KindContainer {
				got = id.ContainerID[:1]
			}
			if id.Reason != "" {
				require.Equal(t, ReasonCgroup, id.Reason)
			}
			require.Equal(t, want, got)
		})
	}
	host := lines("/system.slice/tallyman.service")
	inside := lines("/docker/" + agent)

	f("service", host, lines("/system.slice/cron.service"), "host")
	f("session", host, lines("/user.slice/user-0.slice/session-1.scope"), "host")
	f("no systemd", host, lines("/", "/"), "host")
	f("monitor of a container", host, lines("/libpod_parent/libpod-conmon-"+a), "host")
	f("cgroupfs", host, lines("/docker/"+a), "a")
	f("systemd", host, lines("/system.slice/docker-"+a+".scope"), "a")
	f("some lines say nothing", host, lines("/", "/docker/"+a, "/system.slice/docker.service"), "a")
	f("removed", host, lines("/docker/"+a+" (deleted)"), "a")
	f("pod", host, lines("/kubepods/besteffort/pod"+strings.Repeat("0", 32)), "unknown")
	f("container of a pod", host, lines("/kubepods/besteffort/pod"+strings.Repeat("0", 32)+"/"+a), "a")
	f("may be containerd's", host, lines("/default/web"), "unknown")

	f("outermost counts", host, lines("/docker/"+a+"/docker/"+b), "a")
	f("outermost counts below a monitor", host, lines("/docker/"+a+"/libpod_parent/libpod-conmon-"+b), "a")
	f("deeper on one line", host, lines("/docker/"+a+"/docker/"+b, "/docker/"+a), "a")
	f("contradiction", host, lines("/docker/"+a, "/docker/"+b), "unknown")
	f("another runtime's container holds it", host, lines("/lxc.payload.web/docker/"+a), "w")
	f("user's own directory", host, lines(user+"/docker-"+a+".scope"), "unknown")
	f("user's own directory on one line", host, lines("/user.slice", user+"/"+a), "unknown")
	f("some service's own directory", host, lines("/system.slice/ci.service/docker/"+a), "unknown")
	f("a service inside of a container", host, lines("/docker/"+a+"/system.slice/ci.service/docker/"+b), "a")
	f("rootless engine and agent", lines(user+"/app.slice/tallyman.service"), lines(user+"/user.slice/docker-"+a+".scope"), "a")
	f("another user's", lines("/user.slice/user-100.slice/user@100.service"), lines(user+"/docker-"+a+".scope"), "unknown")

	f("beside the agent's container", inside, lines("/docker/"+a), "a")
	f("in the agent's container", inside, lines("/docker/"+agent), "c")
	f("below the agent's container", inside, lines("/docker/"+agent+"/docker/"+a), "a")
	f("engine and agent in one container", inside, lines("/docker/"+agent+"/docker/"+a+"/docker/"+b), "a")
	f("agent's name taken", inside, lines("/docker/"+a+"/docker/"+agent), "a")
	f("agent's name taken by a user", inside, lines(user+"/docker-"+agent+".scope"), "unknown")
	f("user within the common container", inside, lines("/docker/"+agent+user+"/docker-"+a+".scope"), "unknown")

	f("outside of our cgroup namespace", lines("/"), lines("/../"+a), "a")
	f("host seen from a cgroup namespace", lines("/"), lines("/../../system.slice/cron.service"), "unknown")
	f("user seen from a cgroup namespace", lines("/"), lines("/../.."+user+"/docker-"+a+".scope"), "unknown")
	f("malformed", host, []byte("0:/docker/"+a+"\n"), "unknown")
	f("empty", host, nil, "unknown")
	f("one malformed line", host, append(lines("/docker/"+a), "junk\n"...), "unknown")
}

// In a cgroup namespace "/" is the agent's own container.
func TestInnerCgroupNamespace(t *testing.T) {
	for cgroup, want := range map[string]Identity{
		"/":                         {PID: 7, Command: "x", Reason: ReasonCgroup},
		"/system.slice/ssh.service": {PID: 7, Command: "x", Reason: ReasonCgroup},
		"/../" + cid("a"):           {PID: 7, Command: "x", Kind: KindContainer, ContainerID: cid("a")},
	} {
		i, p := fakeProc(t, lines(cgroup), "7")
		i.innerCgroups = true
		require.Equal(t, want, i.IdentifyPeer(p), cgroup)
		require.ErrorContains(t, i.Check(), "cgroup: host")
	}
}

func TestWhatProcDoesNotTell(t *testing.T) {
	f := func(name, file, content, reason string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			i, p := fakeProc(t, lines("/init.scope"), "7")
			path := i.file(7, file)
			if content == "" {
				require.NoError(t, os.Remove(path))
			} else {
				require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
			}
			id := i.IdentifyPeer(p)
			require.Equal(t, KindUnknown, id.Kind)
			require.Equal(t, reason, id.Reason)
		})
	}
	const rest = " 1 7 7 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 1 0 4711 1 1\n"
	f("no cgroup", "cgroup", "", ReasonUnreadable)
	f("no status", "status", "", ReasonUnreadable)
	f("no NSpid", "status", "Name:\tNSpid: 1\n", ReasonUnreadable)
	f("nested", "status", "NSpid:\t7\t7\n", ReasonCgroup)
	f("gone", "stat", "", ReasonGone)
	f("malformed", "stat", "7 x S 1\n", ReasonGone)
	f("zombie", "stat", "7 (x) Z"+rest, ReasonGone)
	f("exiting", "stat", "7 (x) R"+strings.Replace(rest, "4194304", "4194308", 1), ReasonGone)
	f("another start", "stat", "7 (x) S"+strings.Replace(rest, "4711", "4712", 1), ReasonGone)
}

func TestPinByStart(t *testing.T) {
	i, _ := fakeProc(t, lines("/"), "7")
	p := &Peer{PID: 7, pidfd: -1}
	require.NoError(t, i.pinByStart(p))
	require.Equal(t, Peer{PID: 7, pidfd: -1, start: 4711}, *p)

	stat, err := os.ReadFile(i.file(7, "stat"))
	require.NoError(t, err)
	later := strings.Replace(string(stat), "4711", "18446744073709551615", 1)
	require.NoError(t, os.WriteFile(i.file(7, "stat"), []byte(later), 0o600))
	require.NoError(t, i.pinByStart(p))
	require.True(t, p.gone, "it started after the connection was accepted")
}

func TestKindAndKey(t *testing.T) {
	f := func(id Identity, kind, key string) {
		t.Helper()
		require.Equal(t, kind, id.Kind.String())
		require.Equal(t, key, id.Key())
	}
	f(Identity{UID: 5}, "unknown", "unknown")
	f(Identity{Kind: KindHost, UID: 5}, "host", "host/5")
	f(Identity{Kind: KindContainer, UID: 5, ContainerID: "ab"}, "container", "container/ab")
	f(Identity{Kind: KindAgent}, "agent", "agent")
}
