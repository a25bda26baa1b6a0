package cgroup

import (
	"sync"
	"sync/atomic"
)

// Problems counts what could not be read or parsed, by file name. Only files
// with a problem are listed.
type Problems struct {
	ReadErrors, ParseErrors map[string]uint64
	// Last is the most recent problem; nil if there was none.
	Last error
}

// counters is safe for concurrent use: readers of one host share it.
type counters struct {
	files         []string
	reads, parses []atomic.Uint64

	mu   sync.Mutex // guards last
	last error
}

func newCounters(sources []source) *counters {
	c := &counters{reads: make([]atomic.Uint64, len(sources)), parses: make([]atomic.Uint64, len(sources))}
	for i := range sources {
		c.files = append(c.files, sources[i].file)
	}
	return c
}

func (c *counters) readError(source int, err error) {
	c.reads[source].Add(1)
	c.remember(err)
}

func (c *counters) parseError(source int, err error) {
	c.parses[source].Add(1)
	c.remember(err)
}

func (c *counters) remember(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = err
}

func (c *counters) snapshot() Problems {
	p := Problems{ReadErrors: map[string]uint64{}, ParseErrors: map[string]uint64{}}
	for i, file := range c.files {
		if n := c.reads[i].Load(); n > 0 {
			p.ReadErrors[file] += n
		}
		if n := c.parses[i].Load(); n > 0 {
			p.ParseErrors[file] += n
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.Last = c.last
	return p
}
