package connstream

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"github.com/tallymanhq/tallyman/internal/expohist"
)

// ResponseKey is whose response times they are.
type ResponseKey struct {
	// Cgroup, MemoryCgroup and Netns are as in [Record]: of the end that
	// answers, or waits for the answer.
	Cgroup, MemoryCgroup, Netns uint64
	// Direction is Incoming at the end that answers, Outgoing at the one that
	// waits.
	Direction Direction
	// ServerPort is the local port of an incoming connection and the remote one
	// of an outgoing, both before translation on the way.
	ServerPort uint16
}

// ResponseTimes are the exchanges of a key since it began.
type ResponseTimes struct {
	// Start is when the first exchange began, since boot (CLOCK_BOOTTIME).
	Start time.Duration
	// Sum, Min and Max are exact.
	Sum, Min, Max time.Duration
	// Buckets count exchanges as an exponential histogram of scale 2 does, the
	// first in bucket FirstBucket: four to the octave, from 2^-20 s (about a
	// microsecond) to 2^6 s. Shorter ones are in the first, longer ones in the
	// last: Min and Max tell.
	Buckets [connectionResponseRESPONSE_BUCKETS]uint64
}

// What ResponseTimes.Buckets are in OpenTelemetry's terms: bucket i of the scale
// is above 2^(i/4) s and not above 2^((i+1)/4) s.
const (
	ResponseScale = 2
	FirstBucket   = -int(connectionResponseRESPONSE_LOW * connectionResponseRESPONSE_PER_OCTAVE)
)

// Count is the number of exchanges.
func (r *ResponseTimes) Count() uint64 {
	n := uint64(0)
	for _, count := range r.Buckets {
		n += count
	}
	return n
}

// Merge adds the exchanges of another key. One that has none yet is the zero
// value.
func (r *ResponseTimes) Merge(from *ResponseTimes) {
	if r.Start == 0 {
		*r = *from
		return
	}
	r.Start = min(r.Start, from.Start)
	r.Sum += from.Sum
	r.Min = min(r.Min, from.Min)
	r.Max = max(r.Max, from.Max)
	for i, count := range from.Buckets {
		r.Buckets[i] += count
	}
}

// Point returns the exchanges as OTLP has them, in seconds. Its counts are those
// of r, not a copy.
func (r *ResponseTimes) Point() expohist.Point {
	p := expohist.Point{
		Count: r.Count(),
		Sum:   r.Sum.Seconds(),
		Min:   r.Min.Seconds(),
		Max:   r.Max.Seconds(),
		Scale: ResponseScale,
	}
	low, high := r.used()
	p.Positive = expohist.Row{Offset: int32(FirstBucket + low), Counts: r.Buckets[low:high:high]}
	return p
}

// used is the range of buckets that count anything.
func (r *ResponseTimes) used() (low, high int) {
	high = len(r.Buckets)
	for high > 0 && r.Buckets[high-1] == 0 {
		high--
	}
	for low < high && r.Buckets[low] == 0 {
		low++
	}
	return low, high
}

const (
	// forgetAfter is when a key that is not used makes room: far longer than a
	// service is quiet between two health checks, and than anybody waits to
	// read. Four thousand keys in that time are seven new ones each second.
	forgetAfter = 10 * time.Minute
	// readAtOnce keys are copied by one system call: 0.2 MB.
	readAtOnce = 256
)

// responses reads the map of response times. The lock keeps Close away from those
// who read, and them from each other's memory.
type responses struct {
	mu     sync.Mutex
	from   *ebpf.Map // nil: they are not measured
	closed bool
	keys   []connectionResponseKey
	values []connectionHistogram
	one    ResponseTimes
}

// Responses calls each for every key with what it has counted since it began.
// What each gets is valid only during the call; it must not call Responses or
// Close. Counts only grow until a key has not been used for ten minutes: then it
// is forgotten, and begins anew, with a later Start, when it is used again. That
// happens here, so call it more often than that. Without
// Options.ResponseTimes, or where Programs says that it was refused, there are
// none. After Close the error matches [os.ErrClosed].
func (s *Stream) Responses(each func(ResponseKey, *ResponseTimes)) error {
	return s.answers.read(Now(), each)
}

func (r *responses) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

func (r *responses) read(now time.Duration, each func(ResponseKey, *ResponseTimes)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("read response times: %w", os.ErrClosed)
	}
	if r.from == nil {
		return nil
	}
	if r.keys == nil {
		r.keys = make([]connectionResponseKey, readAtOnce)
		r.values = make([]connectionHistogram, readAtOnce)
	}
	var at ebpf.MapBatchCursor
	for {
		n, err := r.from.BatchLookup(&at, r.keys, r.values, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return fmt.Errorf("read response times: %w", err)
		}
		for i := range n {
			if err := r.give(&r.keys[i], &r.values[i], now, each); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// give hands out one key, or forgets it. What was added since it was read is
// handed out all the same.
func (r *responses) give(k *connectionResponseKey, h *connectionHistogram, now time.Duration, each func(ResponseKey, *ResponseTimes)) error {
	if !h.isUsed(now) {
		err := r.from.LookupAndDelete(k, h)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget response times: %w", err)
		}
		if err != nil || !h.isUsed(now) {
			return nil
		}
	}
	r.one = ResponseTimes{
		Start: time.Duration(h.Start), Sum: time.Duration(h.Sum), Min: time.Duration(h.Min), Max: time.Duration(h.Max),
		Buckets: h.Buckets,
	}
	low, high := r.one.used()
	if low == high { // has only just been made
		return nil
	}
	each(ResponseKey{
		Cgroup: k.Cgroup, MemoryCgroup: k.Memory, Netns: uint64(k.Netns),
		Direction: Direction(k.Direction), ServerPort: k.Port,
	}, &r.one)
	return nil
}

// isUsed tells whether the last exchange was not long ago. One that has only
// just been made has no time yet.
func (h *connectionHistogram) isUsed(now time.Duration) bool {
	return h.Used == 0 || time.Duration(h.Used)+forgetAfter > now
}
