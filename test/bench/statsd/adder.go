package main

import (
	"context"
	"fmt"
	"sync"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// adder is a consumer that keeps nothing. It adds up one flush, and notes what the
// process has used from its first batch to its last: all but the making of the
// first one, and the adding up of the last.
type adder struct {
	mu         sync.Mutex
	containers map[string]bool
	sum        totals
	batches    int
	measured   int // points of all batches but the first
	first      used
	last       used

	cpu  float64 // µs of a point, of the last whole flush
	made float64 // allocations of a point
}

func newAdder() *adder { return &adder{containers: map[string]bool{}} }

// Capabilities implements consumer.Metrics.
func (a *adder) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeMetrics implements consumer.Metrics.
func (a *adder) ConsumeMetrics(_ context.Context, md pmetric.Metrics) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, err := usage()
	if err != nil {
		return err
	}
	if a.batches == 0 {
		a.first = now
	} else {
		a.measured += md.DataPointCount()
	}
	a.batches++
	a.last = now
	eachPoint(md, func(p point) { a.sum = a.sum.plus(p.totals) })
	if id, ok := md.ResourceMetrics().At(0).Resource().Attributes().Get("container.id"); ok {
		a.containers[id.AsString()] = true
	}
	return nil
}

func (a *adder) calls() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.batches
}

// flushed is "" when the flush has handed out so much, and then begins another.
func (a *adder) flushed(counted, observed int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sum.Counted != counted || a.sum.Observed != observed {
		return fmt.Sprintf("handed out %+v of %d and %d", a.sum, counted, observed)
	}
	cost := a.last.minus(a.first)
	if a.measured > 0 {
		a.cpu = cost.cpu.Seconds() * 1e6 / float64(a.measured)
		a.made = float64(cost.mallocs) / float64(a.measured)
	}
	a.sum, a.batches, a.measured = totals{}, 0, 0
	return ""
}

// perPoint is what a point of the last whole flush has cost: µs and allocations.
func (a *adder) perPoint() (cpu, allocations float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cpu, a.made
}
