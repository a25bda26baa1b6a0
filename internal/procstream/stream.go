package procstream

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/tallymanhq/tallyman/internal/bpfload"
)

// StreamOptions say what a [Stream] watches and who is told.
type StreamOptions struct {
	// Hierarchy is the number (as in /proc/cgroups) of the cgroup hierarchy
	// whose events are wanted, PidsHierarchy that of the pids controller; both
	// are 0 where cgroup v2 is alone.
	Hierarchy, PidsHierarchy uint32
	// RingBytes is the size of the ring buffer, a power of two of at least a
	// page; 0 is 4 MiB, about 15,000 records.
	RingBytes uint32
	// Handle is called with each event, in order, by one goroutine.
	Handle func(*Event)
	// Lost is called by the same goroutine, in order, when records before
	// this moment have been lost.
	Lost func()

	drain, idle time.Duration // drainEvery and idleEvery, but for tests
}

// Stream is what the kernel tells of processes and cgroups, by BPF.
type Stream struct {
	o      StreamOptions
	set    *bpfload.Set
	reader *ringbuf.Reader
	done   chan struct{}

	records, malformed atomic.Uint64
	drops              [len(dropNames)]atomic.Uint64
}

// StreamStats is what a [Stream] has seen so far.
type StreamStats struct {
	// Records were handled, Malformed could not be understood.
	Records, Malformed uint64
	// Dropped records found no room, by what they were about.
	Dropped map[string]uint64
}

// dropNames are in the order of enum drop in bpf/include/process.h.
var dropNames = [...]string{
	processDropDROP_FORK:   "fork",
	processDropDROP_EXEC:   "exec",
	processDropDROP_EXIT:   "exit",
	processDropDROP_OOM:    "oom",
	processDropDROP_CGROUP: "cgroup",
}

// wakeShare of the ring buffer wakes the reader before its time: 512 KiB of
// 4 MiB, so that it is there long before the buffer is full.
const wakeShare = 8

const (
	// drainEvery is how long a record may wait: the first one after a pause wakes the
	// reader, those after it wait for its next look, so that a storm is some 19 wake-ups a
	// second.
	drainEvery = 100 * time.Millisecond
	// idleEvery is between looks while nothing comes.
	idleEvery = time.Second
)

// OpenStream starts a stream. A host that cannot run it gives an error that
// matches [hostfs.ErrNotSupported]. Close it.
func OpenStream(o StreamOptions) (*Stream, error) {
	o.drain, o.idle = cmp.Or(o.drain, drainEvery), cmp.Or(o.idle, idleEvery)
	spec, err := loadProcess()
	if err != nil {
		return nil, err
	}
	ring := spec.Maps[processMapRecords]
	if o.RingBytes != 0 {
		ring.MaxEntries = o.RingBytes
	}
	for name, value := range map[string]any{
		processVarHierarchy:     o.Hierarchy,
		processVarPidsHierarchy: o.PidsHierarchy,
		processVarWakeAt:        uint64(ring.MaxEntries) / wakeShare,
		processVarWakePause:     uint64(pauseOf(o.drain)),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	set, err := bpfload.Load(spec)
	if err != nil {
		return nil, err
	}
	reader, err := ringbuf.NewReader(set.Map(processMapRecords))
	if err != nil {
		set.Close()
		return nil, fmt.Errorf("open ring buffer: %w", err)
	}
	s := &Stream{o: o, set: set, reader: reader, done: make(chan struct{})}
	go s.run()
	return s, nil
}

// pauseOf is how long after a wake-up no record wakes the reader. It is less than
// between its looks: when one has found nothing, the next record wakes it.
func pauseOf(drain time.Duration) time.Duration { return drain * 4 / 5 }

// Programs tells of each program why it does not run; nil if it does.
func (s *Stream) Programs() map[string]error { return maps.Clone(s.set.Programs) }

// Stats returns the figures so far. It is safe for concurrent use.
func (s *Stream) Stats() StreamStats {
	stats := StreamStats{Records: s.records.Load(), Malformed: s.malformed.Load(), Dropped: map[string]uint64{}}
	for i, name := range dropNames {
		stats.Dropped[name] = s.drops[i].Load()
	}
	return stats
}

// Close stops the stream; Handle is not called any more when it returns.
func (s *Stream) Close() {
	_ = s.reader.Close()
	<-s.done
	s.set.Close()
}

// run reads what is there and waits for more, until the reader is closed.
func (s *Stream) run() {
	defer close(s.done)
	var record ringbuf.Record
	var event Event
	decode := decoder{page: uint64(os.Getpagesize())}
	for wait := s.o.drain; ; {
		s.reader.SetDeadline(time.Now().Add(wait))
		err := s.reader.ReadInto(&record)
		if wait = s.o.idle; err == nil {
			wait = s.o.drain
			s.reader.SetDeadline(time.Now().Add(wait)) // nobody is woken for those that follow
		}
		for err == nil {
			s.handle(decode, record.RawSample, &event)
			err = s.reader.ReadInto(&record)
		}
		if errors.Is(err, ringbuf.ErrClosed) {
			return
		}
		s.countDrops()
	}
}

func (s *Stream) handle(decode decoder, record []byte, event *Event) {
	if err := decode.decode(record, event); err != nil {
		s.malformed.Add(1)
		return
	}
	s.records.Add(1)
	s.o.Handle(event)
}

// countDrops asks the kernel for lost records, after all that are older have
// been handled.
func (s *Stream) countDrops() {
	counts, err := s.set.Drops(processMapDrops)
	if err != nil {
		return // closing
	}
	lost := false
	for i := range s.drops {
		lost = lost || counts[i] != s.drops[i].Load()
		s.drops[i].Store(counts[i])
	}
	if lost && s.o.Lost != nil {
		s.o.Lost()
	}
}
