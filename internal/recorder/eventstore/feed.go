package eventstore

import (
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/collector/pdata/plog"
)

// Feed has the events that are appended while it is open.
type Feed struct {
	events chan Event
	wanted func(*Event) bool // nil: all
	missed atomic.Uint64
	leave  func()
}

// Events has the events in the order of Append. The channel is closed by
// Close, and when the store is.
func (f *Feed) Events() <-chan Event { return f.events }

// Missed counts the events that found the buffer full since the start.
func (f *Feed) Missed() uint64 { return f.missed.Load() }

// Close ends the feed. It can be called twice.
func (f *Feed) Close() { f.leave() }

// Subscribe returns a feed of the wanted events (nil: all) that holds buffer of them,
// at least one. It never holds up Append: an event that finds the buffer full is
// counted and skipped. The feed must be closed.
func (s *Store) Subscribe(buffer int, wanted func(*Event) bool) *Feed {
	f := &Feed{events: make(chan Event, max(1, buffer)), wanted: wanted}
	f.leave = func() { s.feeds.remove(f) }
	s.feeds.add(f)
	return f
}

type feeds struct {
	mu     sync.Mutex
	all    map[*Feed]struct{}
	closed bool
}

func (f *feeds) add(one *Feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(one.events)
		return
	}
	if f.all == nil {
		f.all = map[*Feed]struct{}{}
	}
	f.all[one] = struct{}{}
}

func (f *feeds) remove(one *Feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.all[one]; ok {
		delete(f.all, one)
		close(one.events)
	}
}

// publish gives every feed the events of an encoded request. They are decoded
// once, and only if there is a feed.
func (f *feeds) publish(raw []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) == 0 {
		return
	}
	logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(raw)
	if err != nil {
		return // flush decodes the same bytes, and counts
	}
	for _, e := range eventsOf(logs) {
		for each := range f.all {
			if each.wanted != nil && !each.wanted(&e) {
				continue
			}
			select {
			case each.events <- e:
			default:
				each.missed.Add(1)
			}
		}
	}
}

func (f *feeds) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for one := range f.all {
		close(one.events)
	}
	f.all = nil
}

func (f *feeds) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all)
}
