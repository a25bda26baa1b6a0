package eventstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// ErrClosed is returned for a store that was closed.
var ErrClosed = errors.New("event store is closed")

// Query selects events. Zero members select all.
type Query struct {
	// From and To are the first and the last time, both included.
	From, To time.Time
	// Kinds are event names, Containers container ids. The empty id selects
	// the events of no container.
	Kinds, Containers []string
	// Limit is how many events are wanted at most.
	Limit int
	// Newest asks for the newest first, else they come oldest first.
	Newest bool
}

// Event is one stored event. Its maps and its record can be kept, but must not
// be changed.
type Event struct {
	// Time is the record's own time. It is when the record was observed if it
	// has none, or if the two differ by more than an hour (two minutes, if its
	// own is the later).
	Time time.Time
	// Name is the event name, Container the container.id of the resource.
	Name, Container string
	Severity        plog.SeverityNumber
	Body            string
	Attributes      pcommon.Map
	Resource        pcommon.Map
	// Record has what the others lack, such as trace ids.
	Record plog.LogRecord
}

// Scan calls each with the events that q selects, in the order of time, until
// it returns false. It holds no lock meanwhile, and sees what was appended
// before it began. Events of equal time come in no particular order. Damaged
// frames are left out and counted in Stats.
//
// Frames are read only if their header says that they can have such events. In
// memory are the events of the frames that overlap in time, 40,000 or 32 MiB at
// most (and a frame). Where more overlap, frames are read several times, which
// takes time, but never when Limit is below 20,000 and what it selects below 16 MiB.
func (s *Store) Scan(ctx context.Context, q Query, each func(Event) bool) error {
	sources, read, err := s.sources(q)
	if err != nil {
		return err
	}
	defer s.scans.Done()
	defer s.release(read)
	sc := newScan(s.codec, q)
	err = sc.run(ctx, sources, each)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.damaged += uint64(len(sc.damaged))
	for broken, reason := range sc.broken {
		if !broken.told {
			broken.told = true
			s.o.Log.Error("an event segment is damaged: what can be read of it is shown", "path", broken.path, "error", reason)
		}
	}
	return err
}

// sources returns what has to be read, and the segments to release afterwards.
// Without an error, s.scans has counted the caller.
func (s *Store) sources(q Query) ([]source, []*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, fmt.Errorf("scan events: %w", ErrClosed)
	}
	s.scans.Add(1)
	sel := newSelection(q)
	var found []source
	var read []*segment
	all := s.segments
	if s.current != nil {
		all = append(slices.Clip(all), s.current.segment)
	}
	for _, each := range all {
		before := len(found)
		if found = sel.add(found, each); len(found) > before {
			each.readers++
			read = append(read, each)
		}
	}
	for _, k := range s.kept.frames {
		if sel.wants(&k.header) {
			found = append(found, source{header: k.header, sealed: k.bytes})
		}
	}
	if len(s.pending.records) > 0 {
		if h := s.pending.summarise(s.pending.records); sel.wants(&h) {
			found = append(found, source{header: h, raw: slices.Clone(s.pending.raw)})
		}
	}
	return found, read, nil
}

// source is a frame to read: in a file, sealed in memory, or not sealed yet.
type source struct {
	header
	segment *segment
	at      int64
	sealed  []byte
	raw     []byte

	// rank tells sources apart. The times in the order of the scan of the first
	// and the last selected event are those of the header until it was read.
	rank        uint32
	first, last int64
}

// loader has the memory for reading frames one after the other.
type loader struct {
	codec *codec
	batch batch
	file  []byte
}

// load brings the encoded request of a source into the batch.
func (l *loader) load(s *source) error {
	l.batch.reset(2 * runRaw)
	if s.raw != nil {
		l.batch.raw = append(l.batch.raw, s.raw...)
		return nil
	}
	b := s.sealed
	if b == nil {
		var err error
		if b, err = s.segment.read(l.file[:0], &frame{s.header, s.at}); err != nil {
			return err
		}
		l.file = b
	}
	var err error
	l.batch.raw, err = l.codec.unseal(l.batch.raw, &s.header, b[frameHeaderSize:])
	return err
}

// decode brings the records of a source into the batch, those of containers that
// are not selected left out.
func (l *loader) decode(src *source, sel *selection) error {
	if err := l.load(src); err != nil {
		return err
	}
	if err := l.batch.decode(0, sel.wantsContainer); err != nil {
		return fmt.Errorf("decode events: %w", err)
	}
	return nil
}

// selection is a query in the form that headers and records are compared with.
type selection struct {
	from, to   int64
	bits       uint64
	names      [][]byte
	containers [][]byte
}

func newSelection(q Query) *selection {
	sel := &selection{from: math.MinInt64, to: math.MaxInt64}
	if !q.From.IsZero() {
		sel.from = q.From.UnixNano()
	}
	if !q.To.IsZero() {
		sel.to = q.To.UnixNano()
	}
	for _, name := range q.Kinds {
		sel.names = append(sel.names, []byte(name))
		sel.bits |= nameBit([]byte(name))
	}
	for _, id := range q.Containers {
		sel.containers = append(sel.containers, []byte(id))
	}
	return sel
}

