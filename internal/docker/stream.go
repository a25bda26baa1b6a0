package docker

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
	"net/url"
	"slices"
	"time"
)

var (
	errEnded  = errors.New("engine ended the stream of events")
	errBehind = errors.New("events came faster than they were used")
)

const (
	// maxEvent is the longest event that is read; longer ones are passed over.
	// All attributes are labels of an object, which dockerd bounds only by its
	// limit on a request's head.
	maxEvent = 1 << 20
	// streamBuffer holds most events whole: one has about 0.5 KB, 4 KB with the
	// labels of Kubernetes.
	streamBuffer = 16 << 10
	// maxQueue is how many events wait while containers are inspected: at one
	// millisecond each, 4 s of an engine that does nothing but events.
	maxQueue = 4096
	// maxPast bounds what is taken of the engine's memory. dockerd keeps 256;
	// Podman keeps all.
	maxPast = maxQueue
)

// choice says which events are wanted.
type choice struct {
	types []string
	// podman has words of its own for some actions, so all are asked for.
	podman bool
	// since and until are the engine's clock; zero until is without end, zero
	// since is from now on.
	since, until time.Time
	// known were told before. They are passed over before anything is bounded:
	// else what comes again could take all the room, each time.
	known map[eventKey]struct{}
}

func (q choice) values() url.Values {
	filters := map[string]map[string]bool{typeKey: {}}
	actions := map[string]bool{}
	for _, t := range q.types {
		filters[typeKey][t] = true
		for action := range maps.Keys(uses[t]) {
			actions[action] = true
		}
	}
	if !q.podman {
		// Health checks make three exec events each; they stay in the engine.
		filters["event"] = actions
	}
	text, _ := json.Marshal(filters) // of strings and true: cannot go wrong
	values := url.Values{"filters": {string(text)}}
	for name, at := range map[string]time.Time{"since": q.since, "until": q.until} {
		if !at.IsZero() {
			values.Set(name, fmt.Sprintf("%d.%09d", at.Unix(), at.Nanosecond()))
		}
	}
	return values
}

const typeKey = "type"

// stream is an open answer to /events: one JSON object in each line.
type stream struct {
	body   io.ReadCloser
	reader *bufio.Reader
	line   []byte
}

// events opens a stream. It lives as long as ctx; only its beginning is bound to
// the client's timeout.
func (c *Client) events(ctx context.Context, q choice) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(c.timeout, cancel)
	response, err := c.get(ctx, &http.Client{Transport: c.transport}, "/events", q.values())
	if err == nil && !timer.Stop() {
		err = errors.Join(context.DeadlineExceeded, response.Body.Close())
	}
	if err != nil {
		timer.Stop()
		cancel()
		return nil, fmt.Errorf("open stream of events: %w", err)
	}
	body := &cancelBody{ReadCloser: response.Body, cancel: cancel}
	return &stream{body: body, reader: bufio.NewReaderSize(body, streamBuffer)}, nil
}

type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements [io.Closer].
func (b *cancelBody) Close() error {
	b.cancel()
	return b.ReadCloser.Close()
}

// next returns the next event, valid or not, until the next call. The error
// errTooLarge is about that one event.
func (s *stream) next() ([]byte, error) {
	s.line = s.line[:0]
	tooLarge := false
	for {
		part, err := s.reader.ReadSlice('\n')
		if tooLarge = tooLarge || len(s.line)+len(part) > maxEvent; !tooLarge {
			s.line = append(s.line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return nil, errEnded
		case err != nil:
			return nil, fmt.Errorf("read events: %w", err)
		case tooLarge:
			s.line = nil
			return nil, errTooLarge
		}
		// A JSON text sequence (RFC 7464) begins each with a record separator.
		if line := bytes.Trim(s.line, "\x1e \t\r\n"); len(line) > 0 {
			return line, nil
		}
		s.line = s.line[:0]
	}
}

// feed reads a stream ahead of who handles the events.
type feed struct {
	messages chan *message // closed at the end; err is set by then
	err      error
	stream   *stream
}

// startFeed begins to read. It ends with the stream, or when it is too far ahead:
// the engine would drop events silently for a reader that makes it wait.
func startFeed(s *stream, q choice, now func() time.Time, counts *counters) *feed {
	f := &feed{messages: make(chan *message, maxQueue), stream: s}
	go func() {
		defer close(f.messages)
		f.err = s.news(q.known, now, counts, func(m *message) bool {
			select {
			case f.messages <- m:
				return true
			default:
				return false
			}
		})
		// Not later: what was read may take long to handle, and the engine
		// would go on writing.
		_ = s.body.Close()
	}()
	return f
}

// news hands on what can be read and is not known, until hand refuses or the
// stream ends.
func (s *stream) news(known map[eventKey]struct{}, now func() time.Time, counts *counters, hand func(*message) bool) error {
	for {
		line, err := s.next()
		if err != nil && !errors.Is(err, errTooLarge) {
			return err
		}
		var m *message
		if err == nil {
			m, err = parseEvent(line)
		}
		if err != nil {
			counts.malformed.Add(1)
			continue
		}
		if _, ok := known[m.key()]; ok {
			counts.repeated.Add(1)
			continue
		}
		m.received = now()
		if !hand(m) {
			return errBehind
		}
	}
}

// waiting returns what has been read by now.
func (f *feed) waiting() []*message {
	var list []*message
	for {
		select {
		case m, ok := <-f.messages:
			if ok {
				list = append(list, m)
				continue
			}
		default:
		}
		return list
	}
}

// stop ends the stream and waits for its reader.
func (f *feed) stop() {
	_ = f.stream.body.Close()
	for range f.messages { // until the reader has closed it
	}
}

// past returns what the engine remembers of a time, oldest first. What is
// missing for any reason is found by comparing containers, so an error is only
// counted.
func (c *Client) past(ctx context.Context, q choice, counts *counters) []*message {
	ctx, cancel := context.WithTimeout(ctx, pastWithin)
	defer cancel()
	s, err := c.events(ctx, q)
	if err != nil {
		counts.errors.Add(1)
		return nil
	}
	defer func() { _ = s.body.Close() }()
	var list []*message
	err = s.news(q.known, func() time.Time { return q.until }, counts, func(m *message) bool {
		list = append(list, m)
		return len(list) < maxPast
	})
	if !errors.Is(err, errEnded) {
		counts.errors.Add(1)
	}
	slices.SortStableFunc(list, byTime)
	return list
}

// pastWithin leaves half of the 2 s in which a connection has to catch up.
const pastWithin = time.Second

func byTime(a, b *message) int { return a.Time.Compare(b.Time) }
