package sockdiag

import (
	"sync"
	"time"
)

// Change is a connection that a [Poller] saw appear, go on or end.
type Change struct {
	Conn
	// FirstSeen and LastSeen are the looks that saw it first and last. Known at
	// the first look of all, it may be older than FirstSeen by any time: Initial.
	FirstSeen, LastSeen time.Time
	Initial             bool
	// SentSince, ReceivedSince and RetransmitsSince are what came since the look
	// before, of one that is new everything but what an Initial had. That is in
	// SentBefore, ReceivedBefore and RetransmitsBefore. So all that was told of a
	// connection is Sent - SentBefore, and so on; they never fall. Neither Received
	// nor ReceivedBefore is ever above the payload: what may be the peer's FIN is in
	// none of the three until it is known to be payload. If it came before the first
	// look of all, both then rise by one, and ReceivedSince does not.
	SentSince, ReceivedSince, RetransmitsSince    uint64
	SentBefore, ReceivedBefore, RetransmitsBefore uint64

	// counted is what the kernel has counted as received, the peer's FIN with it,
	// and initial what of that an Initial had.
	counted, initial uint64

	look     uint64 // number of the last that saw it
	isMissed bool   // by the look before
}

// Poller tells what differs between two looks at one namespace. Alone it is the
// fallback of who may not load BPF, best effort as the package says. Beside
// somebody who tells of each end it counts what is still open, and [Poller.Forget]
// takes out what has ended. It is safe for concurrent use.
type Poller struct {
	patience time.Duration

	mu    sync.Mutex         // guards what follows
	known map[uint64]*Change // by cookie
	// begun is the number of the last Begin, open whether its Compare is still to
	// come, and first the number of the first look that was compared.
	begun, first uint64
	open         bool
	// forgotten are the cookies that were forgotten while the last look was open.
	forgotten map[uint64]struct{}
}

// Look is one look at a namespace, from before its Dump on.
type Look struct {
	at     time.Time
	number uint64
}

// maxForgotten bounds the connections that are told as closed while a look is
// under way, at 16 bytes each: as many as a [Dump] keeps by default. A dump of 3000
// sockets takes 13 ms, in which 20,000 connections a second end 260 times.
const maxForgotten = defaultMaxSockets

// maxKnown bounds the connections that patience keeps, at 350 bytes each: all that
// one Dump has by default, and as many that have gone since.
const maxKnown = 2 * defaultMaxSockets

// NewPoller returns a poller that knows nothing, for who has nobody to tell of ends:
// what two looks in a row have missed has ended.
func NewPoller() *Poller { return NewPatientPoller(0) }

// NewPatientPoller returns a poller that knows nothing, for use beside somebody who
// tells of each end. What two looks or more have missed has ended only when that
// long has passed since it was last seen, by the times that were given to Begin:
// until then the news may come. With more than 131,072 connections known, no such
// time is waited for.
func NewPatientPoller(patience time.Duration) *Poller {
	return &Poller{patience: patience, known: map[uint64]*Change{}, forgotten: map[uint64]struct{}{}}
}

// Begin begins a look. Call it before the Dump: whatever is forgotten from here on
// may be in that, though it has ended. What was forgotten before cannot be. A look
// that was begun before and not compared is given up, as after a Dump with an error.
func (p *Poller) Begin(now time.Time) Look {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.forgotten)
	p.begun++
	p.open = true
	return Look{now, p.begun}
}

// Compare ends a look with the connections that its Dump found. It calls each for
// those that have appeared, are still there, or have ended, with their last
// counters; what that gets is good until it returns, and it must not call the
// Poller. It is false, and calls nothing, if the look was given up: another was
// begun, or too many connections were forgotten meanwhile.
//
// A connection that was forgotten since the look began is not there, whatever the
// dump says. One has ended when two looks in a row have not seen it, and the patience
// of [NewPatientPoller] is over: the dump is no snapshot, and can miss one whose
// neighbours in the kernel's table go meanwhile; and somebody else has until then to
// tell of its end.
//
// A connection that is only half open (SYN_SENT) is told as well; one that ends so
// was never established.
func (p *Poller) Compare(l Look, conns []Conn, each func(*Change, Event)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open || l.number != p.begun {
		return false
	}
	p.open = false
	if p.first == 0 {
		p.first = l.number
	}
	for i := range conns {
		c := &conns[i]
		if _, isForgotten := p.forgotten[c.Cookie]; !isForgotten {
			k, event := p.see(c, l)
			each(k, event)
		}
	}
	for cookie, k := range p.known {
		switch {
		case k.look == l.number:
			k.isMissed = false
		case !k.isMissed:
			k.isMissed = true
		case p.isAwaited(k, l):
		default:
			k.end()
			each(k, Ended)
			delete(p.known, cookie)
		}
	}
	return true
}

// isAwaited: the news of the end of what two looks have missed may still come.
func (p *Poller) isAwaited(k *Change, l Look) bool {
	return p.patience > 0 && l.at.Sub(k.LastSeen) < p.patience && len(p.known) <= maxKnown
}

// see notes a connection that is there.
func (p *Poller) see(c *Conn, l Look) (*Change, Event) {
	event := Continued
	k := p.known[c.Cookie]
	if k == nil {
		event = Appeared
		k = &Change{FirstSeen: l.at, Initial: p.first == l.number}
		k.begin(c)
		p.known[c.Cookie] = k
	}
	k.update(c)
	k.LastSeen, k.look = l.at, l.number
	return k, event
}

// Forget takes out a connection of whose end somebody else tells, and returns what
// was last known of it. All that was told of it, which is to be subtracted from its
// final counters, is Sent - SentBefore, Received - ReceivedBefore and Retransmits -
// RetransmitsBefore; no one of the six is above its final counter. It is false if it
// is not known: nothing was told of it, unless it has Ended. From then on nothing
// will be told of it, Ended included.
func (p *Poller) Forget(cookie uint64) (Change, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		p.forgotten[cookie] = struct{}{}
		if len(p.forgotten) > maxForgotten {
			p.open = false
		}
	}
	k := p.known[cookie]
	if k == nil {
		return Change{}, false
	}
	delete(p.known, cookie)
	k.still()
	return *k, true
}

// Event is what happened to a connection between two looks.
type Event uint8

// The events of a [Poller].
const (
	Appeared Event = iota
	Continued
	Ended
)

// Len is how many connections are known.
func (p *Poller) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.known)
}
