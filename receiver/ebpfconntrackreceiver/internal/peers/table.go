package peers

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/netns"
)

// Options are what a [Table] needs to know.
type Options struct {
	// Groups are added to [DefaultGroups]; the longest prefix wins.
	Groups []NamedGroup
	// Interval is how often all addresses are read; 0 is 10 seconds.
	Interval time.Duration
	// Grace is how long an address that has gone is still answered; 0 is two
	// minutes: the kernel forgets a translated connection 120 seconds after its
	// end, and nothing is asked after that.
	Grace time.Duration
	// Listener tells which container listens at a port in a namespace (its
	// inode), if that is known. It is asked in Lookup: it must not wait, and be
	// safe for concurrent use. May be nil.
	Listener func(namespace uint64, port uint16) (container string, ok bool)
	// Refreshed is called by Run after each refresh, with all namespaces, for who
	// has to visit them too. It returns how soon it wants to be called again, at the
	// latest. May be nil.
	Refreshed func(all []*netns.Namespace, open Opener) time.Duration
	// Activity tells whether anything may have happened in a namespace: while it stays
	// the same, and so do the host's interfaces, not more than one in six readings is
	// made. It is asked by the goroutine that refreshes; nil reads all.
	Activity func(*netns.Namespace) netns.Activity
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

const (
	defaultInterval = 10 * time.Second
	defaultGrace    = 2 * time.Minute
	// settleFor is how long a new namespace is read at each Refresh, and
	// settleEvery how often there is one meanwhile: a runtime makes the
	// namespace first and gives it an address some 100 ms later.
	settleFor   = 5 * time.Second
	settleEvery = 500 * time.Millisecond
	// minPause is between two refreshes, however often Poke is called.
	minPause = 50 * time.Millisecond

	// maxAddresses and maxLinks bound one namespace: 40 and 60 bytes each. A host
	// with 10,000 containers has as many ends of pairs.
	maxAddresses = 16_384
	maxLinks     = 16_384
	// maxGone bounds the addresses that have gone, about 100 bytes each.
	maxGone = 10_000
	// maxParents bounds the namespaces that have bridges: the host, and containers
	// with containers inside.
	maxParents = 64
)

// Opener opens a namespace, as [netns.Tracker.Open] does.
type Opener func(*netns.Namespace) (*os.File, error)

// Stats is what a [Table] has and did.
type Stats struct {
	// Namespaces, Addresses and Gone are known now: the last are addresses whose
	// grace period is not over.
	Namespaces, Addresses, Gone int
	// Refreshes and Reads count refreshes and the namespaces that were read.
	Refreshes, Reads uint64
	// ReadErrors counts namespaces that could not be read, each time; Last is the
	// last reason. One that has gone is no error.
	ReadErrors uint64
	Last       error
	// DroppedGone counts addresses that were forgotten before their grace period
	// was over, because there were too many; DroppedParents the namespaces with
	// bridges whose links are unknown for the same reason, at each Refresh.
	DroppedGone, DroppedParents uint64
	// DroppedAddresses and DroppedLinks count the addresses and the interfaces that a
	// namespace has beyond the 16,384 that are kept of each, each time it is read.
	DroppedAddresses, DroppedLinks uint64
}

// Table answers who is at an address.
type Table struct {
	o        Options
	groups   *groups
	snapshot atomic.Pointer[snapshot]
	poke     chan struct{}
	own      uint64 // inode of this process' namespace, 0 if not known

	// What follows belongs to the goroutine that refreshes.
	spaces map[uint64]*space // by inode
	gone   []departed        // in order of their going
	number uint64            // of the current Refresh
	// plugged is when an interface of the host was last seen to come, go or move:
	// nobody gets another interface without that, but by one that is made for it
	// elsewhere.
	plugged time.Time

	mu    sync.Mutex // guards stats
	stats Stats
}

// space is a namespace.
type space struct {
	ns        *netns.Namespace // of the last Refresh
	inode     uint64
	members   []string // ids of all containers in it, sandboxes too
	view      *view
	links     []link
	addresses []address
	// segments are by index of the interface.
	segments map[uint32]segment
	// nsids are the numbers that parents have for it, by their inode.
	nsids map[uint64]int32

	// readAt is the last reading, lookedAt that or one that was left out since.
	firstSeen, readAt, lookedAt time.Time
	activity                    netns.Activity // from before the last reading
	skipped                     int            // in a row, see isQuiet
	seen                        uint64         // number of the Refresh that found it
	isFresh                     bool           // it was read in this one
}

// departed is an address that has gone.
type departed struct {
	addr   netip.Addr
	holder holder
	at     time.Time
}

// New returns a table that knows nobody, but the groups.
func New(o Options) (*Table, error) {
	g, err := newGroups(o.Groups)
	if err != nil {
		return nil, err
	}
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Table{o: o, groups: g, poke: make(chan struct{}, 1), own: ownInode(), spaces: map[uint64]*space{}}
	t.snapshot.Store(&snapshot{})
	return t, nil
}

// ownInode is the number of this process' namespace, which is the same in any procfs.
func ownInode() uint64 {
	var own unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &own); err != nil {
		return 0 // then it is entered as any other
	}
	return own.Ino
}

