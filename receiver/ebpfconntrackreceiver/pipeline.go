package ebpfconntrackreceiver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// dockerProxy is the command of the process that serves a published port where
// the engine's userland-proxy is on.
const dockerProxy = "docker-proxy"

// pipeline takes what the kernel tells of connections that ended to the outputs:
// whose it was, who was at the other end, then the table of edges and the log
// records.
type pipeline struct {
	owners   *owners
	peers    *peers.Table
	resolver nat.Resolver
	home     uint64 // the host's network namespace
	table    *edges.Table
	looks    *looks
	ended    *endings

	unresolved atomic.Uint64 // connections that conntrack could not be asked for

	// came has a value when run is to look after what waits.
	came chan struct{}

	mu     sync.Mutex // guards what follows
	joiner *join.Joiner[flight]
	// timed is how soon run looks after what waits at the latest; 0: it sleeps.
	timed time.Duration
	poked time.Duration // when
	// The memory of a batch.
	queries []nat.Query
	answers []nat.Answer
	edges   []edges.Record
}

// handle takes a batch from the stream. Conntrack forgets some connections seconds
// after their end, so it is asked now.
func (p *pipeline) handle(records []connstream.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resolve(records)
	now := connstream.Now()
	for i := range records {
		p.add(now, &records[i], p.answers[i])
	}
	p.take(now)
	if wait := p.untilTake(); wait > 0 && (p.timed == 0 || wait < p.timed) {
		p.timed = wait
		select {
		case p.came <- struct{}{}:
		default:
		}
	}
}

// lost is told by the stream, before the records that come after.
func (p *pipeline) lost(uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.joiner.Lost(connstream.Now())
}

// resolve asks conntrack for all records of a batch.
func (p *pipeline) resolve(records []connstream.Record) {
	p.queries = p.queries[:0]
	for i := range records {
		r := &records[i]
		p.queries = append(p.queries, nat.Query{
			Pair: nat.Pair{Local: r.Local, Remote: r.Remote}, Transport: nat.TCP, Netns: r.Netns, Socket: r.Cookie, Ended: true,
		})
	}
	if cap(p.answers) < len(p.queries) {
		p.answers = make([]nat.Answer, len(p.queries))
	}
	p.answers = p.answers[:len(p.queries)]
	if err := p.resolver.Resolve(context.Background(), nat.Namespace{}, p.queries, p.answers); err != nil {
		p.unresolved.Add(uint64(len(records)))
		clear(p.answers)
	}
}

// add sends one end on its way.
func (p *pipeline) add(now time.Duration, r *connstream.Record, answer nat.Answer) {
	f := flight{record: *r, real: nat.Pair{Local: r.Local, Remote: r.Remote}, direction: directionOf(r, answer)}
	from := r.Netns
	if answer.Found {
		f.real = answer.Real
		if answer.Real.Remote != r.Remote {
			from = p.home // that is where the address means something
		}
	}
	f.owner = p.owners.ofRecord(r)
	f.peer = p.look(from, &f)
	p.poke(now, r.Netns)
	f.before = p.before(r)
	isFull := p.joiner.Add(now, join.End{
		Netns: r.Netns, Direction: joinDirections[r.Direction], Local: r.Local, Remote: r.Remote,
		RealLocal: f.real.Local, RealRemote: f.real.Remote,
		PID: r.PID, Proxy: f.owner == "" && r.Command() == dockerProxy,
		Started: r.Started, Established: r.Established, Ended: r.Ended,
		Sent: r.Sent, Received: r.Received, Owner: f.owner, Wanted: f.isWanted(),
	}, f)
	if isFull {
		p.take(now)
	}
}

// before is what of a connection is not to be counted at its end. What one has
// carried that was there before the agent, where nobody could look at it, is not
// known apart: it is not counted at all.
func (p *pipeline) before(r *connstream.Record) counted {
	hasBegun := r.Established != 0 || r.Started != 0
	was, ok := p.looks.take(r.Netns, r.Cookie, hasBegun)
	if !ok && !hasBegun {
		return counted{sent: r.Sent, received: r.Received, retransmits: uint64(r.Retransmits)}
	}
	return was
}

// joinDirections are the stream's as join has them.
var joinDirections = [...]join.Direction{
	connstream.Unknown: join.Unknown, connstream.Outgoing: join.Outgoing, connstream.Incoming: join.Incoming,
}

// look finds who is at the other end's address.
func (p *pipeline) look(from uint64, f *flight) peers.Peer {
	q := peers.Question{From: from, Addr: f.remote()}
	if f.direction == edges.Incoming {
		q.Addr = withoutPort(q.Addr)
	}
	peer, _ := p.peers.Lookup(q)
	return peer
}

// poke asks for a look at the namespaces when a connection was in one that is not
// known. It may be a new container's, or that of nobody who ever will be.
func (p *pipeline) poke(now time.Duration, netns uint64) {
	if now-p.poked < pokeEvery {
		return
	}
	if _, ok := p.peers.Namespace(netns, 0); !ok {
		p.poked = now
		p.peers.Poke()
	}
}

// pokeEvery bounds what namespaces of nobody cost: a look at 50 containers takes a
// few milliseconds.
const pokeEvery = time.Second

// isWanted: who is at the other end is not sure, and there may be another record
// that tells. Of a connection that was never established there is none.
func (f *flight) isWanted() bool {
	if f.record.Outcome == connstream.Failed || f.record.Outcome == connstream.Timeout && f.record.Established == 0 {
		return false
	}
	switch f.peer.Kind {
	case peers.Container:
		// Even if one is known: a free address is soon another container's, sooner
		// than addresses are read.
		return true
	case peers.Group:
		return isLocal(f.real.Remote.Addr())
	}
	return true
}

// take hands out those that are found, or have waited for long enough.
func (p *pipeline) take(now time.Duration) {
	p.edges = p.edges[:0]
	p.joiner.Take(now, p.out)
	p.table.Add(p.edges)
}

func (p *pipeline) out(_ *join.End, f *flight, found join.Found) {
	f.found = found
	if found.Proxied && !found.Known {
		f.peer = p.look(p.home, f) // all that is known of who is behind docker-proxy
	}
	p.edges = append(p.edges, f.edge())
	p.ended.add(f)
}

// run hands out what waits, where no new records come, until ctx ends. While nothing
// waits it sleeps.
func (p *pipeline) run(ctx context.Context) {
	timer := time.NewTimer(takeEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.came:
		case <-ctx.Done():
			return
		}
		if wait := p.takeNow(); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// takeNow returns how soon it is to be called again; 0 is when something has come.
func (p *pipeline) takeNow() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.take(connstream.Now())
	wait := p.untilTake()
	p.timed = wait
	return wait
}

const (
	// takeEvery is how often what waits for its other end is looked after, forgetEvery
	// where nothing waits, and other ends may still come.
	takeEvery   = 100 * time.Millisecond
	forgetEvery = time.Second
)

// untilTake is how soon something is to be handed out or forgotten; 0: there is nothing.
func (p *pipeline) untilTake() time.Duration {
	switch stats := p.joiner.Stats(); {
	case stats.Waiting > 0:
		return takeEvery
	case stats.Remembered > 0:
		return forgetEvery
	}
	return 0
}

// flush hands out all that waits. The stream has been closed.
func (p *pipeline) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edges = p.edges[:0]
	p.joiner.Flush(p.out)
	p.table.Add(p.edges)
}

// joined returns the figures of the joiner.
func (p *pipeline) joined() join.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.joiner.Stats()
}
