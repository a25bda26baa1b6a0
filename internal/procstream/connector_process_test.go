package procstream

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestParseCgroups(t *testing.T) {
	f := func(text, unified, memory string) {
		t.Helper()
		u, m := parseCgroups([]byte(text))
		require.Equal(t, unified, string(u))
		require.Equal(t, memory, string(m))
	}
	f("", "", "")
	f("0::/system.slice/docker-abc.scope\n", "/system.slice/docker-abc.scope", "")
	f("9:name=systemd:/x\n4:memory:/docker/abc\n1:cpu,cpuacct:/y\n0::/\n", "/", "/docker/abc")
	f("4:hugetlb,memory:/a:b\n", "", "/a:b")
	f("4:name=memory:/a\n3:memory2:/b\n12:pids:/c", "", "")
	f("0::/gone (deleted)\n", "/gone (deleted)", "")
	f("0::/../other\n4:memory:/", "/../other", "/")
	f("0:\n::\n4:memory:\n4:memory:relative\n", "", "")
}

func TestParseTask(t *testing.T) {
	f := func(line string, want task) {
		t.Helper()
		got, err := parseTask([]byte(line))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	const rest = " 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 3 0 4711 0 5"
	f("7 (a) b) S"+rest, task{Stat: Stat{PID: 7, PPID: 1, Start: 4711, Comm: "a) b", RSS: 5}, threads: 3})
	f("7 (a) Z"+rest, task{Stat: Stat{PID: 7, PPID: 1, Start: 4711, Comm: "a", RSS: 5, Ended: true}, threads: 3})
	_, err := parseTask([]byte("7 (a) S" + strings.Replace(rest, " 3 0 4711", " x 0 4711", 1)))
	require.ErrorIs(t, err, ErrMalformed)
	_, err = parseTask([]byte("7 (a) S 1"))
	require.ErrorIs(t, err, ErrMalformed)
}

func TestParseLevel(t *testing.T) {
	require.Equal(t, 2, parseLevel([]byte("Name:\tx\nNSpid:\t900\t12\t1\n")))
	require.Equal(t, 0, parseLevel([]byte("NSpid:\t900\n")))
	require.Equal(t, 0, parseLevel([]byte("Name:\tNSpid:\t1\t1\n")))
}

// What parseCgroups gives is a path that stands at the end of a line.
func FuzzParseCgroups(f *testing.F) {
	f.Add([]byte("9:name=systemd:/x\n4:memory:/docker/abc\n0::/\n"))
	f.Add([]byte("4:hugetlb,memory:/a:b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		unified, memory := parseCgroups(b)
		for _, p := range [][]byte{unified, memory} {
			if p != nil && (p[0] != '/' || !bytes.Contains(append(b, '\n'), append(append([]byte(":"), p...), '\n'))) {
				t.Fatalf("%q gives %q", b, p)
			}
		}
	})
}

func FuzzParseTask(f *testing.F) {
	f.Add([]byte("7 (a) Z 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 3 0 4711 0 5"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseTask(b)
		if err != nil && (!errors.Is(err, ErrMalformed) || got != (task{})) || got.threads < 0 {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

// nobody is a number that no process has: pid_max is at most 2^22
// (PID_MAX_LIMIT in include/linux/threads.h).
const nobody = 1<<22 + 7

// deaf is a connector without a socket; what it tells is appended to the result.
func deaf() (*Connector, *[]ProcessEvent) {
	var told []ProcessEvent
	o := ConnectorOptions{Roots: hostfs.NewRoots("/"), Handle: func(e *Event) { told = append(told, e.Process) }}
	return &Connector{o: o, budget: newBudget(0), look: newLook(o), processes: map[int]known{}, unfinished: map[int]connectorMessage{}}, &told
}

// A process that had gone before anybody looked has the cgroups of its parent,
// and what was not read is not made up.
func TestGoneBeforeItWasRead(t *testing.T) {
	c, told := deaf()
	docker := group{id: 5, path: "/docker/abc"}
	c.processes[nobody] = known{start: 7, memory: docker, unified: group{id: 6, path: "/u"}, comm: "sh", vpid: 3, level: 1}
	at := 20 * time.Second
	c.forked(connectorMessage{pid: nobody + 1, tid: nobody + 1, ppid: nobody, at: at})
	c.executed(connectorMessage{pid: nobody + 1, tid: nobody + 1, at: at})
	c.firstThreadEnded(connectorMessage{pid: nobody + 1, tid: nobody + 1, at: at, status: 9})
	want := ProcessEvent{PID: nobody + 1, PPID: nobody, Start: 2000, Memory: 5, Unified: 6, Comm: []byte("sh"), Leaf: []byte("abc")}
	require.Equal(t, want, (*told)[0])
	want.Comm, want.Program = []byte{}, []byte{}
	(*told)[1].Program = append([]byte{}, (*told)[1].Program...)
	require.Equal(t, want, (*told)[1])
	want.Program, want.Exit.Status = nil, syscall.WaitStatus(9)
	require.Equal(t, want, (*told)[2])
	require.Len(t, c.processes, 1, "the ended one is forgotten")
	require.EqualValues(t, 2, c.Unread())

	c.forked(connectorMessage{pid: nobody + 2, tid: nobody + 2, ppid: nobody + 3, at: at})
	require.Zero(t, (*told)[3].Memory, "nothing is known of its parent")
	require.Zero(t, (*told)[3].Unified)
}

// The number may belong to a later process by the time it is looked at.
func TestNumberOfALaterProcess(t *testing.T) {
	c, told := deaf()
	c.processes[os.Getpid()] = known{start: 1, memory: group{id: 5}, comm: "old"}
	c.firstThreadEnded(connectorMessage{pid: os.Getpid(), tid: os.Getpid(), status: 256})
	require.Len(t, *told, 1)
	require.Equal(t, "old", string((*told)[0].Comm))
	require.EqualValues(t, 5, (*told)[0].Memory)

	c.firstThreadEnded(connectorMessage{pid: os.Getpid(), tid: os.Getpid(), at: clock(unix.CLOCK_BOOTTIME)})
	require.Len(t, *told, 1)

	cmd := exec.Command("sleep", "600") // one thread, which has taken the place of the first
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c.unfinished = map[int]connectorMessage{}
	c.firstThreadEnded(connectorMessage{pid: cmd.Process.Pid, tid: cmd.Process.Pid, at: clock(unix.CLOCK_BOOTTIME)})
	require.Len(t, *told, 1, "it lives")
	require.Empty(t, c.unfinished)
}

// The kernel's refusal is an error, as long as somebody listens: else it does
// not answer.
func TestConnectorAnswer(t *testing.T) {
	testkit.NeedRoot(t)
	listener, err := OpenConnector(ConnectorOptions{Roots: hostfs.NewRoots("/"), Handle: func(*Event) {}})
	if errors.Is(err, hostfs.ErrNotSupported) {
		testkit.Lack(t, testkit.Feature{Name: "proc connector"}, err)
	}
	require.NoError(t, err)
	defer listener.Close()
	conn, err := netlink.Dial(unix.NETLINK_CONNECTOR, nil)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.JoinGroup(connectorIndex))
	c := &Connector{conn: conn}
	const noOperation = 99
	require.NoError(t, c.request(noOperation, 7))
	require.ErrorIs(t, c.awaitAnswer(8), unix.EINVAL)
	require.NoError(t, c.request(noOperation, 7))
	require.ErrorIs(t, c.awaitAnswer(9), errNoAnswer, "that is the answer to somebody else")
}

// What is remembered of a process whose end was lost is not put down to the
// next one with its number.
func TestEndThatWasLost(t *testing.T) {
	c, _ := deaf()
	now := clock(unix.CLOCK_BOOTTIME)
	self, err := c.look.task(os.Getpid())
	require.NoError(t, err)
	old := known{start: self.Start - 2, vpid: 77, memory: group{id: 5, path: "/old"}}
	p, err := c.look.process(os.Getpid(), now, old)
	require.NoError(t, err)
	require.Equal(t, self.Start, p.start)
	require.NotEqual(t, 77, p.vpid)
	require.Zero(t, p.memory.id)

	old.start = self.Start + 1 // told with the time of the fork
	p, err = c.look.process(os.Getpid(), now, old)
	require.NoError(t, err)
	require.Equal(t, self.Start+1, p.start)
	require.Equal(t, 77, p.vpid)
}

// What nobody has waited for is in the root of every v1 hierarchy, says the
// kernel. It is not believed.
func TestCgroupOfTheEnded(t *testing.T) {
	testkit.NeedCgroup(t, "memory")
	g := testkit.Cgroup(t, "connector-zombie")
	cmd := testkit.Run(t, g, "sleep", "600")
	pid := cmd.Process.Pid
	c, _ := deaf()
	c.look.o.MemoryDir = func(string) string { return "/" }
	require.NoError(t, cmd.Process.Kill())
	testkit.Eventually(t, 30*time.Second, func() error {
		if task, err := c.look.task(pid); err != nil || !task.Ended {
			return fmt.Errorf("not ended: %w", err)
		}
		return nil
	})
	before := known{memory: group{id: 5, path: "/before"}}
	p, err := c.look.process(pid, clock(unix.CLOCK_BOOTTIME), before)
	require.NoError(t, err)
	_, memory, err := c.look.cgroups(pid)
	require.NoError(t, err)
	if memory != nil { // there is a v1 hierarchy
		require.Equal(t, "/", string(memory))
		require.Equal(t, before.memory, p.memory)
	}
}

func TestTableIsBounded(t *testing.T) {
	c, _ := deaf()
	for pid := range maxKnown + 3 {
		c.remember(pid, known{})
	}
	c.remember(0, known{comm: "again"})
	require.Len(t, c.processes, maxKnown)
	require.EqualValues(t, 3, c.Stats().Dropped["connector_table"])
	require.Equal(t, "again", c.processes[0].comm)
}

// A cgroup is asked for again when the path is another than before, and not
// known if it cannot be reached.
func TestResolve(t *testing.T) {
	dir := t.TempDir()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(dir, &st))
	before := group{id: 5, path: "/a"}
	f := func(path string, want group) {
		t.Helper()
		require.Equal(t, want, resolve([]byte(path), before, func(path string) string { return dir + path[2:] }))
	}
	f("/a", before)
	f("/a (deleted)", before)
	f("/b (deleted)", before)
	f("/b", group{id: st.Ino, path: "/b"})
	f("/b/gone", group{})
	f("", group{})
	require.Equal(t, group{}, resolve([]byte("/b"), before, nil))
	require.Equal(t, group{}, resolve([]byte("/b"), before, func(string) string { return "." }))
}

func TestExplainConnector(t *testing.T) {
	f := func(cause error, want string) {
		t.Helper()
		err := explainConnector(cause)
		var missing *hostfs.NotSupportedError
		require.ErrorAs(t, err, &missing)
		require.ErrorIs(t, err, cause)
		require.Contains(t, missing.Remedy, want)
	}
	f(unix.EPERM, "CAP_NET_ADMIN")
	f(unix.ECONNREFUSED, "network namespace")
	f(unix.EPROTONOSUPPORT, "CONFIG_CONNECTOR")
	require.NotErrorIs(t, explainConnector(unix.EMFILE), hostfs.ErrNotSupported)

	require.Contains(t, whyNoAnswer("user:[4026532000]", "pid:[4026532001]"), "user namespace")
	require.Contains(t, whyNoAnswer(firstUserNS, "pid:[4026532001]"), "pid namespace")
	require.Contains(t, whyNoAnswer(firstUserNS, firstPIDNS), "CONFIG_PROC_EVENTS")
}
