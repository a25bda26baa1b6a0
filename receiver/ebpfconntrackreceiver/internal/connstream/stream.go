package connstream

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/tallymanhq/tallyman/internal/bpfload"
)

// Options say what a [Stream] may use and who is told.
type Options struct {
	// RingBytes is the size of the ring buffer, a power of two of at least a
	// page; 0 is 4 MiB, about 26,000 records.
	RingBytes uint32
	// MaxConnections is how many open connections are remembered; 0 is 65,536.
	// Of more, the oldest are forgotten: their records have no beginning.
	MaxConnections uint32
	// IO lets the programs look at every send and receive of the host, of
	// sockets of any kind, and so know the process of each incoming connection.
	// Kernels before 6.3 cannot: the stream goes without then.
	IO bool
	// ResponseTimes measures how long answers take, for [Stream.Responses]. It
	// has the programs of IO do so, with or without IO.
	ResponseTimes bool
	// MaxResponses is how many keys of response times are kept; 0 is 4,096. Each
	// that is used takes 1 kB of kernel memory, each that could be 16 bytes.
	MaxResponses uint32
	// Handle is called with records, in the order in which connections ended
	// (between processors: nearly), by one goroutine. The slice is valid only
	// during the call. While it does not return, records wait in the ring
	// buffer.
	Handle func([]Record)
	// Lost is called by the same goroutine with the number of records that
	// were lost since the last call, after those before them; nil is nobody.
	Lost func(records uint64)

	idle time.Duration // idleEvery, but for tests
}

// Stream is what the kernel tells of connections that end, by BPF. Its methods
// are safe for concurrent use, but for Seed during Close.
type Stream struct {
	o       Options
	set     *bpfload.Set
	answers responses
	reader  *ringbuf.Reader
	closing chan struct{}
	done    chan struct{}
	close   sync.Once

	// Of the reading goroutine.
	batch []Record

	records, malformed atomic.Uint64
	counts             [connectionDropDROP_COUNT]atomic.Uint64
}

// Stats is what a [Stream] has seen so far. A connection end that the kernel
// closed while the stream was open is in exactly one of Records, Malformed,
// RingFull and HalfOpen.
type Stats struct {
	// Records were handled, Malformed could not be understood.
	Records, Malformed uint64
	// RingFull are records lost because the ring buffer was full.
	RingFull uint64
	// MapFull are beginnings of connections, and listeners, that the kernel
	// found no memory to remember.
	MapFull uint64
	// HalfOpen are incoming connections that ended before the other side
	// confirmed them: they have no record.
	HalfOpen uint64
	// Unseen are records whose beginning is not known: connections that were
	// there before the stream, or more than Options.MaxConnections.
	Unseen uint64
	// ResponsesFull are exchanges that are not in [Stream.Responses] because
	// there were more than Options.MaxResponses keys.
	ResponsesFull uint64
}

const (
	// wakeShare of the ring buffer wakes the reader before its time: 256 KiB of
	// 2 MiB. A wake-up for each record made a record five times as dear.
	wakeShare = 8
	// The first record for wakePause wakes the reader. Those that follow wait for its
	// next look: while records come, and soonFor after the last, which is longer than
	// that, there is one each soonEvery. An engine takes a container's connections out of conntrack
	// some 50 ms after its end (at a look every 100 ms half of 50 such containers
	// were too late), and who is to know what they were translated to has to ask
	// before. At 10 ms the agent took twice as much CPU.
	wakePause = 50 * time.Millisecond
	soonEvery = 20 * time.Millisecond
	soonFor   = 60 * time.Millisecond
	// idleEvery is between looks while nothing comes, countEvery how often the kernel's
	// counters are read at most.
	idleEvery  = time.Second
	countEvery = 100 * time.Millisecond
	// maxBatch records are handled at once: more than what wakes the
	// reader, and 800 kB.
	maxBatch = 4096
)

// Open starts a stream. A host that cannot run it gives an error that matches
// [hostfs.ErrNotSupported]. Close it.
func Open(o Options) (*Stream, error) {
	spec, err := specOf(o)
	if err != nil {
		return nil, err
	}
	return openSpec(spec, o)
}

func openSpec(spec *ebpf.CollectionSpec, o Options) (*Stream, error) {
	set, err := bpfload.Load(spec)
	if err != nil {
		return nil, err
	}
	// Without this one the others have nothing to add to.
	if err := set.Programs[connectionProgOnState]; err != nil {
		set.Close()
		return nil, err
	}
	reader, err := ringbuf.NewReader(set.Map(connectionMapRecords))
	if err != nil {
		set.Close()
		return nil, fmt.Errorf("open ring buffer: %w", err)
	}
	o.idle = cmp.Or(o.idle, idleEvery)
	s := &Stream{o: o, set: set, reader: reader, closing: make(chan struct{}), done: make(chan struct{})}
	if o.ResponseTimes {
		s.answers.from = set.Map(connectionMapResponses)
	}
	go s.run()
	return s, nil
}

