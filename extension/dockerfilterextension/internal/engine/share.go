package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// shareFor is how old an answer may be at most for who asks now, counted
	// from when the engine was asked. dockerd needs about 0.07 ms per container
	// for a list; ten lists per second are little for any number of clients.
	shareFor = 100 * time.Millisecond
	// maxShared is the longest answer that is kept: the list of about 5,000
	// containers (286 KB for 200).
	maxShared = 8 << 20
	// maxHeld bounds all that is kept at the same time: four of the longest, or
	// the inspects (5 KB) of 6,000 containers within the window.
	maxHeld = 32 << 20
	// flightCost stands for what a kept answer costs besides its bytes.
	flightCost = 1 << 10
	// firstChunk takes most inspects (4.9 KB) whole, nextChunk is the size that
	// io.Copy uses.
	firstChunk = 8 << 10
	nextChunk  = 32 << 10
)

// Shared is Do for requests whose answers may be shared: lists and inspects.
// Who asks for the same target within 100 ms of the engine having been asked
// gets the same answer. Nobody gets an older one; errors are for those who
// were waiting. An answer longer than 8 MiB goes to one of them as it comes,
// and the others ask for themselves. One who stops waiting stops nobody else.
//
// The body must be closed: until then its bytes count against what is kept.
// Observe and Stats count a shared answer once.
func (e *Engine) Shared(ctx context.Context, r Request) (*Response, error) {
	if r.Stream {
		return nil, fmt.Errorf("%w: a stream is not shared", ErrRequest)
	}
	f, err := e.sharer.join(r)
	if err != nil {
		return nil, fmt.Errorf("ask engine for %s: %w", r.Op, err)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		e.sharer.leave(f)
		return nil, fmt.Errorf("ask engine for %s: %w", r.Op, context.Cause(ctx))
	}
	if f.err != nil {
		e.sharer.leave(f)
		return nil, f.err
	}
	b, ok := e.sharer.open(ctx, f)
	if !ok { // too long to be shared, and another one got it
		e.sharer.leave(f)
		return e.Do(ctx, r)
	}
	return &Response{Header: f.header, Body: b}, nil
}

// sharer keeps answers for a moment.
type sharer struct {
	engine *Engine
	now    func() time.Time

	mu      sync.Mutex // guards what follows and the marked fields of flights
	flights map[string]*flight
	held    int64
}

// flight is one request to the engine and who wants its answer.
type flight struct {
	key    string
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the next four are final
	header Header
	chunks [][]byte
	err    error
	rest   *Response // what comes after the chunks of a long answer

	// Guarded by sharer.mu:
	asked   time.Time // zero while the request waits for its turn
	users   int       // who waits or reads
	landed  bool      // done is closed
	claimed bool      // one has taken rest
	size    int64
	expiry  *time.Timer
}

func newSharer(e *Engine) *sharer {
	return &sharer{engine: e, now: time.Now, flights: map[string]*flight{}}
}

// join finds the flight for a request, or starts one.
func (s *sharer) join(r Request) (*flight, error) {
	key := r.Method + " " + r.Target
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[key]; f != nil && s.isFresh(f) {
		f.users++
		s.engine.counters.shared.Add(1)
		return f, nil
	}
	ctx, cancel := context.WithCancelCause(s.engine.ctx)
	f := &flight{key: key, cancel: cancel, done: make(chan struct{}), users: 1}
	if !s.engine.spawn(func() { s.fly(ctx, f, r) }) {
		cancel(ErrClosed)
		return nil, ErrClosed
	}
	if old := s.flights[key]; old != nil {
		s.drop(old)
	}
	s.flights[key] = f
	return f, nil
}

// isFresh tells whether the answer will be, or is, young enough to be shared.
func (s *sharer) isFresh(f *flight) bool {
	return f.asked.IsZero() || s.now().Sub(f.asked) < shareFor
}

// fly asks the engine and reads the answer as far as it may be kept.
func (s *sharer) fly(ctx context.Context, f *flight, r Request) {
	response, err := s.engine.do(ctx, r, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		f.asked = s.now()
	})
	if err == nil {
		f.header = response.Header
		err = s.read(f, response)
	}
	s.mu.Lock()
	f.err, f.landed = err, true
	close(f.done)
	if err != nil || f.rest != nil {
		s.drop(f) // errors are not kept, nor is what cannot be
	} else if s.flights[f.key] == f {
		f.expiry = time.AfterFunc(shareFor-s.now().Sub(f.asked), func() { s.expire(f) })
	}
	unwanted := s.settle(f)
	s.mu.Unlock()
	if f.rest == nil {
		f.cancel(ErrClosed)
	}
	f.abandon(unwanted)
}