// add appends the frames of a segment that can have selected events.
func (sel *selection) add(found []source, of *segment) []source {
	for i := range of.frames {
		if f := &of.frames[i]; sel.wants(&f.header) {
			found = append(found, source{header: f.header, segment: of, at: f.at})
		}
	}
	return found
}

func (sel *selection) wants(h *header) bool {
	if h.kind != frameEvents || h.max < sel.from || h.min > sel.to {
		return false
	}
	if len(sel.names) > 0 && h.names&sel.bits == 0 {
		return false
	}
	return len(sel.containers) == 0 || slices.ContainsFunc(sel.containers, h.containers.has)
}

func (sel *selection) wantsContainer(id []byte) bool {
	return len(sel.containers) == 0 || contains(sel.containers, id)
}

func (sel *selection) wantsRecord(in *batch, r *record) bool {
	return r.time >= sel.from && r.time <= sel.to && (len(sel.names) == 0 || contains(sel.names, r.name.of(in.raw)))
}

func contains(set [][]byte, b []byte) bool {
	return slices.ContainsFunc(set, func(each []byte) bool { return bytes.Equal(each, b) })
}

// scan gives the selected events of frames in the order of time. Its memory is
// bounded whatever the times are: when too many events wait for a frame that can
// have an earlier one, the last of them go, and another pass reads them again.
type scan struct {
	loader  loader
	sel     *selection
	mirror  int64 // of times: -1 when the newest come first, else 0
	left    int   // how many events are wanted yet
	most    int   // how many may wait; tests have less
	queue   queue
	from    key // the present pass gives what comes from there on
	damaged map[uint32]struct{}
	broken  map[*segment]error

	// These have memory to be used again.
	scopes    []*heldScope
	resources []*heldResource
	chunk     []waiting
	decoding  batch
}

func newScan(c *codec, q Query) *scan {
	s := &scan{
		loader: loader{codec: c}, sel: newSelection(q), left: math.MaxInt, most: queueEvents,
		from: key{at: math.MinInt64}, damaged: map[uint32]struct{}{}, broken: map[*segment]error{},
	}
	if q.Limit > 0 {
		s.left = q.Limit
	}
	if q.Newest {
		s.mirror = -1
	}
	return s
}

func (s *scan) run(ctx context.Context, sources []source, each func(Event) bool) error {
	for i := range sources {
		src := &sources[i]
		src.rank = uint32(i)
		src.first, src.last = src.min^s.mirror, src.max^s.mirror
		if s.mirror != 0 {
			src.first, src.last = src.last, src.first
		}
	}
	for more := true; more; {
		var err error
		if more, err = s.pass(ctx, sources, each); err != nil {
			return fmt.Errorf("scan events: %w", err)
		}
		s.from, s.queue.cut = s.queue.horizon, false
	}
	return nil
}

// pass gives the events up to the horizon of the queue, and tells whether there
// are more.
func (s *scan) pass(ctx context.Context, sources []source, each func(Event) bool) (more bool, err error) {
	slices.SortFunc(sources, func(a, b source) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.rank, b.rank))
	})
	for i := range sources {
		src := &sources[i]
		if !s.give(src, each) {
			return false, nil
		}
		if s.queue.cut && src.first > s.queue.horizon.at {
			break // the others come even later
		}
		if src.last < s.from.at {
			continue // an earlier pass gave all of it
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		s.read(src)
	}
	return s.give(nil, each) && s.queue.cut, nil
}

// read puts the selected events of a source into the queue.
func (s *scan) read(src *source) {
	// A damaged source has no events, and is not read again.
	src.first, src.last = math.MaxInt64, math.MinInt64
	if err := s.loader.decode(src, s.sel); err != nil {
		s.spoiled(src.rank, src.segment, err)
		return
	}
	b := &s.loader.batch
	s.scopes = append(s.scopes[:0], make([]*heldScope, len(b.groups))...)
	s.resources = append(s.resources[:0], make([]*heldResource, len(b.resources))...)
	s.queue.most = min(s.most, s.left)
	for i := range b.records {
		r := &b.records[i]
		if !s.sel.wantsRecord(b, r) {
			continue
		}
		k := key{at: r.time ^ s.mirror, source: src.rank, record: uint32(i)}
		src.first, src.last = min(src.first, k.at), max(src.last, k.at)
		if k.compare(s.from) >= 0 && s.queue.takes(k) {
			s.queue.push(waiting{k, s.hold(src.segment, r.group), slices.Clone(r.bytes.of(b.raw))})
		}
	}
}

