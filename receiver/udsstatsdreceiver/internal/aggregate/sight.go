package aggregate

import (
	"bytes"
	"hash/maphash"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// A context's text is its name, and for each tag key, isValue, value, isNext.
// Neither byte can be in valid UTF-8.
const (
	isValue = 0xFF
	isNext  = 0xFE
)

// OverflowTag is the only tag of an overflow context; its value is "true".
const OverflowTag = "statsd.overflow"

// maxBlockedKeys bounds what is remembered of blocked names. Beyond it the
// policy is asked each time.
const maxBlockedKeys = 65_536

// sight is the memory for the first sight of a context.
type sight struct {
	text []byte
	tags []tag
}

type tag struct{ key, value []byte }

// identity is what makes a context, but for its text, which is in sight.
type identity struct {
	owner uint32
	typ   dogstatsd.Type
	name  int // length of the name
}

// firstSight finds or makes the context of a raw key and remembers the key. It
// returns blocked for what the policy does not want, and 0 if the value was
// dropped and counted.
func (t *Table) firstSight(key uint64, origin Origin, s *dogstatsd.Sample) uint32 {
	if owner, why := t.overdrawn(origin, s); why != fits {
		return t.sightOfName(owner, why, s)
	}
	m, wasBad, isWanted := t.mapped(key, s)
	if !isWanted {
		return blocked
	}
	owner := t.ownerOf(origin)
	if owner == 0 {
		t.nobody[OriginsFull]++
		return 0
	}
	wasBad = t.sight.write(m, s.Tags) || wasBad
	id := identity{owner, s.Type, len(m.Name)}
	if id.name > math.MaxUint16 || len(t.sight.text)-id.name > math.MaxUint16 {
		t.owners.at(owner).counts[TooLong]++
		return 0
	}
	ref, isNew := t.contextOf(id, &t.settings.Limits)
	if isNew && wasBad {
		t.owners.at(owner).counts[Cleaned]++
	}
	if ref != 0 && t.contexts.at(ref).flags&overflowed == 0 {
		t.remember(key, ref)
	}
	return ref
}

// sightOfName finds or makes the overflow context for a sample of an owner that
// may have no more contexts, remembers that for the name, and counts why. The
// tags are not looked at: that is most of the work.
func (t *Table) sightOfName(owner uint32, why Reason, s *dogstatsd.Sample) uint32 {
	o := t.owners.at(owner)
	key := t.nameKey(o.origin, s)
	ref := t.raw.find(key)
	if ref == 0 {
		m, _, isWanted := t.mapped(key, s)
		if !isWanted {
			return blocked
		}
		if len(m.Name) > math.MaxUint16 {
			o.counts[TooLong]++
			return 0
		}
		t.sight.text = append(t.sight.text[:0], m.Name...)
		if ref = t.overflowFor(identity{owner, s.Type, len(m.Name)}); ref == 0 {
			return 0
		}
		// A third of the keys is left for names: orders of tags do not take them.
		if t.billOf(owner).keys < 3*t.settings.Limits.OriginContexts && t.room(t.raw.growth(), &t.overflowLimits) {
			t.insert(key, ref)
		}
	}
	if ref != blocked {
		o.counts[why]++
	}
	return ref
}

// nameKey is the hash of the name and the type of a sample. It is that of no
// sample as sent: origins are not complements of each other.
func (t *Table) nameKey(origin Origin, s *dogstatsd.Sample) uint64 {
	return mix(maphash.Bytes(t.settings.Seed, s.Name)^uint64(s.Type), ^uint64(origin))
}

// mapped makes a name valid and asks the policy about it. It remembers the raw key
// of what is not wanted.
func (t *Table) mapped(key uint64, s *dogstatsd.Sample) (m Mapped, wasBad, isWanted bool) {
	name, wasBad := clean(s.Name)
	m.Name = string(name)
	if t.settings.Policy == nil {
		return m, wasBad, true
	}
	m, isWanted = t.settings.Policy.Apply(m.Name)
	if !isWanted && t.blockedKeys < maxBlockedKeys && t.room(t.raw.growth(), &t.settings.Limits) {
		t.raw.insert(key, blocked)
		t.blockedKeys++
	}
	return m, wasBad, isWanted
}

// remember makes a raw key an alias of a context. The orders in which n tags can
// come are many; no origin may fill the index with them.
func (t *Table) remember(key uint64, ref uint32) {
	owner := t.contexts.at(ref).owner
	if t.billOf(owner).keys >= 2*t.settings.Limits.OriginContexts || !t.room(t.raw.growth(), &t.settings.Limits) {
		t.owners.at(owner).counts[Unremembered]++
		return
	}
	t.insert(key, ref)
}

func (t *Table) insert(key uint64, ref uint32) {
	t.raw.insert(key, ref)
	t.use(t.contexts.at(ref).owner, usage{keys: 1})
}

// contextOf finds or makes the context for the text in sight: its own, that of
// the overflow, or none.
func (t *Table) contextOf(id identity, l *Limits) (ref uint32, isNew bool) {
	hash := t.textHash(id)
	if ref := t.findText(hash, id); ref != 0 {
		return ref, false
	}
	if why := t.lack(id.owner, l); why != fits {
		return t.countedOverflow(id, why), false
	}
	return t.make(hash, id, 0), true
}

// countedOverflow is overflowFor with the reason.
func (t *Table) countedOverflow(id identity, r Reason) uint32 {
	ref := t.overflowFor(id)
	if ref != 0 {
		t.owners.at(id.owner).counts[r]++
	}
	return ref
}

// overflowFor returns the overflow context for the name in sight. Of those an
// origin may have a tenth of its contexts, and all of them a tenth of all; what
// comes then, or finds no memory even of what is kept for them, is dropped.
func (t *Table) overflowFor(id identity) uint32 {
	t.sight.text = append(append(t.sight.text[:id.name], OverflowTag...), isValue)
	t.sight.text = append(append(t.sight.text, "true"...), isNext)
	hash := t.textHash(id)
	if ref := t.findText(hash, id); ref != 0 {
		return ref
	}
	if why := t.lackOfOverflow(id.owner); why != fits {
		t.owners.at(id.owner).counts[why]++
		return 0
	}
	return t.make(hash, id, overflowed)
}

func (t *Table) textHash(id identity) uint32 {
	h := maphash.Bytes(t.settings.Seed, t.sight.text)
	return uint32(mix(h^uint64(id.typ), uint64(id.owner)))
}

func (t *Table) findText(hash uint32, id identity) uint32 {
	return t.known.find(hash, func(ref uint32) bool {
		c := t.contexts.at(ref)
		return c.owner == id.owner && c.typ == id.typ && int(c.name) == id.name &&
			t.texts.get(c.where, int(c.name)+int(c.labels)) == string(t.sight.text)
	})
}

func (t *Table) make(hash uint32, id identity, flags uint8) uint32 {
	ref := t.contexts.take()
	c := t.contexts.at(ref)
	*c = context{
		start:  t.now,
		where:  t.texts.put(t.sight.text),
		hash:   hash,
		owner:  id.owner,
		seen:   t.second,
		name:   uint16(id.name),
		labels: uint16(len(t.sight.text) - id.name),
		typ:    id.typ,
		flags:  flags,
	}
	t.owners.at(id.owner).contexts++
	t.enlist(c, 1)
	t.known.insert(hash, ref)
	return ref
}

// growth is how many bytes another context would allocate.
func (t *Table) growth(text int) int {
	return t.raw.growth() + t.known.growth() + t.texts.growth(text) + t.contexts.growth()
}

// overflowGrowth is what another overflow context adds in the end: it needs no
// raw key, and an index that doubles lets go of half. What is kept for overflow
// contexts must be enough for that.
func (t *Table) overflowGrowth(text int) int {
	n := t.texts.growth(text) + t.contexts.growth()
	if index := t.known.growth(); index > 0 {
		n += index - t.known.bytes()
	}
	return n
}

// write writes name and tags: valid UTF-8, sorted, each key once, its values
// with commas between them. The pseudo-tags about the origin are left out; host
// stays, as it tells one metric from another. It tells whether text had to be made valid.
func (g *sight) write(m Mapped, raw []byte) (wasBad bool) {
	g.tags = g.tags[:0]
	for sent := range dogstatsd.Tags(raw) {
		if sent.Pseudo == dogstatsd.PseudoEntity || sent.Pseudo == dogstatsd.PseudoCardinality {
			continue
		}
		key, isBadKey := clean(sent.Key)
		value, isBadValue := clean(sent.Value)
		wasBad = wasBad || isBadKey || isBadValue
		g.tags = append(g.tags, tag{key, value})
	}
	for _, added := range m.Tags {
		g.tags = append(g.tags, tag{[]byte(added.Key), []byte(added.Value)})
	}
	slices.SortFunc(g.tags, func(a, b tag) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return bytes.Compare(a.value, b.value)
	})
	g.text = append(g.text[:0], m.Name...)
	for i, t := range g.tags {
		switch {
		case i > 0 && bytes.Equal(t.key, g.tags[i-1].key) && bytes.Equal(t.value, g.tags[i-1].value):
			continue
		case i > 0 && bytes.Equal(t.key, g.tags[i-1].key):
			g.text[len(g.text)-1] = ','
		default:
			g.text = append(append(g.text, t.key...), isValue)
		}
		g.text = append(append(g.text, t.value...), isNext)
	}
	return wasBad
}

// tagsOf splits what write wrote.
func tagsOf(text string) iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		for text != "" {
			var key, value string
			key, text, _ = strings.Cut(text, string([]byte{isValue}))
			value, text, _ = strings.Cut(text, string([]byte{isNext}))
			if !yield(key, value) {
				return
			}
		}
	}
}

// clean is dogstatsd.Clean without an allocation for what is plain ASCII.
func clean(b []byte) (valid []byte, wasBad bool) {
	if bytes.IndexFunc(b, func(r rune) bool { return r < ' ' || r > '~' }) < 0 {
		return b, false
	}
	text, wasBad := dogstatsd.Clean(b)
	return []byte(text), wasBad
}