// read fills chunks, until the end of the answer or until too much is held.
func (s *sharer) read(f *flight, response *Response) error {
	size := firstChunk
	for s.reserve(f, size) {
		chunk := make([]byte, size)
		n, err := io.ReadFull(response.Body, chunk)
		f.chunks = append(f.chunks, chunk[:n])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrUnavailable) {
			return response.Body.Close()
		}
		if err != nil {
			return errors.Join(err, response.Body.Close())
		}
		size = nextChunk
	}
	f.rest = response
	return nil
}

// reserve asks whether so many more bytes may be kept for the flight.
func (s *sharer) reserve(f *flight, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	more := int64(n)
	if f.size == 0 {
		more += flightCost
	}
	if f.size+more > maxShared || s.held+more > maxHeld {
		return false
	}
	f.size += more
	s.held += more
	return true
}

// open makes a body of a landed flight. It is false if the answer was too long
// to keep and is taken.
func (s *sharer) open(ctx context.Context, f *flight) (io.ReadCloser, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.rest == nil {
		return &sharedBody{sharer: s, flight: f, chunks: f.chunks}, true
	}
	if f.claimed {
		return nil, false
	}
	f.claimed = true
	b := &sharedBody{sharer: s, flight: f, chunks: f.chunks, rest: f.rest.Body}
	// The request belongs to the flight; from here on it is this client's.
	b.stop = context.AfterFunc(ctx, func() { f.cancel(context.Cause(ctx)) })
	return b, true
}

// leave takes a user off the flight. The last one ends the request, or gives
// the bytes back.
func (s *sharer) leave(f *flight) {
	s.mu.Lock()
	f.users--
	unwanted := s.settle(f)
	s.mu.Unlock()
	f.abandon(unwanted)
}

func (s *sharer) expire(f *flight) {
	s.mu.Lock()
	s.drop(f)
	unwanted := s.settle(f)
	s.mu.Unlock()
	f.abandon(unwanted)
}

// drop lets nobody join the flight any more. The caller has the lock.
func (s *sharer) drop(f *flight) {
	if s.flights[f.key] == f {
		delete(s.flights, f.key)
	}
	if f.expiry != nil {
		f.expiry.Stop()
	}
	if f.users == 0 && f.landed {
		s.free(f)
	}
}

// settle ends what nobody wants. The caller has the lock and closes what is
// returned after giving it back.
func (s *sharer) settle(f *flight) *Response {
	if f.users > 0 {
		return nil
	}
	if !f.landed {
		f.cancel(ErrClosed)
		s.drop(f)
		return nil
	}
	if s.flights[f.key] == f {
		return nil // within its window it waits for others
	}
	s.free(f)
	if f.rest != nil && !f.claimed {
		f.claimed = true
		return f.rest
	}
	return nil
}

func (s *sharer) free(f *flight) {
	s.held -= f.size
	f.size = 0
	f.chunks = nil
}

// close forgets all answers. No flight is under way any more.
func (s *sharer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.flights {
		s.drop(f)
	}
}

// abandon ends a request whose rest nobody reads.
func (f *flight) abandon(rest *Response) {
	if rest != nil {
		_ = rest.Body.Close()
		f.cancel(ErrClosed)
	}
}

// sharedBody reads the chunks of a flight, which it does not change, and then
// the rest if the answer is its own.
type sharedBody struct {
	sharer *sharer
	flight *flight
	chunks [][]byte
	offset int // in chunks[0]
	rest   io.ReadCloser
	stop   func() bool
	once   sync.Once
	closed bool
}

// Read reads the answer. One goroutine at a time.
func (b *sharedBody) Read(p []byte) (int, error) {
	if b.closed {
		return 0, ErrClosed
	}
	for len(b.chunks) > 0 {
		n := copy(p, b.chunks[0][b.offset:])
		b.offset += n
		if b.offset == len(b.chunks[0]) {
			b.chunks, b.offset = b.chunks[1:], 0
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
	if b.rest != nil {
		return b.rest.Read(p)
	}
	return 0, io.EOF
}

// Close gives the answer back.
func (b *sharedBody) Close() error {
	b.once.Do(func() {
		b.closed = true
		b.chunks = nil
		if b.rest != nil {
			b.stop()
			_ = b.rest.Close()
			b.flight.cancel(ErrClosed)
		}
		b.sharer.leave(b.flight)
	})
	return nil
}
