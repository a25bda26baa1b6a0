package watch

import (
	"bytes"
	"cmp"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/discovery/technology"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

const (
	// maxProcesses are looked at in one container, the oldest first: what
	// serves is among them, the rest are workers of the same kind.
	maxProcesses = 64
	// maxWords is as much of a command line as is looked at: the class of a
	// Java program stands behind a class path of kilobytes.
	maxWords = 16 << 10
	// settling is when a command line is read for the second and last time: a
	// program may call itself otherwise soon after its start.
	settling = 5 * time.Second
)

// found is what a look has found. Owners, sockets and commands are kept from look to
// look.
type found struct {
	processes []technology.Process
	commands  map[int]command
	at        int    // the process whose network is looked at
	netns     uint64 // its inode; 0 if unknown
	isHost    bool
	// isPlaced: it is known whether the network is the host's.
	isPlaced  bool
	isShared  bool         // others are in it, as the kernel says
	addresses []netip.Addr // of the network, where nobody else says any
	sockets   []socket     // of the network
	listening []target.Listener
	owners    map[uint64]int // the process by the inode of its socket; 0: none of these
}

// command is what a process runs. It is another one when any of start, executable and
// comm is.
type command struct {
	start            uint64
	executable, comm string
	// words are what technology.Telling leaves of the command line.
	words []string
	// since is when the words were read, zero if they have not been; isSettled: they
	// were read again since.
	since     time.Time
	isSettled bool
}

func (f *found) first() int {
	if len(f.processes) == 0 {
		return 0
	}
	return f.processes[0].PID
}

func (f *found) executables() []string {
	var names []string
	for _, p := range f.processes {
		if p.Executable != "" && !slices.Contains(names, p.Executable) {
			names = append(names, p.Executable)
		}
	}
	return names
}

func (f *found) nameOf(pid int) string {
	for _, p := range f.processes {
		if p.PID == pid {
			return p.Executable
		}
	}
	return ""
}

// processes reads who is there, and in which network namespace.
func (l *looker) processes(s *subject, pids []int, now time.Time) found {
	f := found{owners: s.found.owners, commands: map[int]command{}}
	for _, stat := range l.stats(s, pids) {
		if f.netns == 0 {
			f.at, f.netns = stat.PID, l.netns(stat.PID)
		}
		p := l.command(stat, s.found.commands[stat.PID], now)
		f.commands[stat.PID] = p
		f.processes = append(f.processes, technology.Process{PID: stat.PID, Executable: p.executable, Comm: p.comm, Words: p.words})
	}
	if f.netns == 0 {
		f.at = f.first()
	}
	if f.netns == s.found.netns && (f.netns != 0 || f.at == s.found.at) {
		f.sockets = s.found.sockets
	}
	f.place(l.hosts())
	f.forgetNobody(s.found.commands)
	return f
}

// stats are the processes that run, the first one first.
func (l *looker) stats(s *subject, pids []int) []procstream.Stat {
	var all []procstream.Stat
	for _, pid := range pids {
		stat, err := l.proc.Stat(pid)
		l.note(err)
		if err == nil && !stat.Ended {
			all = append(all, stat)
		}
	}
	slices.SortFunc(all, func(a, b procstream.Stat) int {
		return cmp.Or(cmp.Compare(order(a.PID, s.pid), order(b.PID, s.pid)), cmp.Compare(a.Start, b.Start), cmp.Compare(a.PID, b.PID))
	})
	if len(all) > maxProcesses {
		l.beyond.Processes += uint64(len(all) - maxProcesses)
		all = all[:maxProcesses]
	}
	return all
}

// order puts the first process of a container first.
func order(pid, first int) int {
	if pid == first {
		return 0
	}
	return 1
}

// command is what a process runs. Its words are read as seldom as can be:
// that waits for the process' own memory lock, which in a stall nobody gives back.
func (l *looker) command(stat procstream.Stat, before command, now time.Time) command {
	p := command{start: stat.Start, comm: stat.Comm}
	if link, err := os.Readlink(l.path(stat.PID, "exe")); err == nil {
		p.executable = filepath.Base(strings.TrimSuffix(link, " (deleted)"))
	}
	isSame := before.start == p.start && before.comm == p.comm && before.executable == p.executable
	switch {
	case !isSame, before.since.IsZero():
		p.words, p.since = l.words(stat.PID), now
		return p
	case !before.isSettled && now.Sub(before.since) >= settling:
		before.words, before.isSettled = l.words(stat.PID), true
	}
	return before
}

// words is what a command line tells: what it may hold beyond that is forgotten here.
func (l *looker) words(pid int) []string {
	b, err := l.commandLine(pid)
	if err != nil {
		l.note(err)
		return nil
	}
	if len(b) == maxWords {
		b = b[:bytes.LastIndexByte(b, 0)+1] // not the word that is cut
	}
	text := strings.TrimRight(string(b), "\x00")
	if text == "" {
		return nil
	}
	return technology.Telling(strings.Split(text, "\x00"))
}

// commandLine reads the beginning at once; the result is valid until the next call.
func (l *looker) commandLine(pid int) ([]byte, error) {
	fd, err := unix.Open(l.path(pid, "cmdline"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, gone(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if l.line == nil {
		l.line = make([]byte, maxWords)
	}
	n, err := unix.Pread(fd, l.line, 0)
	if err != nil {
		return nil, gone(err)
	}
	return l.line[:n], nil
}

func gone(err error) error {
	if isGone(err) {
		return hostfs.ErrGone
	}
	return err
}

func (l *looker) netns(pid int) uint64 {
	dir, err := hostfs.OpenDir(l.path(pid, ""))
	if err != nil {
		return 0
	}
	defer dir.Close()
	inode, err := dir.Inode("ns/net")
	l.note(err)
	if err != nil {
		return 0
	}
	return inode
}

// isStill tells whether what was read of a process between two looks was its own: its
// number may have become another's, and it may have moved.
func (l *looker) isStill(f *found, pid int) bool {
	stat, err := l.proc.Stat(pid)
	return err == nil && stat.Start == f.commands[pid].start && (f.netns == 0 || l.netns(pid) == f.netns)
}

// place tells whether the network is the host's, by the namespaces of the first process
// of the host (0: may not be asked) and of our own.
func (f *found) place(first, own uint64) {
	f.isHost = f.netns != 0 && (f.netns == first || f.netns == own)
	f.isPlaced = f.isHost || f.netns != 0 && first != 0
}

// hosts are the host's network namespace and our own: what is in there is reached
// over the loopback, and its sockets are not one container's.
func (l *looker) hosts() (first, own uint64) {
	if l.hostNetns == nil {
		self, err := inodeOf(os.Stat("/proc/thread-self/ns/net")) // of self, it is that of the first thread, which may be elsewhere
		l.note(err)
		first := l.netns(1)
		if first == 0 && isInitial() {
			first = self
		}
		l.hostNetns = &[2]uint64{first, self}
	}
	return l.hostNetns[0], l.hostNetns[1]
}

// isInitial tells whether our own network namespace is the one that the kernel began
// with: no other has this file (net/core/sysctl_net_core.c, net_core_table).
func isInitial() bool {
	_, err := os.Stat("/proc/sys/net/core/dev_weight")
	return err == nil
}

// descendants are the first process of a container and those below it; none if what
// has its number here is not the container's. An engine's numbers are those of its own
// pid namespace, which need not be ours.
func (l *looker) descendants(s *subject) []int {
	if s.pid == 0 || !l.isOf(s.pid, s.id) {
		return nil
	}
	all := []int{s.pid}
	for n := 0; n < len(all) && n < maxProcesses; n++ {
		tasks, err := os.ReadDir(l.path(all[n], "task"))
		if err != nil {
			continue // it has gone
		}
		for _, task := range tasks {
			b, err := hostfs.ReadFile(l.path(all[n], "task/"+task.Name()+"/children"), l.buf)
			l.note(err)
			for word := range bytes.FieldsSeq(b) {
				if child, err := strconv.Atoi(string(word)); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// isOf tells whether a process is a container's: engines name its cgroup by its id.
func (l *looker) isOf(pid int, id string) bool {
	b, err := hostfs.ReadFile(l.path(pid, "cgroup"), l.buf)
	l.note(err)
	l.buf = b
	return err == nil && bytes.Contains(b, []byte(id))
}

// areElsewhere tells whether a cgroup.procs has processes, none of which are in our pid
// namespace: cgroup v2 writes 0 for those.
func (l *looker) areElsewhere(procsFile string) bool {
	b, err := hostfs.ReadFile(procsFile, l.buf)
	l.note(err)
	l.buf = b
	return err == nil && bytes.HasPrefix(b, []byte("0\n"))
}
