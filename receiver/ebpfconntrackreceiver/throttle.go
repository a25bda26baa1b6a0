package ebpfconntrackreceiver

import (
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
)

const (
	// A client that tries again and again makes connections of one kind; a scan
	// makes a kind at each port, and a host that is cut off some in each of its
	// containers. So there is a bound of each, in multiples of unusual.per_interval.
	// By default that is 20 records a second at worst, of up to 2 kB as OTLP's JSON:
	// the 40 MB of events.jsonl hold a quarter of an hour of it, an hour of one
	// container's scan, and five of a client that tries.
	perContainer = 5
	perHost      = 20
	// maxUntold bounds the kinds and the containers that are quiet and of which
	// something is still to be told; 130 bytes each.
	maxUntold = 4096
)

// throttle bounds log records in each interval: of a kind, of a container and of
// all. What it leaves out is told with the next record of the same, if the interval
// after allows one. It is not safe for concurrent use.
type throttle struct {
	each   int // of a kind; 0 is no bound
	kinds  tallies[endingKind]
	owners tallies[string]
	all    int
}

// endingKind is what records have in common that say the same.
type endingKind struct {
	owner     string
	peer      edges.Peer
	port      uint16
	direction edges.Direction
	outcome   connstream.Outcome
}

// tally is of the records of this interval that were written, and of those that
// were left out since the last one that was.
type tally struct {
	written int
	left    uint64
}

type tallies[K comparable] map[K]tally

func newThrottle(each int) throttle {
	return throttle{each: each, kinds: tallies[endingKind]{}, owners: tallies[string]{}}
}

// allow tells whether a record is to be written, and how many were left out before
// it that nobody was told of.
func (t *throttle) allow(f *flight) (leftOut uint64, ok bool) {
	if t.each == 0 {
		return 0, true
	}
	kind := endingKind{f.owner, f.edgePeer(), f.serverPort(), f.direction, f.record.Outcome}
	// A kind or a container is remembered only once it has a record, so that the
	// bound of all bounds their number, too.
	if t.kinds.leaves(kind, t.each) || t.owners.leaves(f.owner, t.each*perContainer) || t.all >= t.each*perHost {
		return 0, false
	}
	t.all++
	return t.kinds.write(kind) + t.owners.write(f.owner), true
}

// next begins an interval.
func (t *throttle) next() {
	t.all = 0
	t.kinds.next()
	t.owners.next()
}

// leaves counts a record that comes after the most there may be.
func (t tallies[K]) leaves(key K, most int) bool {
	one := t[key]
	if one.written < most {
		return false
	}
	one.left++
	t[key] = one
	return true
}

func (t tallies[K]) write(key K) (leftOut uint64) {
	one := t[key]
	t[key] = tally{written: one.written + 1}
	return one.left
}

// next forgets of whom there is nothing to tell, and, of too many, who is quiet.
func (t tallies[K]) next() {
	for key, one := range t {
		if one.left == 0 || one.written == 0 && len(t) > maxUntold {
			delete(t, key)
			continue
		}
		t[key] = tally{left: one.left}
	}
}
