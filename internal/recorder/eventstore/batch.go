package eventstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
)

// batch has the log records of encoded requests. It keeps its memory when it
// is reset.
type batch struct {
	// raw has the requests one after the other, which is again a request.
	raw       []byte
	records   []record
	groups    []group
	resources []resource

	// These find equal resources and groups of different requests by their
	// hashes. Two different ones of one hash are possible: the second is not
	// found then, which costs bytes.
	resourceOf, groupOf map[uint64]uint32
	hash                maphash.Hash

	order  []uint32 // of the groups, for arrange
	sorted []record // what arrange returns
	out    []byte   // what encode returns
}

// record is an encoded log record with what selects it.
type record struct {
	time  int64
	bytes part
	name  part
	group uint32
}

// group is what the log records of a scope share.
type group struct {
	resource      uint32
	scope, schema part

	hash uint64
	// start and end are used by arrange.
	start, end int
}

// resource is what groups share: one can have thousands of scopes.
type resource struct {
	bytes, schema part
	container     part
	hash          uint64
}

// reset empties the batch. A rare one of more than most bytes does not keep its
// memory for ever.
func (b *batch) reset(most int) {
	if max(cap(b.raw), cap(b.out)) > most {
		*b = batch{}
		return
	}
	b.raw, b.records, b.groups, b.resources = b.raw[:0], b.records[:0], b.groups[:0], b.resources[:0]
	clear(b.resourceOf)
	clear(b.groupOf)
}

// add appends an encoded request.
func (b *batch) add(request []byte) error {
	from := len(b.raw)
	b.raw = append(b.raw, request...)
	return b.decode(from, nil)
}

// decode finds the log records of the request that raw has behind from. Those
// of containers that keep refuses are stepped over; a nil keep takes all. After
// an error all is as if the request were not there.
func (b *batch) decode(from int, keep func(container []byte) bool) error {
	records, groups, resources := len(b.records), len(b.groups), len(b.resources)
	c := message(b.raw, part{uint32(from), uint32(len(b.raw) - from)})
	for c.next() {
		if c.number == fieldResourceLogs && c.wire == wireBytes {
			c.err = b.decodeResource(c.bytes, keep)
		}
	}
	if c.err == nil {
		return nil
	}
	for _, g := range b.groups[groups:] {
		delete(b.groupOf, g.hash)
	}
	for _, r := range b.resources[resources:] {
		delete(b.resourceOf, r.hash)
	}
	b.raw, b.records, b.groups, b.resources = b.raw[:from], b.records[:records], b.groups[:groups], b.resources[:resources]
	return c.err
}

func (b *batch) decodeResource(p part, keep func([]byte) bool) error {
	var like resource
	var err error
	if like.bytes, like.schema, err = outer(b.raw, p); err != nil {
		return err
	}
	if like.container, err = containerOf(b.raw, like.bytes); err != nil {
		return err
	}
	if keep != nil && !keep(like.container.of(b.raw)) {
		return nil
	}
	of := b.findResource(like)
	c := message(b.raw, p)
	for c.next() {
		if c.number == fieldInner && c.wire == wireBytes {
			c.err = b.decodeScope(c.bytes, of)
		}
	}
	return c.err
}

func (b *batch) decodeScope(p part, resource uint32) error {
	like := group{resource: resource}
	var err error
	if like.scope, like.schema, err = outer(b.raw, p); err != nil {
		return err
	}
	of := b.findGroup(like)
	c := message(b.raw, p)
	for c.next() {
		if c.number != fieldInner || c.wire != wireBytes {
			continue
		}
		r := record{bytes: c.bytes, group: of}
		if r.time, r.name, err = describe(b.raw, c.bytes); err != nil {
			return err
		}
		b.records = append(b.records, r)
	}
	return c.err
}

// findResource returns the number of the resource with the same bytes, a new
// one if there is none yet.
func (b *batch) findResource(like resource) uint32 {
	like.hash = b.sum(0, like.bytes, like.schema)
	known, taken := b.resourceOf[like.hash]
	if taken && b.equal(b.resources[known].bytes, like.bytes) && b.equal(b.resources[known].schema, like.schema) {
		return known
	}
	found := uint32(len(b.resources))
	if !taken {
		remember(&b.resourceOf, like.hash, found)
	}
	b.resources = append(b.resources, like)
	return found
}

// findGroup does the same for a group.
func (b *batch) findGroup(like group) uint32 {
	like.hash = b.sum(like.resource, like.scope, like.schema)
	known, taken := b.groupOf[like.hash]
	if taken && b.groups[known].resource == like.resource &&
		b.equal(b.groups[known].scope, like.scope) && b.equal(b.groups[known].schema, like.schema) {
		return known
	}
	found := uint32(len(b.groups))
	if !taken {
		remember(&b.groupOf, like.hash, found)
	}
	b.groups = append(b.groups, like)
	return found
}

func (b *batch) sum(number uint32, these, those part) uint64 {
	var bytes [4]byte
	binary.LittleEndian.PutUint32(bytes[:], number)
	b.hash.Reset()
	// None of them returns an error, by the documentation.
	_, _ = b.hash.Write(bytes[:])
	_, _ = b.hash.Write(these.of(b.raw))
	_, _ = b.hash.Write(those.of(b.raw))
	return b.hash.Sum64()
}

func (b *batch) equal(this, that part) bool { return bytes.Equal(this.of(b.raw), that.of(b.raw)) }

func remember(in *map[uint64]uint32, hash uint64, number uint32) {
	if *in == nil {
		*in = map[uint64]uint32{}
	}
	(*in)[hash] = number
}

// put adds bytes that are no request, for a batch that is put together by hand.
func (b *batch) put(bytes []byte) part {
	at := len(b.raw)
	b.raw = append(b.raw, bytes...)
	return part{uint32(at), uint32(len(bytes))}
}

