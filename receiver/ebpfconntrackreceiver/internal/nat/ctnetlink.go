package nat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// eventBuffer held the 40,000 events of 20,000 connections, made as fast
	// as two processors can, without a loss; the kernel's default of 208 KiB
	// lost up to 15 % of them.
	eventBuffer = 32 << 20
	// tick is how often ended connections are swept out, and how soon after a
	// loss the table is filled again: at most once in it, a dump costs 6 µs per
	// entry.
	tick = time.Second
	// refreshEvery is how often entries are looked for that have ended without
	// an event.
	refreshEvery = 10 * time.Minute
)

// ctnetlink keeps a table of connections by the kernel's events, and asks the
// kernel about what is not in it.
type ctnetlink struct {
	places  places
	table   *table
	events  *socket
	dumps   *socket
	asker   *asker
	done    chan struct{}
	closing atomic.Bool
	running sync.RWMutex // read-locked by each Resolve
	refresh time.Duration
	started time.Time // of the last dump; watch's own

	counts                         counts
	gets, lost, redumps, malformed atomic.Uint64
}

// ctnetlinkOptions say how much is kept.
type ctnetlinkOptions struct {
	limit   int // connections in the table
	buffer  int // bytes of events that wait in the kernel
	grace   time.Duration
	refresh time.Duration
	now     func() time.Time
}

// openCtnetlink joins the groups of events, and then fills the table: events of
// meanwhile wait in the socket. It takes over the home namespace of places only
// if there is no error.
func openCtnetlink(p places, o ctnetlinkOptions) (*ctnetlink, error) {
	r := &ctnetlink{places: p, refresh: o.refresh, table: newTable(o.limit, o.grace, o.now), done: make(chan struct{})}
	if err := r.open(o); err != nil {
		r.closeSockets()
		return nil, noCtnetlink(err)
	}
	go r.watch()
	return r, nil
}

func (r *ctnetlink) open(o ctnetlinkOptions) (err error) {
	home, own := r.places.home, r.places.own
	if r.events, err = openSocket(home, own, o.buffer); err != nil {
		return err
	}
	if r.dumps, err = openSocket(home, own, askBuffer); err != nil {
		return err
	}
	if r.asker, err = openAsker(home, own); err != nil {
		return err
	}
	for _, group := range []uint32{groupNew, groupDestroy} {
		if err := r.events.conn.JoinGroup(group); err != nil {
			return fmt.Errorf("join conntrack events: %w", err)
		}
	}
	return r.dump()
}

// Resolve implements [Resolver].
func (r *ctnetlink) Resolve(ctx context.Context, at Namespace, queries []Query, answers []Answer) error {
	r.running.RLock()
	defer r.running.RUnlock()
	at = r.places.of(at)
	r.counts.lookups.Add(uint64(len(queries)))
	if r.closing.Load() {
		clear(answers[:len(queries)])
		r.counts.errors.Add(uint64(len(queries)))
		return errClosed
	}
	questions := make([]question, 0, len(queries))
	for i := range queries {
		answers[i] = Answer{}
		want, ok := asked(&queries[i], at.Inode)
		if !ok {
			r.counts.misses.Add(1)
			continue
		}
		if at.Inode == r.places.home.Inode {
			fallback, unsure := r.table.answer(&queries[i], want)
			answers[i] = fallback
			if !unsure {
				r.counts.hits.Add(1)
				continue
			}
		}
		questions = append(questions, question{index: i, tuple: want})
	}
	if len(questions) == 0 {
		return nil
	}
	r.gets.Add(uint64(len(questions)))
	if err := r.ask(ctx, at, queries, questions); err != nil {
		clear(answers[:len(queries)])
		r.counts.errors.Add(uint64(len(questions)))
		return err
	}
	r.settle(at, questions, answers)
	return nil
}

// ask asks the kernel. Elsewhere than at home no table is kept.
func (r *ctnetlink) ask(ctx context.Context, at Namespace, queries []Query, questions []question) error {
	if at.Inode == r.places.home.Inode {
		return r.asker.ask(ctx, queries, questions)
	}
	there, err := openAsker(at, r.places.own)
	if err != nil {
		return err
	}
	defer there.close()
	return there.ask(ctx, queries, questions)
}

