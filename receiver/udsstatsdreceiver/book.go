package udsstatsdreceiver

import (
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

const (
	// maxClaimed bounds the containers that one sender speaks for: a relay has
	// those of a host, and a kubelet allows 250 pods (110 by default). Whoever
	// makes up more keeps the rest for itself.
	maxClaimed = 1000
	// maxShown is how many containers have series of their own among the
	// receiver's metrics. All that come when so many are there are one without
	// an id.
	maxShown = 200
)

// account is what is known of one origin. It is guarded by the table's lock.
type account struct {
	id     aggregate.Origin
	origin *origin.Origin
	tally
	// claimant is who said that this origin is the sender, claimed how many such
	// accounts this one has.
	claimant *account
	claimed  int
	// shown: it has series of its own. That does not change: a sum must not fall.
	shown bool
	seen  uint64 // the flush before which it was last used
}

// tally is what was counted.
type tally struct {
	packets, messages uint64
	parse             dogstatsd.Counts
	// dropped, amended (kept, but not as sent) and clientLost (by the client's
	// own word) are by reason.
	dropped, amended, clientLost counts
}

type counts map[string]uint64

func (c *counts) add(reason string, n uint64) {
	if *c == nil {
		*c = counts{}
	}
	(*c)[reason] += n
}

func (c *counts) moveTo(to *counts) {
	for reason, n := range *c {
		to.add(reason, n)
	}
	*c = nil
}

// moveTo adds what is counted to another one's.
func (t *tally) moveTo(to *tally) {
	to.packets += t.packets
	to.messages += t.messages
	t.packets, t.messages = 0, 0
	t.parse.MoveTo(&to.parse)
	t.dropped.moveTo(&to.dropped)
	t.amended.moveTo(&to.amended)
	t.clientLost.moveTo(&to.clientLost)
}

// take books what the table has counted.
func (t *tally) take(from aggregate.Counts) {
	for i, n := range from {
		reason := aggregate.Reason(i)
		switch {
		case n == 0:
		case reason.Kept():
			t.amended.add(reason.String(), n)
		default:
			t.dropped.add(reason.String(), n)
		}
	}
}

// book numbers origins. All that are unresolved have one account. It is guarded
// by the table's lock.
type book struct {
	nobody   *origin.Origin
	bills    bills
	accounts map[*origin.Origin]*account
	byID     map[aggregate.Origin]*account
	last     *account
	next     aggregate.Origin
	pending  aggregate.Origin // pays for all that are not known yet
	shown    int
	flush    uint64
	// gone is the sum of accounts that were closed.
	gone tally
}

// bills is told of each origin that another one pays for, as long as it has an
// account.
type bills interface {
	Charge(origin, payer aggregate.Origin)
	Forget(origin aggregate.Origin)
}

func newBook(nobody *origin.Origin, to bills) *book {
	return &book{
		nobody: nobody, bills: to, accounts: map[*origin.Origin]*account{}, byID: map[aggregate.Origin]*account{},
		pending: 1, next: 1, // 0 is the table's own
	}
}

func (b *book) account(o *origin.Origin) *account {
	if o.Kind == origin.KindNone {
		o = b.nobody
	}
	a := b.last
	if a == nil || a.origin != o {
		if a = b.accounts[o]; a == nil {
			a = b.open(o)
		}
		b.last = a
	}
	a.seen = b.flush
	return a
}

// claim is the account of who a sender says it is. Its own limits are the sender's.
func (b *book) claim(by *account, o *origin.Origin) *account {
	if b.accounts[o] != nil {
		return b.account(o)
	}
	if by.claimed >= maxClaimed {
		return by
	}
	a := b.account(o)
	a.claimant = by
	by.claimed++
	b.bills.Charge(a.id, by.id)
	return a
}

func (b *book) open(o *origin.Origin) *account {
	b.next++
	a := &account{id: b.next, origin: o}
	b.accounts[o], b.byID[a.id] = a, a
	switch {
	case o.Kind == origin.KindPending:
		b.bills.Charge(a.id, b.pending)
	case o.ContainerID != "" && b.shown < maxShown:
		b.shown++
		a.shown = true
	}
	return a
}

// close forgets an account.
func (b *book) close(a *account) {
	if b.last == a {
		b.last = nil
	}
	if a.claimant != nil {
		a.claimant.claimed--
	}
	if a.shown {
		b.shown--
	}
	b.bills.Forget(a.id)
	delete(b.accounts, a.origin)
	delete(b.byID, a.id)
	a.moveTo(&b.gone)
}

// expire closes the accounts that were not used for so many flushes, which is
// more than the table remembers their contexts.
func (b *book) expire(flushes uint64) {
	for _, a := range b.accounts {
		if b.flush-a.seen > flushes {
			b.close(a)
		}
	}
}