// arrange returns the records, those of a resource together, within it those of
// a scope, and these in the order of time; equal times keep their order. The
// result is good until the next call.
func (b *batch) arrange(byContainer bool) []record {
	b.order = b.order[:0]
	for i := range b.groups {
		b.order = append(b.order, uint32(i))
		b.groups[i].end = 0
	}
	slices.SortStableFunc(b.order, func(x, y uint32) int {
		r, q := b.groups[x].resource, b.groups[y].resource
		if byContainer && r != q {
			if order := bytes.Compare(b.resources[r].container.of(b.raw), b.resources[q].container.of(b.raw)); order != 0 {
				return order
			}
		}
		return cmp.Compare(r, q)
	})
	for i := range b.records {
		b.groups[b.records[i].group].end++
	}
	next := 0
	for _, i := range b.order {
		g := &b.groups[i]
		g.start, next = next, next+g.end
		g.end = g.start
	}
	b.sorted = slices.Grow(b.sorted[:0], len(b.records))[:len(b.records)]
	for i := range b.records {
		g := &b.groups[b.records[i].group]
		b.sorted[g.end] = b.records[i]
		g.end++
	}
	byTime := func(x, y record) int { return cmp.Compare(x.time, y.time) }
	for i := range b.groups {
		// They mostly come in order: looking costs less than sorting.
		if same := b.sorted[b.groups[i].start:b.groups[i].end]; !slices.IsSortedFunc(same, byTime) {
			slices.SortStableFunc(same, byTime)
		}
	}
	return b.sorted
}

// mergedFrame returns how many of the records, at least one, make the next
// merged frame: denseEvents or denseRaw, what their resources and scopes take
// included. A resource that is bigger is followed by as much again, so that it is
// not written for a few records each time.
func (b *batch) mergedFrame(records []record) int {
	// lengths is what a ResourceLogs and a ScopeLogs add: a tag and at most
	// four bytes of length each, as long as maxRaw bounds them.
	const lengths = 2 * 5
	records = records[:min(len(records), denseEvents)]
	size, room := 0, 0
	for i := range records {
		more := sizeOf(int(records[i].bytes.size))
		if i == 0 || records[i].group != records[i-1].group {
			g := &b.groups[records[i].group]
			more += lengths + sizeOfPart(g.scope) + sizeOfPart(g.schema)
			if i == 0 || b.groups[records[i-1].group].resource != g.resource {
				more += sizeOfPart(b.resources[g.resource].bytes) + sizeOfPart(b.resources[g.resource].schema)
			}
		}
		if i == 0 {
			room = min(maxRaw, max(denseRaw, 2*more))
		} else if size+more > room {
			return i
		}
		size += more
	}
	return len(records)
}

// encode returns records of the batch as an encoded request, which is good
// until the next call. Neighbours of one resource share a ResourceLogs, those
// of one group a ScopeLogs. So it is never longer than the requests were from
// which the records came, and these are in their order or arranged.
func (b *batch) encode(records []record) []byte {
	size := 0
	for i := range records {
		size += sizeOf(int(records[i].bytes.size))
	}
	out := slices.Grow(b.out[:0], size+size/4) // some for the resources
	for len(records) > 0 {
		of := b.groups[records[0].group].resource
		n := 1
		for n < len(records) && b.groups[records[n].group].resource == of {
			n++
		}
		out = b.appendResource(out, &b.resources[of], records[:n])
		records = records[n:]
	}
	b.out = out
	return out
}

func (b *batch) appendResource(out []byte, of *resource, records []record) []byte {
	size := sizeOfPart(of.bytes) + sizeOfPart(of.schema)
	for rest := records; len(rest) > 0; {
		n, scopeSize := b.scope(rest)
		size += sizeOf(scopeSize)
		rest = rest[n:]
	}
	out = appendTag(out, fieldResourceLogs, size)
	out = appendPart(out, fieldResource, of.bytes.of(b.raw))
	for len(records) > 0 {
		n, scopeSize := b.scope(records)
		g := &b.groups[records[0].group]
		out = appendTag(out, fieldInner, scopeSize)
		out = appendPart(out, fieldResource, g.scope.of(b.raw))
		for i := range records[:n] {
			out = appendTag(out, fieldInner, int(records[i].bytes.size))
			out = append(out, records[i].bytes.of(b.raw)...)
		}
		out = appendPart(out, fieldSchema, g.schema.of(b.raw))
		records = records[n:]
	}
	return appendPart(out, fieldSchema, of.schema.of(b.raw))
}

// scope returns how many of the records share the group of the first, and the
// length of their ScopeLogs.
func (b *batch) scope(records []record) (n, size int) {
	of := records[0].group
	size = sizeOfPart(b.groups[of].scope) + sizeOfPart(b.groups[of].schema)
	for n < len(records) && records[n].group == of {
		size += sizeOf(int(records[n].bytes.size))
		n++
	}
	return n, size
}

// summarise fills what a frame header tells about records of the batch.
func (b *batch) summarise(records []record) header {
	h := header{kind: frameEvents, events: uint32(len(records)), min: math.MaxInt64, max: math.MinInt64}
	var name []byte
	for i := range records {
		r := &records[i]
		h.min = min(h.min, r.time)
		h.max = max(h.max, r.time)
		if own := r.name.of(b.raw); i == 0 || !bytes.Equal(own, name) {
			h.names |= nameBit(own)
			name = own
		}
		if i == 0 || r.group != records[i-1].group {
			h.containers.add(b.container(r))
		}
	}
	return h
}

// container returns the id of the container that a record belongs to.
func (b *batch) container(r *record) []byte {
	return b.resources[b.groups[r.group].resource].container.of(b.raw)
}
