package netns

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Options are what a [Tracker] needs to know.
type Options struct {
	Roots hostfs.Roots
	// Index knows the containers; nil: only the host is looked at.
	Index *container.Index
	// ProcsFile is the path of a cgroup's cgroup.procs; needed with Index.
	ProcsFile func(cgroupPath string) string
	// CPUTime is the processor time that a cgroup has used, for [Tracker.Activity]; nil
	// where nobody asks for that.
	CPUTime func(cgroupPath string) (time.Duration, bool)
	// Boot is when the host booted: the start of its counters.
	Boot time.Time
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Tracker finds namespaces with Refresh and reads them with Read.
type Tracker struct {
	o          Options
	proc       *procstream.Reader
	links      links
	maxMembers int

	members map[string]*member // by cgroup path
	byInode map[uint64]*Namespace
	order   []*Namespace // in the order they were found
	host    *Namespace
	hostDir *hostfs.Dir
	number  uint64 // of the current Refresh
	scratch []byte
	pids    []int

	mu    sync.Mutex // guards stats
	stats Stats
}

// Stats is what a [Tracker] found and did so far.
type Stats struct {
	// Namespaces are known now, the host's among them; Members are the
	// containers in them.
	Namespaces, Members int
	// NoProcess and NoPermission are the containers whose namespace is
	// unknown now: no process of theirs can be seen, or asked.
	NoProcess, NoPermission int
	// Vanished counts namespaces that went while they were read.
	Vanished uint64
	// DroppedMembers counts containers beyond the limit, each at each
	// Refresh; DroppedInterfaces the interfaces, each at each read.
	DroppedMembers, DroppedInterfaces uint64
	// ReadErrors and ParseErrors are by file. Last is the last of them.
	ReadErrors, ParseErrors map[string]uint64
	Last                    error
}

const (
	// mostMembers bounds the containers looked at: one descriptor and about
	// 300 bytes each.
	mostMembers = 10_000
	// mostInterfaces bounds one namespace's interfaces: about 150 bytes each
	// here, and eight series each behind.
	mostInterfaces = 1024
	// mostCandidates bounds the processes asked for their age when the first
	// one of a container is looked for, 9 µs each.
	mostCandidates = 64
)

// NewTracker returns a tracker that knows nothing yet. Close it.
func NewTracker(o Options) *Tracker {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Tracker{
		o:          o,
		proc:       procstream.NewReader(o.Roots),
		links:      links{dir: filepath.Join(o.Roots.Sys, "class", "net")},
		maxMembers: affordable(mostMembers),
		members:    map[string]*member{},
		byInode:    map[uint64]*Namespace{},
		stats:      Stats{ReadErrors: map[string]uint64{}, ParseErrors: map[string]uint64{}},
	}
}

// affordable leaves three quarters of the descriptors to everybody else.
func affordable(wanted int) int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return wanted
	}
	return int(min(uint64(wanted), limit.Cur/4))
}

// Refresh looks where the containers' processes are now and returns the
// namespaces, the host's first. Namespaces without a container but the host's
// are not known.
func (t *Tracker) Refresh() []*Namespace {
	t.number++
	found := Stats{}
	t.findHost()
	t.findMembers(&found)
	for path, m := range t.members {
		if m.seen != t.number {
			m.close()
			delete(t.members, path)
			continue
		}
		if m.inode != 0 && m.inode != t.host.Inode {
			t.join(m)
		}
	}
	t.order = slices.DeleteFunc(t.order, func(n *Namespace) bool {
		if len(n.joined) == 0 {
			delete(t.byInode, n.Inode)
			return true
		}
		n.settle()
		found.Members += len(n.Members)
		return false
	})
	t.remember(func(s *Stats) {
		s.Namespaces, s.Members = len(t.order)+1, found.Members
		s.NoProcess, s.NoPermission = found.NoProcess, found.NoPermission
		s.DroppedMembers += found.DroppedMembers
	})
	return append([]*Namespace{t.host}, t.order...)
}

// findHost asks process 1 for the host's namespace.
func (t *Tracker) findHost() {
	if t.host == nil {
		t.host = &Namespace{Host: true, Start: t.o.Boot}
	}
	if t.hostDir == nil {
		dir, err := hostfs.OpenDir(filepath.Join(t.o.Roots.Proc, "1"))
		if err != nil {
			t.problem("1", err, nil)
			return
		}
		t.hostDir = dir
	}
	inode, err := t.hostDir.Inode(nsFile)
	switch {
	case err == nil:
		t.host.Inode = inode
	case errors.Is(err, hostfs.ErrGone):
		// The first process has gone only where it is not the host's: a
		// system container was restarted.
		t.hostDir.Close()
		t.hostDir = nil
	case errors.Is(err, fs.ErrPermission) && t.o.Roots.IsHost():
		t.host.Inode = t.ownInode()
	}
}

// ownInode is this process' own namespace. Who may not ask process 1 is a
// plain user, who runs where the host's processes do.
func (t *Tracker) ownInode() uint64 {
	dir, err := hostfs.OpenDir(filepath.Join(t.o.Roots.Proc, "self"))
	if err != nil {
		return 0
	}
	defer dir.Close()
	inode, err := dir.Inode(nsFile)
	if err != nil {
		return 0
	}
	return inode
}

// join puts a member into its namespace.
func (t *Tracker) join(m *member) {
	n := t.byInode[m.inode]
	if n == nil {
		n = &Namespace{Inode: m.inode}
		t.byInode[m.inode] = n
		t.order = append(t.order, n)
	}
	n.joined = append(n.joined, m)
}

// remember changes the figures under their lock.
func (t *Tracker) remember(f func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.stats)
}

// problem counts a file that could not be read, or parsed.
func (t *Tracker) problem(file string, readErr, parseErr error) {
	t.remember(func(s *Stats) {
		if readErr != nil {
			s.ReadErrors[file]++
			s.Last = readErr
		}
		if parseErr != nil {
			s.ParseErrors[file]++
			s.Last = parseErr
		}
	})
}

// Stats returns the figures so far. It is safe for concurrent use.
func (t *Tracker) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.ReadErrors, s.ParseErrors = maps.Clone(s.ReadErrors), maps.Clone(s.ParseErrors)
	return s
}

// Close gives all descriptors back.
func (t *Tracker) Close() {
	for _, m := range t.members {
		m.close()
	}
	t.hostDir.Close()
	t.members, t.byInode, t.order, t.hostDir = map[string]*member{}, map[uint64]*Namespace{}, nil, nil
}
