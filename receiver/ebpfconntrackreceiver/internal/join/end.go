package join

import (
	"net/netip"
	"time"
)

// Direction is which end of a connection asked for it. The numbers are those of
// connstream.
type Direction uint8

// Unknown is an end of which nobody saw the beginning. It may be found as either.
const (
	Unknown Direction = iota
	Outgoing
	Incoming
)

// End is one end of a TCP connection that was closed.
type End struct {
	// Netns is the inode of the socket's network namespace. It counts only where
	// an address is of a loopback interface.
	Netns     uint64
	Direction Direction
	// Local and Remote are as the socket has them. RealLocal and RealRemote are
	// the same from the same side as the other end has them, as nat.Answer.Real;
	// what is not valid of them is taken to be as the socket has it.
	Local, Remote, RealLocal, RealRemote netip.AddrPort
	// PID is the process in the host's numbers; 0 is not known.
	PID int
	// Proxy: the process is docker-proxy.
	Proxy bool
	// Started, Established and Ended are times of one clock for all ends, such as
	// that since boot. 0 is not known, except that an Outgoing end that started
	// and was never established has no other end.
	Started, Established, Ended time.Duration
	// Sent and Received are bytes of payload, each counted once.
	Sent, Received uint64
	// Owner is the id of the container, "" the host.
	Owner string
	// Wanted: the caller does not know for sure who is at the other end, and is
	// willing to wait. What is not wanted is handed out by the next Take, with
	// nothing found, and stays to be found.
	Wanted bool
}

// Found is what a [Joiner] knows of the other end. The zero value is nothing.
type Found struct {
	// Known: Owner is who is at the other end.
	Known bool
	Owner string
	// Remote is the address and port that the socket at the other end has itself.
	// It may be there without Known: then only the address is known.
	Remote netip.AddrPort
	// Proxied: the other end is the one behind docker-proxy. Where nobody is
	// known to be behind it, the other end is docker-proxy's own, without Proxied.
	Proxied bool
	// Ambiguous: more than one could be meant. Known is false then.
	Ambiguous bool
}

// Options bound a [Joiner]. What is 0 is the default.
type Options struct {
	// Wait is how long a wanted end waits; 250 ms by default: two batches of the
	// stream, and a half for their timer.
	Wait time.Duration
	// Settle is how long an end must have been there before it is taken for the
	// only one that fits; 50 ms by default, so that the batch after that of an end
	// is always looked at first.
	Settle time.Duration
	// Remember is how long an end that was handed out can still be found; 10 s
	// by default.
	Remember time.Duration
	// MaxWaiting and MaxRemembered are how many ends may wait or be remembered;
	// 20,000 and 50,000 by default: at 500 bytes, 35 MB. 20,000 is what waits at
	// 10,000 connections a second that nobody knows anything of.
	MaxWaiting, MaxRemembered int
}

// Stats are counters since the start; Waiting and Remembered are levels.
type Stats struct {
	Added uint64
	// Each end that was handed out is in one of these. Paired ends have an owner
	// at the other end; Proxied ones have somebody beyond docker-proxy, by owner
	// or by address only; Ambiguous see [Found]; Unpaired were wanted and found
	// nobody; Unwanted were not looked for.
	Paired, Proxied, Ambiguous, Unpaired, Unwanted uint64
	// WaitedOut were handed out because of their age, whatever was found then.
	WaitedOut uint64
	// Crowded were handed out early, with what was known, because of MaxWaiting.
	Crowded uint64
	// Forgotten could be found no longer, before their time, because of
	// MaxRemembered.
	Forgotten uint64

	Waiting, Remembered int
}

func (o Options) orDefaults() Options {
	o.Wait = orDefault(o.Wait, 250*time.Millisecond)
	o.Settle = min(orDefault(o.Settle, 50*time.Millisecond), o.Wait)
	o.Remember = orDefault(o.Remember, 10*time.Second)
	o.MaxWaiting = orDefault(o.MaxWaiting, 20_000)
	o.MaxRemembered = orDefault(o.MaxRemembered, 50_000)
	return o
}

func orDefault[N int | time.Duration](value, standard N) N {
	if value <= 0 {
		return standard
	}
	return value
}

// plain fills in what is not known to be translated, and takes v4-mapped
// addresses for what they are.
func (e *End) plain() {
	e.Local, e.Remote = unmapped(e.Local), unmapped(e.Remote)
	e.RealLocal, e.RealRemote = unmapped(e.RealLocal), unmapped(e.RealRemote)
	if !e.RealLocal.IsValid() {
		e.RealLocal = e.Local
	}
	if !e.RealRemote.IsValid() {
		e.RealRemote = e.Remote
	}
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	if !a.Addr().Is4In6() {
		return a
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// translated reports whether conntrack is known to have changed something.
func (e *End) translated() bool { return e.Local != e.RealLocal || e.Remote != e.RealRemote }

// pairs reports whether the end can have another one.
func (e *End) pairs() bool {
	refused := e.Direction == Outgoing && e.Started != 0 && e.Established == 0
	return !refused && e.Local.IsValid() && e.Remote.IsValid()
}

// dialled and accepted are the two legs of a proxied connection.
func (e *End) dialled() bool  { return e.Proxy && e.PID > 0 && e.Direction == Outgoing }
func (e *End) accepted() bool { return e.Proxy && e.PID > 0 && e.Direction == Incoming }