// hold returns a copy of what the records of a group share, the same for each.
func (s *scan) hold(in *segment, number uint32) *heldScope {
	if s.scopes[number] != nil {
		return s.scopes[number]
	}
	b := &s.loader.batch
	g := &b.groups[number]
	if s.resources[g.resource] == nil {
		of := &b.resources[g.resource]
		s.resources[g.resource] = &heldResource{
			segment: in, bytes: slices.Clone(of.bytes.of(b.raw)), schema: slices.Clone(of.schema.of(b.raw)),
		}
	}
	s.scopes[number] = &heldScope{
		of: s.resources[g.resource], scope: slices.Clone(g.scope.of(b.raw)), schema: slices.Clone(g.schema.of(b.raw)),
	}
	return s.scopes[number]
}

// spoiled notes that a source cannot be read, or not all of it.
func (s *scan) spoiled(rank uint32, in *segment, err error) {
	s.damaged[rank] = struct{}{}
	if in != nil {
		s.broken[in] = err
	}
}

// chunkEvents are decoded at a time: what a scan with the limit of a page wants.
const chunkEvents = 500

// give gives what comes before all events of a source that was not read yet, and
// with that of all later ones. A nil source stands for the end.
func (s *scan) give(next *source, each func(Event) bool) (more bool) {
	for {
		s.chunk = s.chunk[:0]
		for len(s.chunk) < min(chunkEvents, s.left) && len(s.queue.waiting) > 0 &&
			(next == nil || s.queue.waiting[0].at < next.first) {
			s.chunk = append(s.chunk, s.queue.pop())
		}
		if len(s.chunk) == 0 {
			return true
		}
		for _, e := range s.decode(s.chunk) {
			s.left--
			if !each(e) || s.left == 0 {
				return false
			}
		}
	}
}

// decode returns the events of a chunk in its order. Those that are malformed
// are left out.
func (s *scan) decode(chunk []waiting) []Event {
	records := s.request(chunk)
	logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(s.decoding.encode(records))
	if err == nil {
		arranged := eventsOf(logs)
		events := make([]Event, len(arranged))
		for i, e := range arranged {
			events[records[i].time] = e
		}
		return events
	}
	if len(chunk) == 1 {
		s.spoiled(chunk[0].source, chunk[0].of.of.segment, fmt.Errorf("decode events: %w", err))
		return nil
	}
	half := len(chunk) / 2 // finds the malformed ones
	return append(s.decode(chunk[:half]), s.decode(chunk[half:])...)
}

// request makes a batch of a chunk and arranges it. The time of a record is its
// place in the chunk.
func (s *scan) request(chunk []waiting) []record {
	b := &s.decoding
	b.reset(2 * runRaw)
	groups, resources := map[*heldScope]uint32{}, map[*heldResource]uint32{}
	for i := range chunk {
		w := &chunk[i]
		of, known := resources[w.of.of]
		if !known {
			of = uint32(len(b.resources))
			resources[w.of.of] = of
			b.resources = append(b.resources, resource{bytes: b.put(w.of.of.bytes), schema: b.put(w.of.of.schema)})
		}
		in, known := groups[w.of]
		if !known {
			in = uint32(len(b.groups))
			groups[w.of] = in
			b.groups = append(b.groups, group{resource: of, scope: b.put(w.of.scope), schema: b.put(w.of.schema)})
		}
		b.records = append(b.records, record{time: int64(i), bytes: b.put(w.record), group: in})
	}
	return b.arrange(false)
}

// events returns the selected events of a source in both forms, in the same
// order. The records are those of the loader's batch.
func (sel *selection) events(l *loader, src *source) ([]record, []Event, error) {
	if err := l.decode(src, sel); err != nil {
		return nil, nil, err
	}
	records := slices.DeleteFunc(l.batch.records, func(r record) bool { return !sel.wantsRecord(&l.batch, &r) })
	if len(records) == 0 {
		return nil, nil, nil
	}
	logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(l.batch.encode(records))
	if err != nil {
		return nil, nil, fmt.Errorf("decode events: %w", err)
	}
	return records, eventsOf(logs), nil
}

// eventsOf lists the events of logs, which it makes read-only.
func eventsOf(logs plog.Logs) []Event {
	logs.MarkReadOnly()
	events := make([]Event, 0, logs.LogRecordCount())
	for _, resource := range logs.ResourceLogs().All() {
		attributes := resource.Resource().Attributes()
		container := ""
		if id, ok := attributes.Get(containerIDField); ok && id.Type() == pcommon.ValueTypeStr {
			container = id.Str()
		}
		for _, scope := range resource.ScopeLogs().All() {
			for _, r := range scope.LogRecords().All() {
				events = append(events, Event{
					Time: time.Unix(0, timeOf(uint64(r.Timestamp()), uint64(r.ObservedTimestamp()))).UTC(), Name: r.EventName(), Container: container,
					Severity: r.SeverityNumber(), Body: r.Body().AsString(),
					Attributes: r.Attributes(), Resource: attributes, Record: r,
				})
			}
		}
	}
	return events
}
