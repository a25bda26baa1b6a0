package expohist_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/expohist"
)

func latencies() []float64 {
	random := rand.New(rand.NewPCG(1, 1))
	values := make([]float64, 4096)
	for i := range values {
		values[i] = 20 + random.ExpFloat64()*50
	}
	return values
}

// BenchmarkInsert is a value into a histogram that has the bucket.
func BenchmarkInsert(b *testing.B) {
	values := latencies()
	h := newHist()
	for _, v := range values {
		h.Record(v, 1)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		h.Record(values[i&4095], 1)
		i++
	}
}

// BenchmarkTake is a copy of a histogram for a flush.
func BenchmarkTake(b *testing.B) {
	h := newHist()
	for _, v := range latencies() {
		h.Record(v, 1)
	}
	var copies expohist.Copies
	b.ReportAllocs()
	for b.Loop() {
		copies.Reset()
		copies.Take(h, 1)
	}
}

// Neither a known bucket nor a flush allocates.
func TestBudgets(t *testing.T) {
	h := newHist()
	h.Record(20, 1)
	require.Zero(t, testing.AllocsPerRun(100, func() { h.Record(20, 1) }))
	var copies expohist.Copies
	copies.Take(h, 1)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		copies.Reset()
		copies.Take(h, 1)
	}))
}
