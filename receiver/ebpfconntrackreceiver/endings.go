package ebpfconntrackreceiver

import "sync"

// endings are the connections that wait to become log records. All methods are
// safe for concurrent use, and do nothing with nil.
type endings struct {
	all     bool
	unusual UnusualConfig
	limit   int
	wake    chan struct{}

	mu       sync.Mutex // guards what follows
	waiting  []flight
	throttle throttle
	dropped  uint64
	withheld uint64
}

// newEndings returns nil if nobody is to be told of connections.
func newEndings(cfg *Config) *endings {
	if cfg.Events == eventsNone {
		return nil
	}
	return &endings{
		all: cfg.Events == eventsAll, unusual: cfg.Unusual, limit: cfg.Limits.Events, wake: make(chan struct{}, 1),
		throttle: newThrottle(cfg.Unusual.PerInterval),
	}
}

// add puts a connection in the queue, if it is worth it. It never waits.
func (e *endings) add(f *flight) {
	if e == nil {
		return
	}
	unusual := f.isUnusual(&e.unusual)
	if !e.all && !unusual {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) >= e.limit {
		e.dropped++
		return
	}
	var suppressed uint64
	if unusual {
		suppressed, unusual = e.throttle.allow(f)
		// Who wants all gets the rest, too, not marked.
		if !unusual && !e.all {
			e.withheld++
			return
		}
	}
	e.waiting = append(e.waiting, *f)
	last := &e.waiting[len(e.waiting)-1]
	last.unusual, last.suppressed = unusual, suppressed
	select {
	case e.wake <- struct{}{}:
	default: // it is told already
	}
}

// nextInterval is called in each collection interval, which is what records are
// bounded by.
func (e *endings) nextInterval() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.throttle.next()
}

// take empties the queue into buf.
func (e *endings) take(buf []flight) []flight {
	if e == nil {
		return buf
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	buf = append(buf, e.waiting...)
	clear(e.waiting) // their strings are the taker's now
	e.waiting = e.waiting[:0]
	return buf
}

// ready has a value when there may be something to take; nil never has.
func (e *endings) ready() <-chan struct{} {
	if e == nil {
		return nil
	}
	return e.wake
}

// lost is how many found no place, and how many were more than unusual.per_interval.
func (e *endings) lost() (queue, rate uint64) {
	if e == nil {
		return 0, 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dropped, e.withheld
}
