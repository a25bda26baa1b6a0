package engine

import (
	"context"
	"net"
)

// The bounds that tests go to.
const (
	RingEvents     = ringEvents
	RingBytes      = ringBytes
	MaxSubscribers = maxSubscribers
	MaxShared      = maxShared
	MaxHeld        = maxHeld
	MaxEvent       = maxEvent
	ShareFor       = shareFor
)

// ErrTable and ErrAmbiguous are told apart in tests only.
var (
	ErrTable     = errTable
	ErrAmbiguous = errAmbiguous
)

// ParseContainers, ParseChange and ParseAPI are the parsers.
var (
	ParseContainers = parseContainers
	ParseChange     = parseChange
	ParseAPI        = parseAPI
)

// Resolve looks a reference up in a table.
func (t *table) Resolve(ref string, visible func(Container) bool) (Container, error) {
	return t.resolve(ref, visible)
}

// All lists a table.
func (t *table) All() []Container { return t.all() }

// DialWith replaces the network, for a clock that only in-memory pipes obey.
func (e *Engine) DialWith(dial func(context.Context) (net.Conn, error)) {
	e.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }
}

// Held is the bytes of shared answers.
func (e *Engine) Held() int64 {
	e.sharer.mu.Lock()
	defer e.sharer.mu.Unlock()
	return e.sharer.held
}

// Busy is the requests that are being answered, and those that last.
func (e *Engine) Busy() (requests int, streams int64) {
	return len(e.limiter.slots), e.limiter.streams.Load()
}

// Waiting is the requests in the queue.
func (e *Engine) Waiting() int64 { return e.limiter.waiting.Load() }

// IsLive tells whether the catalog is kept by events.
func (c *Catalog) IsLive() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.live
}