// settle makes what the kernel said the answers. Where it knows of no entry any
// more, the fallback from the table stays.
func (r *ctnetlink) settle(at Namespace, questions []question, answers []Answer) {
	for i := range questions {
		q := &questions[i]
		answer := &answers[q.index]
		switch {
		case q.err == nil:
			*answer = q.found.answer(q.tuple)
			if at.Inode == r.places.home.Inode {
				r.table.put(&q.found, false)
			}
			r.counts.hits.Add(1)
		case !q.isAbsent():
			*answer = Answer{}
			r.counts.errors.Add(1)
		case answer.Found:
			r.counts.hits.Add(1)
		default:
			r.counts.misses.Add(1)
		}
	}
}

// Stats implements [Resolver].
func (r *ctnetlink) Stats() Stats {
	s := r.counts.stats()
	count, refused := r.table.level()
	s.Gets, s.Lost, s.Redumps, s.Malformed = r.gets.Load(), r.lost.Load(), r.redumps.Load(), r.malformed.Load()
	s.Entries, s.Refused = uint64(count), refused
	return s
}

// Close implements [Resolver].
func (r *ctnetlink) Close() error {
	r.closing.Store(true)
	r.closeSockets() // ends what waits for the kernel
	<-r.done
	r.running.Lock()
	defer r.running.Unlock()
	return r.places.home.Close()
}

func (r *ctnetlink) closeSockets() {
	for _, s := range []*socket{r.events, r.dumps} {
		if s != nil {
			s.close()
		}
	}
	if r.asker != nil {
		r.asker.close()
	}
}

// watch reads events until the socket is closed.
func (r *ctnetlink) watch() {
	defer close(r.done)
	next := time.Now().Add(tick)
	r.events.waitUntil(next)
	for {
		messages, err := r.events.read()
		switch {
		case err == nil:
			r.handle(messages)
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, unix.ENOBUFS):
			r.lost.Add(1)
			r.table.distrust()
		case errors.Is(err, errMalformed):
			r.malformed.Add(1)
		case r.closing.Load():
			return
		default:
			// Not known to happen. From here on the kernel is asked each time.
			r.lost.Add(1)
			r.table.distrust()
			return
		}
		if now := time.Now(); !now.Before(next) {
			r.maintain(now)
			next = now.Add(tick)
			r.events.waitUntil(next)
		}
	}
}

func (r *ctnetlink) handle(messages []syscall.NetlinkMessage) {
	for i := range messages {
		e, err := parseEntry(messages[i].Data)
		switch {
		case errors.Is(err, errTransport):
		case err != nil:
			r.malformed.Add(1)
		case messages[i].Header.Type == subsystem|kindNew:
			r.table.put(&e, true)
		case messages[i].Header.Type == subsystem|kindDelete:
			r.table.end(&e)
		}
	}
}

// maintain sweeps, and fills the table again where that is due.
func (r *ctnetlink) maintain(now time.Time) {
	r.table.sweep()
	if r.table.isTrusted() && now.Sub(r.started) < r.refresh {
		return
	}
	if r.table.isTrusted() && r.table.isWatched() {
		r.started = now
		return
	}
	r.redumps.Add(1)
	if err := r.dump(); err != nil {
		// The kernel is asked meanwhile, and the next tick tries again.
		r.table.distrust()
	}
}

// dump brings the table up to all that there is.
func (r *ctnetlink) dump() error {
	r.started = time.Now()
	r.dumps.waitUntil(r.started.Add(dumpWithin))
	request, err := r.dumps.conn.Send(requestDump())
	if err != nil {
		return fmt.Errorf("ask for conntrack entries: %w", err)
	}
	r.table.beginDump()
	for {
		messages, err := r.dumps.read()
		if err != nil {
			return fmt.Errorf("list conntrack entries: %w", err)
		}
		for i := range messages {
			m := &messages[i]
			switch {
			case m.Header.Seq != request.Header.Sequence: // of a dump that was given up
			case m.Header.Type == unix.NLMSG_DONE, m.Header.Type == unix.NLMSG_ERROR:
				if err := outcome(m); err != nil {
					return fmt.Errorf("list conntrack entries: %w", err)
				}
				r.table.endDump()
				return nil
			default:
				r.dumped(m)
			}
		}
	}
}

// dumpWithin is enough for a million entries, at the 6 µs that one was measured to take.
const dumpWithin = 10 * time.Second

func (r *ctnetlink) dumped(m *syscall.NetlinkMessage) {
	e, err := parseEntry(m.Data)
	switch {
	case err == nil:
		r.table.put(&e, false)
	case !errors.Is(err, errTransport):
		r.malformed.Add(1)
	}
}
