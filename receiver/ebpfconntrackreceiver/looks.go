package ebpfconntrackreceiver

import (
	"context"
	"errors"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// looks are the looks at open connections, one in each collection interval: how
// many there are, what they have carried since the last one, and who listens.
// Where nothing tells of connections that end, looks do.
type looks struct {
	owners   *owners
	peers    *peers.Table
	resolver nat.Resolver
	home     uint64
	own      uint64 // the network namespace of this process
	table    *edges.Table
	log      *zap.Logger
	// most is how many sockets of a namespace are looked at.
	most int
	// alone: there is no stream, so that what is gone has ended here.
	alone bool
	// activity tells whether anything has happened in a namespace; nil if nobody does.
	activity func(*netns.Namespace) netns.Activity
	// began is when connections began to be counted.
	began time.Time

	stats lookStats

	mu     sync.Mutex // guards spaces, not what is in them
	spaces map[uint64]*space

	// What follows is for the goroutine that looks.
	batch   []edges.Record
	told    bool // that sockets cannot be asked for
	proxies *proxies

	// listeners and active are what all namespaces had at the last look.
	listeners atomic.Pointer[map[listenerKey]listener]
	active    atomic.Pointer[map[activeKey]int64]
	// had are those with connections when they were last told of. It is for the
	// goroutine that makes metrics.
	had map[activeKey]int64
}

type listenerKey struct {
	netns uint64
	port  uint16
}

// listener is who listens at a port: not clear if several do, at different
// addresses.
type listener struct {
	owner     string
	isUnclear bool
}

// activeKey is what open connections are counted by.
type activeKey struct {
	owner     string
	direction edges.Direction
}

// lookStats are counters.
type lookStats struct {
	looks, errors, givenUp, dropped, malformed, unresolved atomic.Uint64
	// skipped are looks at a namespace in which nothing has happened.
	skipped atomic.Uint64
}

func newLooks(log *zap.Logger, most int) *looks {
	l := &looks{log: log, most: most, began: time.Now(), spaces: map[uint64]*space{}, proxies: &proxies{}}
	var own unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &own); err == nil {
		l.own = own.Ino
	}
	l.listeners.Store(&map[listenerKey]listener{})
	l.active.Store(&map[activeKey]int64{})
	return l
}

// listener tells which container listens at a port.
func (l *looks) listener(netns uint64, port uint16) (string, bool) {
	found, ok := (*l.listeners.Load())[listenerKey{netns, port}]
	return found.owner, ok && !found.isUnclear
}

// take returns what was counted of a connection while it was open, or is not to be:
// what a connection that the stream has not seen begin had carried before the first
// look. From then on it is the stream's.
func (l *looks) take(netns, cookie uint64, hasBegun bool) (was counted, ok bool) {
	if cookie == 0 {
		return counted{}, false // nobody has ever looked at it
	}
	l.mu.Lock()
	s := l.spaces[netns]
	l.mu.Unlock()
	if s == nil {
		return counted{}, false
	}
	return s.take(cookie, hasBegun)
}

// takeActive returns how many connections are open. Who had some the last time and
// has none now is there with 0, once.
func (l *looks) takeActive() map[activeKey]int64 {
	now := maps.Clone(*l.active.Load())
	had := l.had
	l.had = maps.Clone(now)
	for key := range had {
		if _, has := now[key]; !has {
			now[key] = 0
		}
	}
	return now
}

// look looks at all namespaces. Of one that cannot be seen this time the last look
// holds.
func (l *looks) look(all []*netns.Namespace, open peers.Opener) {
	seen := make(map[uint64]struct{}, len(all))
	for _, n := range all {
		seen[n.Inode] = struct{}{}
		if err := l.lookAt(n, open); err != nil {
			l.stats.errors.Add(1)
			l.explain(err)
		}
	}
	l.forget(seen)
	l.publish(seen)
	l.stats.looks.Add(1)
}

// publish makes one picture of all namespaces.
func (l *looks) publish(seen map[uint64]struct{}) {
	listeners, active := map[listenerKey]listener{}, map[activeKey]int64{}
	l.mu.Lock()
	defer l.mu.Unlock()
	for inode := range seen {
		s := l.spaces[inode]
		if s == nil {
			continue
		}
		for port, who := range s.listeners {
			listeners[listenerKey{inode, port}] = who
		}
		for key, n := range s.active {
			active[key] += n
		}
	}
	l.listeners.Store(&listeners)
	l.active.Store(&active)
}

