package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
)

const (
	// ringEvents is how far a subscriber may fall behind: as much as dockerd
	// itself buffers for each of its subscribers.
	ringEvents = 1024
	// ringBytes bounds the same in bytes. An event has about 0.5 KB with few
	// labels, 4 KB with those of Kubernetes.
	ringBytes = 4 << 20
	// maxEvent is the longest event that is handed out as it is. All its attributes
	// are labels of an object; of a longer one the long ones are left out. What is
	// longer than maxLine is skipped: it must not end the stream for all.
	maxEvent = 64 << 10
	maxLine  = 16 << 20
	// maxSubscribers bounds their number; one costs below 1 KiB. The catalog has
	// a place of its own, and one for the moment in which it changes places.
	maxSubscribers     = 1024
	catalogSubscribers = 2
)

// Subscribe returns the events of the engine from now on, all types, as one
// JSON object each. All subscribers share one stream of the engine, which
// begins with the first and ends with the last of them. It returns when the
// stream is there. Errors are those of Do.
//
// When the engine ends the stream, subscribers get what has come and then an
// error; subscribing again finds the restarted engine.
func (e *Engine) Subscribe(ctx context.Context) (*Subscription, error) {
	return e.subscribe(ctx, maxSubscribers)
}

// subscribe is refused where so many have subscribed.
func (e *Engine) subscribe(ctx context.Context, most int) (*Subscription, error) {
	sub, err := e.hub.join(most)
	if err != nil {
		return nil, fmt.Errorf("subscribe to events: %w", err)
	}
	select {
	case <-sub.stream.started:
	case <-ctx.Done():
		sub.Close()
		return nil, fmt.Errorf("subscribe to events: %w", context.Cause(ctx))
	}
	if err := sub.stream.refused; err != nil {
		sub.Close()
		return nil, fmt.Errorf("subscribe to events: %w", err)
	}
	return sub, nil
}

// hub keeps the current stream of the engine, if anybody listens.
type hub struct {
	engine *Engine

	mu      sync.Mutex // guards current and the marked fields of streams and subscriptions
	current *stream
}

// stream is one /events request and the last events it brought. The ring is
// one for all subscribers: each has its own place in it, and who is overtaken
// by its end is too slow. So memory does not grow with their number.
type stream struct {
	hub     *hub
	cancel  context.CancelCauseFunc
	started chan struct{} // closed when the engine has answered; refused is final then
	refused error

	// Guarded by hub.mu:
	subs        map[*Subscription]struct{}
	ring        [ringEvents][]byte
	first, next uint64 // events first to next-1 are in the ring
	bytes       int
	err         error // why there are no more
}

// Subscription is a place in the stream of events. Its methods may be called
// from any goroutine, Next from one at a time.
type Subscription struct {
	stream *stream
	ready  chan struct{} // has a value when there may be something new

	// Guarded by hub.mu:
	cursor uint64
	ended  error // ErrSlow or ErrClosed
}

func (h *hub) join(most int) (*Subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		if err := h.start(); err != nil {
			return nil, err
		}
	}
	s := h.current
	if len(s.subs) >= most {
		h.engine.counters.busy.Add(1)
		return nil, busy("subscribers")
	}
	sub := &Subscription{stream: s, ready: make(chan struct{}, 1), cursor: s.next}
	s.subs[sub] = struct{}{}
	return sub, nil
}

// start begins a stream. The caller has the lock.
func (h *hub) start() error {
	ctx, cancel := context.WithCancelCause(h.engine.ctx)
	s := &stream{hub: h, cancel: cancel, started: make(chan struct{}), subs: map[*Subscription]struct{}{}}
	if !h.engine.spawn(func() { s.run(ctx) }) {
		cancel(ErrClosed)
		return ErrClosed
	}
	h.current = s
	return nil
}

func (s *stream) run(ctx context.Context) {
	response, err := s.open(ctx)
	if err == nil {
		close(s.started)
		err = errors.Join(s.read(response.Body), response.Body.Close())
	} else {
		s.refused = err
		close(s.started)
	}
	s.cancel(ErrClosed)
	s.end(err)
}

func (s *stream) open(ctx context.Context) (*Response, error) {
	target, err := s.hub.engine.path(ctx, "/events")
	if err != nil {
		return nil, err
	}
	return s.hub.engine.ask(ctx, Request{Op: "events", Method: http.MethodGet, Target: target, Content: JSONStream, Stream: true})
}

