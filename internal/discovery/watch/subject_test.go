package watch

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A health check that starts a program each second does not have its container looked at
// without end: after some it has to wait for the usual look.
func TestHurries(t *testing.T) {
	begun := time.Now()
	s := &subject{group: &group{}}
	s.update(word{group: &group{inode: 1}}, begun)
	looks := func(from, to int) (n int) {
		for second := from; second < to; second++ {
			now := begun.Add(time.Duration(second) * time.Second)
			s.hurry(now)
			for !s.due.After(now.Add(time.Second)) {
				s.looked(s.due, every)
				n++
			}
		}
		return n
	}
	// 12 are usual, 4 come with the start and 4 at most with each hurry.
	if n := looks(1, 60); n < 12 || n > 12+4+4*maxHurries {
		t.Errorf("%d looks within a minute", n)
	}
	// The quiet one begins a budget anew.
	before := s.hurries
	if looks(120, 121); before != maxHurries || s.hurries != 1 {
		t.Errorf("%d hurries, then %d", before, s.hurries)
	}
	// Another process is another start, whatever was spent.
	s.hurries, s.counted = maxHurries, begun.Add(time.Hour)
	s.update(word{group: &group{inode: 2}}, begun.Add(time.Hour))
	if s.looked(s.due, every); s.due.Sub(begun) != time.Hour+early[0] {
		t.Errorf("due after %v", s.due.Sub(begun))
	}
}