// Run refreshes until the context ends: at every interval, soon after Poke, and
// more often while a namespace is new. The tracker is Run's alone meanwhile.
func (t *Table) Run(ctx context.Context, tracker *netns.Tracker) {
	for {
		wait := t.o.Interval
		all := tracker.Refresh()
		if t.Refresh(all, tracker.Open) {
			wait = min(wait, settleEvery)
		}
		if t.o.Refreshed != nil {
			wait = min(wait, t.o.Refreshed(all, tracker.Open))
		}
		if !t.rest(ctx, wait) {
			return
		}
	}
}

// rest waits for the next refresh. It is false when the context has ended.
func (t *Table) rest(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(minPause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	}
	timer.Reset(max(0, wait-minPause))
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-t.poke:
	}
	return true
}

// Poke asks Run for a refresh, because a namespace may have appeared. It never
// waits, and is safe for concurrent use.
func (t *Table) Poke() {
	select {
	case t.poke <- struct{}{}:
	default:
	}
}

// Refresh takes the namespaces there are now, reads those that are due and makes
// a new snapshot. It is true while one of them is new: its addresses may be still
// to come.
func (t *Table) Refresh(all []*netns.Namespace, open Opener) (isSettling bool) {
	now := t.o.Now()
	t.number++
	for _, n := range all {
		if n.Inode == 0 {
			continue
		}
		s := t.note(n, now)
		isNew := now.Sub(s.firstSeen) < settleFor
		isSettling = isSettling || isNew && !n.Host
		isDue := now.Sub(s.lookedAt) >= t.o.Interval
		if isNew || n.Host || n.Changed || isDue && !t.isQuiet(s, now) {
			t.read(s, open, now)
		}
	}
	for inode, s := range t.spaces {
		if s.seen != t.number {
			t.bury(s, s.addresses, now)
			delete(t.spaces, inode)
		}
	}
	t.connect(open)
	t.publish(now)
	return isSettling
}

// note finds or makes the space of a namespace.
func (t *Table) note(n *netns.Namespace, now time.Time) *space {
	s := t.spaces[n.Inode]
	if s != nil && n.Changed && !s.isOf(n) {
		t.bury(s, s.addresses, now)
		s = nil
	}
	if s == nil {
		s = &space{inode: n.Inode, firstSeen: now, nsids: map[uint64]int32{}, segments: map[uint32]segment{}}
		s.skipped = len(t.spaces) % (maxSkipped + 1) // not all of them in the same Refresh
		t.spaces[n.Inode] = s
	}
	s.ns, s.seen, s.isFresh = n, t.number, false
	if s.view == nil || n.Changed {
		s.view, s.members = newView(n), s.members[:0]
		for _, m := range n.Members {
			s.members = append(s.members, m.Cgroup.ID)
		}
	}
	return s
}

// isOf tells whether a namespace is the one that the space was made for. The kernel
// gives the number of one that has gone to the next that is made: without anybody
// who was there before it is another.
func (s *space) isOf(n *netns.Namespace) bool {
	return n.Host || slices.ContainsFunc(n.Members, func(m netns.Member) bool {
		return slices.Contains(s.members, m.Cgroup.ID)
	})
}

// read asks a namespace for its addresses and interfaces. What was known stays if
// it cannot be read.
func (t *Table) read(s *space, open Opener, now time.Time) {
	s.activity = netns.Activity{} // until it has been read
	before := t.activityOf(s.ns)
	found, err := t.readSpace(s.ns, open)
	if err != nil {
		if !errors.Is(err, hostfs.ErrGone) {
			t.remember(func(stats *Stats) { stats.ReadErrors++; stats.Last = err })
		}
		return
	}
	t.remember(func(stats *Stats) {
		stats.Reads++
		stats.DroppedLinks += uint64(found.overLinks)
		stats.DroppedAddresses += uint64(found.overAddresses)
	})
	var missing []address
	have := make(map[netip.Addr]struct{}, len(found.addresses))
	for _, a := range found.addresses {
		have[a.prefix.Addr()] = struct{}{}
	}
	for _, a := range s.addresses {
		if _, isThere := have[a.prefix.Addr()]; !isThere {
			missing = append(missing, a)
		}
	}
	t.bury(s, missing, now)
	if s.ns.Host && !slices.Equal(s.links, found.links) {
		t.plugged = now
	}
	s.links, s.addresses, s.readAt, s.isFresh = found.links, found.addresses, now, true
	s.lookedAt, s.activity = now, before
}

func (t *Table) readSpace(n *netns.Namespace, open Opener) (reading, error) {
	r, err := t.enter(n, open)
	if err != nil {
		return reading{}, err
	}
	defer r.close()
	return r.read()
}

// enter asks a namespace. That of this process is not entered: who has no right to
// enter any is in it all the same.
func (t *Table) enter(n *netns.Namespace, open Opener) (*routing, error) {
	if n.Inode == t.own {
		return dial(nil)
	}
	f, err := open(n)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return dial(f)
}

// bury remembers addresses of a space for the grace period.
func (t *Table) bury(s *space, addresses []address, now time.Time) {
	if len(addresses) == 0 {
		return
	}
	v := *s.view
	v.gone = true
	v.segments = s.allSegments()
	for _, a := range addresses {
		t.gone = append(t.gone, departed{a.prefix.Addr(), s.holderOf(&v, a), now})
	}
	if over := len(t.gone) - maxGone; over > 0 {
		t.gone = append(t.gone[:0], t.gone[over:]...)
		t.remember(func(stats *Stats) { stats.DroppedGone += uint64(over) })
	}
}

// remember changes the figures under their lock.
func (t *Table) remember(f func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.stats)
}

// Stats returns the figures. It is safe for concurrent use.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}