// forget lets go of namespaces that have been gone for two looks: until then the
// stream may tell of their last connections and, if there is no stream, what one
// look misses has not ended.
func (l *looks) forget(seen map[uint64]struct{}) {
	l.mu.Lock()
	var gone []*space
	for inode, s := range l.spaces {
		if _, isThere := seen[inode]; isThere {
			s.goneLooks = 0
			continue
		}
		gone = append(gone, s)
		if s.goneLooks++; s.goneLooks > 1 && (l.alone || time.Since(s.looked) > patience) {
			delete(l.spaces, inode)
		}
	}
	l.mu.Unlock()
	for _, s := range gone {
		s.poller.Compare(s.poller.Begin(time.Now()), nil, func(c *sockdiag.Change, e sockdiag.Event) {
			l.note(s, c, e, l.ask(s, []sockdiag.Conn{c.Conn})[c.Cookie])
		})
	}
	l.hand()
}

// explain says once why sockets cannot be asked for.
func (l *looks) explain(err error) {
	if l.told || errors.Is(err, hostfs.ErrGone) {
		return
	}
	l.told = true
	l.log.Info("open connections of containers are not counted", zap.Error(err))
}

func (l *looks) lookAt(n *netns.Namespace, open peers.Opener) error {
	s, now := l.space(n), l.activityOf(n)
	if s.isQuiet(now) {
		l.stats.skipped.Add(1)
		return nil
	}
	s.activity = netns.Activity{} // a look that is not finished is none
	file, err := l.enter(n, open)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
	}
	began := s.poller.Begin(time.Now())
	hasConns := true
	sockets, err := sockdiag.Dump(file, sockdiag.Options{MaxSockets: l.most, HasConns: func(listeners int) bool {
		hasConns = !now.IsKnown || now.Sockets > listeners
		return hasConns
	}})
	if err != nil {
		return err
	}
	if !hasConns && l.activityOf(n).Sockets != now.Sockets {
		return nil // a listener that came in between was taken for the connection that is there
	}
	l.stats.dropped.Add(uint64(sockets.Dropped))
	l.stats.malformed.Add(uint64(sockets.Malformed))
	if sockets.Dropped > 0 {
		return nil // those that are not there have not ended
	}
	if n.Host {
		l.proxies.find(sockets.Listeners, n.Inode)
	}
	s.looked = time.Now()
	s.listen(l.owners, sockets.Listeners)
	l.compare(s, began, sockets)
	s.activity = now
	return nil
}

// enter opens a namespace. That of this process needs no right, and no file; who may
// not even ask which the host's is takes its own for it.
func (l *looks) enter(n *netns.Namespace, open peers.Opener) (*os.File, error) {
	if n.Inode == l.own || n.Host && n.Inode == 0 {
		return nil, nil
	}
	return open(n)
}

// compare adds up what has changed since the last look.
func (l *looks) compare(s *space, began sockdiag.Look, sockets *sockdiag.Sockets) {
	all := l.ask(s, sockets.Conns)
	was := s.active
	s.active = make(map[activeKey]int64, len(was))
	ok := s.poller.Compare(began, sockets.Conns, func(c *sockdiag.Change, e sockdiag.Event) {
		told := all[c.Cookie]
		if e == sockdiag.Ended && l.alone {
			// It was not among those that were asked about. Conntrack remembers it
			// for some seconds.
			told = l.ask(s, []sockdiag.Conn{c.Conn})[c.Cookie]
		}
		l.note(s, c, e, told)
	})
	if !ok {
		s.active = was
		l.stats.givenUp.Add(1)
	}
	l.hand()
}

// known is what is known of an open connection.
type known struct {
	answer nat.Answer
	owner  string
}

// ask finds out about all connections of a look. Conntrack's answers are remembered
// where it is asked.
func (l *looks) ask(s *space, conns []sockdiag.Conn) map[uint64]known {
	queries := make([]nat.Query, len(conns))
	for i := range conns {
		c := &conns[i]
		queries[i] = nat.Query{Pair: nat.Pair{Local: c.Local, Remote: c.Remote}, Transport: nat.TCP, Netns: s.inode, Socket: c.Cookie}
	}
	answers := make([]nat.Answer, len(conns))
	if err := l.resolver.Resolve(context.Background(), nat.Namespace{}, queries, answers); err != nil {
		l.stats.unresolved.Add(uint64(len(conns)))
		clear(answers)
	}
	all := make(map[uint64]known, len(conns))
	for i := range conns {
		c := &conns[i]
		all[c.Cookie] = known{answers[i], l.owners.of(ids{unified: c.Cgroup, netns: s.inode, port: c.Local.Port()})}
	}
	return all
}

// hand gives what was noted to the table.
func (l *looks) hand() {
	l.table.Add(l.batch)
	clear(l.batch)
	l.batch = l.batch[:0]
}