func engineOf(t *testing.T, count int) *Watch {
	t.Helper()
	w, err := New(Options{Roots: hostfs.NewRoots("/"), Endpoint: docker.DefaultEndpoint, Changed: func([]*target.Target) {}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range count {
		c := vouched()
		c.ID, c.Name = fmt.Sprintf("%064x", n), fmt.Sprintf("c%d", n)
		w.engined[c.ID] = c
	}
	return w
}

// Those that are watched stay so, however many come beside them. Each that is refused
// counts once, and comes in when there is room.
func TestTooMany(t *testing.T) {
	w := engineOf(t, maxContainers+3)
	w.gather(time.Now())
	first := watched(w)
	for range 3 {
		w.gather(time.Now())
	}
	if again := watched(w); len(first) != maxContainers || !slices.Equal(first, again) {
		t.Errorf("%d were watched, and then others", len(first))
	}
	if s := w.Stats(); s.Containers != maxContainers || s.Beyond != (Beyond{Containers: 3}) {
		t.Errorf("%+v", s)
	}
	for _, id := range first[:2] {
		delete(w.engined, id)
	}
	w.gather(time.Now()) // they go
	w.gather(time.Now()) // others come
	if s := w.Stats(); s.Containers != maxContainers || s.Beyond.Containers != 3 || len(w.refused) != 1 {
		t.Errorf("%+v, refused %v", s, w.refused)
	}
}

func watched(w *Watch) []string {
	var all []string
	for id := range w.all {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

// Where the processes of a container are not to be seen, what the engine says of it is
// told, and that it is all. The engine's process number is somebody else's here.
func TestUnseen(t *testing.T) {
	w := engineOf(t, 1)
	c := w.engined[fmt.Sprintf("%064x", 0)]
	c.State.Pid, c.ImageRef, c.Labels = os.Getpid(), "redis:7", pairs{"prometheus.io/scrape": "true"}
	c.Ports = []docker.Port{{Number: 6379, Protocol: "tcp"}}
	now := time.Now()
	w.gather(now)
	for range patience {
		if got := w.all[c.ID].target; got != nil {
			t.Errorf("told at once: %+v", got)
		}
		w.round(now)
		now = w.all[c.ID].due
	}
	got := w.all[c.ID].target
	if got == nil {
		t.Fatal("not told of")
	}
	if err := reaches("10.0.0.2:6379")(got); err != nil || got.Labels["prometheus.io/scrape"] != "true" || len(got.Listening)+len(got.Executables) > 0 {
		t.Errorf("%v: %+v", err, got)
	}
	if len(got.Technologies) != 1 || got.Technologies[0].By != "image redis" {
		t.Errorf("%+v", got.Technologies)
	}
	if s := w.Stats(); s.Unseen != 1 || s.Blind != 0 || s.Containers != 1 {
		t.Errorf("%+v", s)
	}
	// One that had a process is ending.
	w.all[c.ID].isSeen = true
	w.round(now.Add(time.Hour))
	if got := w.all[c.ID].target; got != nil || w.Stats().Unseen != 0 {
		t.Errorf("at its end: %+v", got)
	}
}

// looked is a subject that is this process, after a look that found a socket of its own.
func looked(t *testing.T) (*looker, *subject, func() error) {
	t.Helper()
	port := freePort(t)
	process := testkit.Run(t, testkit.Cgroup(t, "watch-looked"), "env", listenEnv+"=tcp4:127.0.0.1:"+port, program(t, "app"))
	l, s := newLooker(hostfs.NewRoots("/")), &subject{id: "c"}
	again := func() error {
		l.begin()
		s.found = l.processes(s, []int{process.Process.Pid}, time.Now())
		l.look(s, false)
		return listens("tcp 127.0.0.1:" + port + " app")(s.target)
	}
	testkit.Eventually(t, within, again)
	return l, s, again
}

// What cannot be read has not ended: its sockets are those of the last look.
func TestTableLost(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "env")
	l, _, again := looked(t)
	l.namespaces = newNamespaces(t.TempDir())
	if err := again(); err != nil {
		t.Error(err)
	}
}

// A number that has become another process' tells nothing: all stays as it was.
func TestProcessReplaced(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "env")
	l, s, again := looked(t)
	before := s.target
	for name, change := range map[string]func(f *found){
		"start":     func(f *found) { f.commands[f.at] = command{start: 1} },
		"namespace": func(f *found) { f.netns++ },
	} {
		s.found = l.processes(s, []int{before.PID}, time.Now())
		change(&s.found)
		vanished := l.vanished
		if l.look(s, false); s.target != before || l.vanished != vanished+1 {
			t.Errorf("another %s: %+v", name, s.target)
		}
	}
	if err := again(); err != nil {
		t.Error(err)
	}
}

// A command line is read when a program starts and once soon after that.
func TestCommandLineIsReadTwice(t *testing.T) {
	l := newLooker(hostfs.NewRoots("/"))
	stat, err := l.proc.Stat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	first := l.command(stat, command{}, now)
	if len(first.words) == 0 {
		t.Fatal("no words")
	}
	f := func(name string, at time.Time, change func(*command), isRead bool) command {
		t.Helper()
		before := first
		before.words = []string{"kept"}
		change(&before)
		got := l.command(stat, before, at)
		if slices.Equal(got.words, before.words) == isRead {
			t.Errorf("%s: words are %q", name, got.words)
		}
		return got
	}
	same := func(*command) {}
	f("the same", now.Add(settling/2), same, false)
	if again := f("settled", now.Add(settling), same, true); !again.isSettled {
		t.Error("and again and again")
	}
	f("since then", now.Add(time.Hour), func(c *command) { c.isSettled = true }, false)
	f("another process", now, func(c *command) { c.start++ }, true)
	f("another program", now, func(c *command) { c.executable = "x" }, true)
	f("another name", now, func(c *command) { c.comm = "x" }, true)
}

// Of a long command line the beginning is read, and of that no word that is cut.
func TestLongCommandLine(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "sh")
	process := testkit.Run(t, testkit.Cgroup(t, "watch-long"), "sh", "-c", "sleep 1000; :", strings.Repeat("x", 3*maxWords))
	l := newLooker(hostfs.NewRoots("/"))
	testkit.Eventually(t, within, func() error {
		if b, err := l.commandLine(process.Process.Pid); err != nil || len(b) != maxWords {
			return fmt.Errorf("%d bytes: %w", len(b), err)
		}
		return nil
	})
	if got := l.words(process.Process.Pid); !slices.Equal(got, []string{"?", "-c", "?"}) {
		t.Errorf("%q", got)
	}
}

// Of too many sockets those with the lowest ports are told, of the container's own ones.
func TestTooManySockets(t *testing.T) {
	l, s := newLooker(hostfs.NewRoots("/")), &subject{id: "c"}
	s.found.isPlaced, s.found.netns = true, 1
	var sockets []socket
	for port := 2000 + maxSockets + 4; port >= 2000; port-- {
		sockets = append(sockets, socket{addr: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)), protocol: target.TCP, inode: uint64(port)})
	}
	if l.listen(&s.found, sockets, false); len(s.found.listening) > 0 {
		t.Errorf("%d are others'", len(s.found.listening))
	}
	l.listen(&s.found, sockets, true)
	got := l.describe(s).Listening
	if len(got) != maxSockets || got[0].Addr.Port() != 2000 || got[maxSockets-1].Addr.Port() != 2000+maxSockets-1 || l.beyond != (Beyond{Sockets: 5}) {
		t.Errorf("%d from %v", len(got), got[0])
	}
}

