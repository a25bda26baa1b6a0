package udsstatsdreceiver

import (
	"sync"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

// places bounds the connections of each origin. It is safe for concurrent use.
type places struct {
	most int

	mu    sync.Mutex // guards taken
	taken map[*origin.Origin]int
}

// take reports false if the origin, or who pays for it, has all it may have.
func (p *places) take(o *origin.Origin) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	payer := o.Payer()
	if p.taken[payer] >= p.most {
		return false
	}
	p.taken[payer]++
	return true
}

func (p *places) give(o *origin.Origin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	payer := o.Payer()
	if p.taken[payer]--; p.taken[payer] == 0 {
		delete(p.taken, payer)
	}
}
