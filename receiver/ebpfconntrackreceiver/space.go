package ebpfconntrackreceiver

import (
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/sockdiag"
)

// patience is how long what has gone is remembered, for records that come late: a
// full ring holds those of less than 3 s at 20,000 connections a second.
const patience = 10 * time.Second

// space is a network namespace that is looked at.
type space struct {
	inode  uint64
	poller *sockdiag.Poller

	// What follows is for the goroutine that looks, but read by publish.
	looked    time.Time      // when it was last
	activity  netns.Activity // from before that
	skipped   int            // see isQuiet
	goneLooks int            // since it was there
	listeners map[uint16]listener
	active    map[activeKey]int64

	mu sync.Mutex // guards untold
	// untold are connections that are not counted before they end: who is at the
	// other end, or which end this is, is not sure while they are open.
	untold map[uint64]struct{}
}

// space finds or makes the space of a namespace. What is in one that is younger than
// the counting has begun since.
func (l *looks) space(n *netns.Namespace) *space {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.spaces[n.Inode]
	if s != nil {
		return s
	}
	s = &space{inode: n.Inode, poller: l.newPoller(), active: map[activeKey]int64{}, untold: map[uint64]struct{}{}}
	s.skipped = len(l.spaces) % (maxSkipped + 1) // not all of them in the same look
	l.spaces[n.Inode] = s
	if n.Start.After(l.began) {
		s.poller.Compare(s.poller.Begin(time.Now()), nil, func(*sockdiag.Change, sockdiag.Event) {})
	}
	return s
}

// newPoller waits for records that come late, where there is a stream.
func (l *looks) newPoller() *sockdiag.Poller {
	if l.alone {
		return sockdiag.NewPoller()
	}
	return sockdiag.NewPatientPoller(patience)
}

// take see looks.take.
func (s *space) take(cookie uint64, hasBegun bool) (was counted, ok bool) {
	c, ok := s.poller.Forget(cookie)
	if !ok {
		return counted{}, false
	}
	before := counted{sent: c.SentBefore, received: c.ReceivedBefore, retransmits: c.RetransmitsBefore}
	all := counted{sent: c.Sent, received: c.Received, retransmits: uint64(c.Retransmits)}
	s.mu.Lock()
	_, isUntold := s.untold[cookie]
	delete(s.untold, cookie)
	s.mu.Unlock()
	switch {
	case isUntold && hasBegun:
		return counted{}, true
	case isUntold:
		return before, true
	case hasBegun:
		return counted{all.sent - before.sent, all.received - before.received, all.retransmits - before.retransmits}, true
	}
	return all, true
}

// hold leaves a connection to the record of its end. What has been told already goes
// on to be told.
func (s *space) hold(cookie uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.untold[cookie] = struct{}{}
}

// isHeld tells whether a connection is left to its end; at the end it is no more.
func (s *space) isHeld(cookie uint64, isEnd bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.untold[cookie]
	if isEnd {
		delete(s.untold, cookie)
	}
	return is
}

// listen notes who listens.
func (s *space) listen(o *owners, all []sockdiag.Listener) {
	s.listeners = make(map[uint16]listener, len(all))
	for i := range all {
		port := all[i].Local.Port()
		now := listener{owner: o.of(ids{unified: all[i].Cgroup, netns: s.inode})}
		if was, ok := s.listeners[port]; ok && was != now {
			now.isUnclear = true
		}
		s.listeners[port] = now
	}
}