// Who has joined another's network has its addresses.
func TestJoined(t *testing.T) {
	w := engineOf(t, 4)
	all := make([]*docker.Container, 4)
	for n := range all {
		all[n] = w.engined[fmt.Sprintf("%064x", n)]
	}
	all[1].NetworkMode, all[1].Networks = "container:"+all[0].ID, nil
	all[2].NetworkMode, all[2].Networks = "container:c0", nil
	all[3].NetworkMode, all[3].Networks = "container:nobody", nil
	all[0].Networks[0].Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.7")}
	w.gather(time.Now())
	want := []string{"[{bridge 10.0.0.7}] true", "[{bridge 10.0.0.7}] false", "[{bridge 10.0.0.7}] false", "[] false"}
	for n, c := range all {
		s := w.all[c.ID]
		if got := fmt.Sprint(s.describe().Addresses, s.isJoined); got != want[n] || s.isVouched() != (n == 0) {
			t.Errorf("container %d: %s, want %s", n, got, want[n])
		}
	}
}

// Who is alone in its network, the sandbox of its pod aside, is told apart from who
// shares it: of what is announced there nobody knows whose it is.
func TestCompany(t *testing.T) {
	w := engineOf(t, 7)
	id := func(n int) string { return fmt.Sprintf("%064x", n) }
	join := func(n int, ref string) {
		w.engined[id(n)].NetworkMode, w.engined[id(n)].Networks = "container:"+ref, nil
	}
	sandbox := pairs{"io.kubernetes.container.name": "POD"}
	join(1, id(0)) // beside 0
	w.engined[id(2)].Labels = sandbox
	join(3, id(2)) // alone in a pod
	w.engined[id(4)].Labels = sandbox
	join(5, id(4)) // one of two in a pod
	join(6, id(4))
	f := func(n int, want bool) {
		t.Helper()
		w.gather(time.Now())
		if got := w.all[id(n)].describe().SharedNetwork; got != want {
			t.Errorf("container %d: shared %v, want %v", n, got, want)
		}
	}
	f(0, true)
	f(1, true)
	f(3, false)
	f(5, true)
	f(6, true)
	delete(w.engined, id(1))
	f(0, false)
	join(3, "nobody")
	f(3, true)
	// The kernel may tell of company that no engine knows of.
	w.all[id(0)].found.isShared = true
	f(0, true)
	w.all[id(0)].found.isHost = true
	f(0, false)
}

// In these networks the addresses inside mean nothing outside, or something else, or are
// the container's own choice.
func TestTunnelled(t *testing.T) {
	f := func(mode string, want bool) {
		t.Helper()
		s := &subject{engine: &docker.Container{NetworkMode: mode}}
		if s.needsAddresses() != want {
			t.Errorf("%s: kernel is asked: %v", mode, !want)
		}
	}
	f("slirp4netns", false)
	f("pasta:--no-tcp", false)
	f("host", false)
	f("none", false) // what it has then it has made itself
	f("container:other", true)
	f("", true)
}

// Which namespace is the host's is known if the host's first process may be asked, or if
// it is our own.
func TestPlace(t *testing.T) {
	f := func(netns, first, own uint64, want string) {
		t.Helper()
		one, got := found{netns: netns}, "unknown"
		switch one.place(first, own); {
		case one.isHost && one.isPlaced:
			got = "host"
		case one.isPlaced:
			got = "other"
		}
		if got != want {
			t.Errorf("%d of %d and %d: %s, want %s", netns, first, own, got, want)
		}
	}
	f(7, 1, 2, "other")
	f(1, 1, 2, "host")
	f(2, 1, 2, "host")
	f(7, 0, 2, "unknown") // it may be the host's
	f(2, 0, 2, "host")
	f(0, 1, 2, "unknown")
	f(0, 0, 2, "unknown")
}

// Processes of other pid namespaces stand as 0 in cgroup.procs of cgroup v2.
func TestElsewhere(t *testing.T) {
	l := newLooker(hostfs.NewRoots("/"))
	path := filepath.Join(t.TempDir(), "cgroup.procs")
	for text, want := range map[string]bool{"0\n0\n": true, "": false, "10\n": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l.areElsewhere(path) != want {
			t.Errorf("%q", text)
		}
	}
}