// read hands out each line of the stream until it ends, which is always an error.
func (s *stream) read(src io.Reader) error {
	reader := bufio.NewReaderSize(src, nextChunk)
	var line []byte
	skipped := false
	for {
		part, err := reader.ReadSlice('\n')
		if skipped = skipped || len(line)+len(part) > maxLine; !skipped {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w: stream of events ended", ErrUnavailable)
		case err != nil:
			return err
		}
		if skipped {
			s.hub.engine.counters.skipped.Add(1)
		} else if err := s.take(bytes.TrimSpace(line)); err != nil {
			return err
		}
		skipped = false
		if line = line[:0]; cap(line) > maxEvent {
			line = nil
		}
	}
}

// take checks an event and hands it out.
func (s *stream) take(event []byte) error {
	if !bytes.HasPrefix(event, []byte("{")) || !json.Valid(event) {
		return fmt.Errorf("%w: event %.64q", ErrUnexpected, event)
	}
	if len(event) > maxEvent {
		event = withoutLongAttributes(event)
	}
	if len(event) > maxEvent {
		s.hub.engine.counters.skipped.Add(1)
		return nil
	}
	s.push(bytes.Clone(event))
	return nil
}

// withoutLongAttributes leaves long attributes out of an event, and then all of
// them if there are too many.
func withoutLongAttributes(event []byte) []byte {
	const longest = 1024 // no client is shown labels of more than 255 bytes
	var whole, actor, attributes map[string]json.RawMessage
	if json.Unmarshal(event, &whole) != nil || json.Unmarshal(whole["Actor"], &actor) != nil ||
		json.Unmarshal(actor["Attributes"], &attributes) != nil {
		return event
	}
	maps.DeleteFunc(attributes, func(_ string, value json.RawMessage) bool { return len(value) > longest })
	short, err := withAttributes(whole, actor, attributes)
	if err == nil && len(short) > maxEvent {
		short, err = withAttributes(whole, actor, map[string]json.RawMessage{})
	}
	if err != nil {
		return event
	}
	return short
}

func withAttributes(whole, actor, attributes map[string]json.RawMessage) ([]byte, error) {
	var err error
	if actor["Attributes"], err = json.Marshal(attributes); err != nil {
		return nil, err
	}
	if whole["Actor"], err = json.Marshal(actor); err != nil {
		return nil, err
	}
	return json.Marshal(whole)
}

// push puts an event into the ring and wakes the subscribers. Those that are
// not done with what has to make room are cut off.
func (s *stream) push(event []byte) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	overtaken := false
	for s.next-s.first == ringEvents || s.bytes+len(event) > ringBytes {
		oldest := &s.ring[s.first%ringEvents]
		s.bytes -= len(*oldest)
		*oldest = nil
		s.first++
		overtaken = true
	}
	s.ring[s.next%ringEvents] = event
	s.next++
	s.bytes += len(event)
	for sub := range s.subs {
		if overtaken && sub.cursor < s.first {
			s.hub.engine.counters.slow.Add(1)
			sub.leave(ErrSlow)
		}
		sub.wake()
	}
}

// end tells the subscribers that no more comes.
func (s *stream) end(err error) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.err = err
	if s.hub.current == s {
		s.hub.current = nil
	}
	for sub := range s.subs {
		sub.wake()
	}
}

// Next returns the next event, without a line end. It waits for one. The bytes
// are shared: they must not be changed. After ErrSlow, ErrClosed, or an error
// of the stream (see Do) all further calls return the same.
func (s *Subscription) Next(ctx context.Context) ([]byte, error) {
	for {
		event, err := s.take()
		if event != nil || err != nil {
			return event, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take returns what is there, possibly nothing.
func (s *Subscription) take() ([]byte, error) {
	s.stream.hub.mu.Lock()
	defer s.stream.hub.mu.Unlock()
	if s.ended != nil {
		return nil, s.ended
	}
	if s.cursor < s.stream.next {
		event := s.stream.ring[s.cursor%ringEvents]
		s.cursor++
		return event, nil
	}
	return nil, s.stream.err
}

// Pending is how many events wait to be taken.
func (s *Subscription) Pending() int {
	s.stream.hub.mu.Lock()
	defer s.stream.hub.mu.Unlock()
	return int(s.stream.next - s.cursor)
}

// Close ends the subscription; with the last one the engine's stream is ended,
// at once. It may be called twice and wakes a waiting Next.
func (s *Subscription) Close() {
	s.stream.hub.mu.Lock()
	defer s.stream.hub.mu.Unlock()
	s.leave(ErrClosed)
	s.wake()
}

// leave takes the subscription off the stream. The caller has the lock.
func (s *Subscription) leave(why error) {
	if s.ended != nil {
		return
	}
	s.ended = why
	stream := s.stream
	delete(stream.subs, s)
	if len(stream.subs) > 0 {
		return
	}
	stream.cancel(ErrClosed)
	if stream.hub.current == stream {
		stream.hub.current = nil
	}
}

func (s *Subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default: // it is told already
	}
}