func specOf(o Options) (*ebpf.CollectionSpec, error) {
	spec, err := loadConnection()
	if err != nil {
		return nil, err
	}
	ring, answers := spec.Maps[connectionMapRecords], spec.Maps[connectionMapResponses]
	if o.RingBytes != 0 {
		ring.MaxEntries = o.RingBytes
	}
	if o.MaxConnections != 0 {
		spec.Maps[connectionMapConnections].MaxEntries = o.MaxConnections
	}
	if o.MaxResponses != 0 {
		answers.MaxEntries = o.MaxResponses
	}
	if !o.ResponseTimes {
		answers.MaxEntries = 1 // a map must have room for one
	}
	wakeAt := uint64(ring.MaxEntries) / wakeShare
	if err := spec.Variables[connectionVarWakeAt].Set(wakeAt); err != nil {
		return nil, fmt.Errorf("set %s: %w", connectionVarWakeAt, err)
	}
	if err := spec.Variables[connectionVarWakePause].Set(uint64(wakePause)); err != nil {
		return nil, fmt.Errorf("set %s: %w", connectionVarWakePause, err)
	}
	if err := spec.Variables[connectionVarResponseTimes].Set(o.ResponseTimes); err != nil {
		return nil, fmt.Errorf("set %s: %w", connectionVarResponseTimes, err)
	}
	delete(spec.Programs, connectionProgBucket) // of tests
	if !o.IO && !o.ResponseTimes {
		delete(spec.Programs, connectionProgOnSend)
		delete(spec.Programs, connectionProgOnReceive)
	}
	return spec, nil
}

// Programs tells of each program why it does not run; nil if it does. Those that
// Options.IO and Options.ResponseTimes need, on_send and on_receive, are there
// only with one of them.
func (s *Stream) Programs() map[string]error { return maps.Clone(s.set.Programs) }

// Stats returns the figures so far, at most as old as the last look at the
// ring buffer.
func (s *Stream) Stats() Stats {
	return Stats{
		Records:       s.records.Load(),
		Malformed:     s.malformed.Load(),
		RingFull:      s.counts[connectionDropDROP_RING].Load(),
		MapFull:       s.counts[connectionDropDROP_MAP].Load(),
		HalfOpen:      s.counts[connectionDropDROP_HALFOPEN].Load(),
		Unseen:        s.counts[connectionDropDROP_UNSEEN].Load(),
		ResponsesFull: s.counts[connectionDropDROP_RESPONSE].Load(),
	}
}

// Close hands out what has been recorded until now and stops the stream;
// Handle and Lost, which must not call it, are not called any more when it
// returns. Again it does nothing.
func (s *Stream) Close() {
	s.close.Do(func() {
		close(s.closing)
		// Ends the wait, or the next one; without it that would be idleEvery.
		_ = s.reader.Flush()
		<-s.done
		_ = s.reader.Close()
		s.answers.close()
		s.set.Close()
	})
}

// run hands out what is there and waits for more, until the stream is closed.
// The deadline, and Flush, end a read after all that is there.
func (s *Stream) run() {
	defer close(s.done)
	var sample ringbuf.Record
	// All that was written before looked has been found; the last of it before seen,
	// which is no sooner than the wake-up that it was.
	var seen, looked, counted time.Time
	for {
		closing := s.isClosing()
		wait := s.o.idle
		switch {
		case closing:
			wait = 0
		case looked.Sub(seen) < soonFor:
			wait = soonEvery
		}
		deadline := time.Now().Add(wait)
		s.reader.SetDeadline(deadline)
		err := s.reader.ReadInto(&sample)
		looked = deadline
		if err == nil {
			s.reader.SetDeadline(time.Now()) // the rest of what is there, no more
			for ; err == nil; err = s.reader.ReadInto(&sample) {
				s.take(sample.RawSample)
			}
			seen = time.Now()
			looked = seen
		}
		s.handOut()
		if now := time.Now(); closing || now.Sub(counted) >= countEvery {
			s.countLost() // some system calls: 20 times what an empty look costs
			counted = now
		}
		if closing || errors.Is(err, ringbuf.ErrClosed) {
			return
		}
	}
}

func (s *Stream) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// take adds one record to the batch.
func (s *Stream) take(sample []byte) {
	s.batch = append(s.batch, Record{})
	if err := parseRecord(sample, &s.batch[len(s.batch)-1]); err != nil {
		s.batch = s.batch[:len(s.batch)-1]
		s.malformed.Add(1)
		return
	}
	if len(s.batch) == maxBatch {
		s.handOut()
	}
}

func (s *Stream) handOut() {
	if len(s.batch) == 0 {
		return
	}
	s.o.Handle(s.batch)
	s.records.Add(uint64(len(s.batch)))
	s.batch = s.batch[:0]
}

// countLost asks the kernel for what it has counted, after all records that
// are older have been handed out.
func (s *Stream) countLost() {
	counts, err := s.set.Drops(connectionMapDrops)
	if err != nil {
		return // closing
	}
	lost := counts[connectionDropDROP_RING] - s.counts[connectionDropDROP_RING].Load()
	for i := range s.counts {
		s.counts[i].Store(counts[i])
	}
	if lost != 0 && s.o.Lost != nil {
		s.o.Lost(lost)
	}
}
