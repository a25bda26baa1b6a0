package edges

import (
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/expohist"
)

// Limits bound a table. What is 0 is that of [DefaultLimits].
type Limits struct {
	// ContainerEdges and Edges are how many edges one container and all together
	// may have, without the overflow edges: two for each container.
	ContainerEdges, Edges int
	// Containers have a name in the table.
	Containers int
}

// DefaultLimits let a table take 100 MB: 10 MB for 50,000 edges, the rest for the
// histograms of 10,000 busy containers. 1000 edges are a server with two ports
// and 500 containers that talk to it; each is three series, and up to two more.
func DefaultLimits() Limits {
	return Limits{ContainerEdges: 1000, Edges: 50_000, Containers: 10_000}
}

// Options are what a [Table] needs to know.
type Options struct {
	Limits Limits
	// Expiry is how long an edge is kept without a record; 0 is 5 minutes, after
	// which Prometheus calls a series stale too.
	Expiry time.Duration
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// defaultExpiry see [Options].
const defaultExpiry = 5 * time.Minute

// Stats is what a [Table] has and did.
type Stats struct {
	// Containers and Edges are known now.
	Containers, Edges int
	// ContainerFull and TableFull count the records that found no edge because
	// the container, or the table, has as many as it may. NoContainer counts those
	// whose container found no place.
	ContainerFull, TableFull, NoContainer uint64
	// Invalid counts records with a direction or outcome that does not exist;
	// they are nowhere else.
	Invalid uint64
	// Expired counts edges that were forgotten.
	Expired uint64
}

// Table adds up records.
type Table struct {
	limits Limits
	expiry time.Duration
	now    func() time.Time

	// flushing is held by the one Flush; it guards batch and is taken before mu.
	flushing sync.Mutex
	batch    batch

	mu     sync.Mutex // guards what follows
	owners map[string]*owner
	// nameless is for containers that found no place.
	nameless *owner
	// flushed is when the last flush began: what comes now counts from there.
	flushed time.Time
	swept   time.Time
	stats   Stats
}

// key is an edge of a container.
type key struct {
	peer      Peer
	port      uint16
	direction Direction
}

// edge is what has been added up of one key.
type edge struct {
	key      key
	counters Counters
	start    time.Time
	seen     time.Time
}

// total is what has been added up of one direction of a container.
type total struct {
	counters             Counters
	rtt, duration, setup values
	hasAny               bool // records
}

// values are a histogram with its sum. Sums of whole nanoseconds are exact for
// 292 years of them.
type values struct {
	histogram expohist.Histogram
	sum       time.Duration
}

func (v *values) add(d time.Duration) {
	if d < 0 {
		return
	}
	v.histogram.Record(d.Seconds(), 1)
	v.sum += d
}

// owner is a container.
type owner struct {
	id       string
	edges    map[key]*edge
	overflow [Directions]edge
	totals   [Directions]total
	start    time.Time
	seen     time.Time
}

// New returns an empty table.
func New(o Options) *Table {
	d := DefaultLimits()
	t := &Table{
		limits: Limits{
			ContainerEdges: orDefault(o.Limits.ContainerEdges, d.ContainerEdges),
			Edges:          orDefault(o.Limits.Edges, d.Edges),
			Containers:     orDefault(o.Limits.Containers, d.Containers),
		},
		expiry: o.Expiry,
		now:    o.Now,
		owners: map[string]*owner{},
	}
	if t.expiry <= 0 {
		t.expiry = defaultExpiry
	}
	if t.now == nil {
		t.now = time.Now
	}
	t.flushed = t.now()
	t.swept = t.flushed
	return t
}

func orDefault(value, standard int) int {
	if value <= 0 {
		return standard
	}
	return value
}

// Add adds a batch of records.
func (t *Table) Add(batch []Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for i := range batch {
		r := &batch[i]
		if r.Direction >= Directions || r.Outcome == Outcomes || r.Outcome > Open {
			t.stats.Invalid++
			continue
		}
		t.add(r, now)
	}
}

func (t *Table) add(r *Record, now time.Time) {
	o := t.ownerOf(r, now)
	o.seen = now
	all := &o.totals[r.Direction]
	all.hasAny = true
	all.counters.add(r)
	all.rtt.add(r.RTT)
	all.setup.add(r.Setup)
	if r.Outcome != Open {
		all.duration.add(r.Duration)
	}
	e := t.edgeOf(o, r)
	e.seen = now
	e.counters.add(r)
}

// ownerOf finds or makes the container of a record.
func (t *Table) ownerOf(r *Record, now time.Time) *owner {
	if o := t.owners[r.Container]; o != nil {
		return o
	}
	if len(t.owners) < t.limits.Containers {
		o := t.newOwner(r.Container)
		t.owners[r.Container] = o
		return o
	}
	t.stats.NoContainer++
	if t.nameless == nil {
		t.nameless = t.newOwner("")
	}
	t.nameless.seen = now
	return t.nameless
}

func (t *Table) newOwner(id string) *owner {
	o := &owner{id: id, edges: map[key]*edge{}, start: t.flushed}
	for d := range Directions {
		o.overflow[d] = edge{key: key{peer: Peer{Kind: Overflow}, direction: d}, start: t.flushed}
		for _, v := range o.totals[d].all() {
			v.histogram.Init()
		}
	}
	return o
}

func (a *total) all() []*values { return []*values{&a.rtt, &a.duration, &a.setup} }

// edgeOf finds or makes the edge of a record. The nameless have overflow edges
// only.
func (t *Table) edgeOf(o *owner, r *Record) *edge {
	if o == t.nameless {
		return &o.overflow[r.Direction]
	}
	k := key{peer: r.Peer, port: r.ServerPort, direction: r.Direction}
	if e := o.edges[k]; e != nil {
		return e
	}
	switch {
	case len(o.edges) >= t.limits.ContainerEdges:
		t.stats.ContainerFull++
		return &o.overflow[r.Direction]
	case t.stats.Edges >= t.limits.Edges:
		t.stats.TableFull++
		return &o.overflow[r.Direction]
	}
	e := &edge{key: k, start: t.flushed}
	o.edges[k] = e
	t.stats.Edges++
	return e
}

// Stats returns the figures.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Containers = len(t.owners)
	return s
}
