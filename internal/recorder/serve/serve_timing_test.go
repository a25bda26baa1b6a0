package serve

import (
	"fmt"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/live"
)

// BenchmarkLiveDelta is what the live view of a large host costs each second: all of
// 200 containers have changed.
func BenchmarkLiveDelta(b *testing.B) {
	ring := live.New(live.Options{})
	source := Live(ring)
	for n := range 200 {
		ring.Observe(gauge("worker", fmt.Sprintf("%064x", n), second(1), float64(n)))
	}
	ring.Tick(second(1))
	b.ReportAllocs()
	for b.Loop() {
		if rows := source.Delta(time.Time{}).Rows; len(rows) != 200 {
			b.Fatal(len(rows))
		}
	}
}

// BenchmarkCaptureVersion is what an open page costs each second while nothing
// happens to the captures.
func BenchmarkCaptureVersion(b *testing.B) {
	r := newCaptureRig(b)
	for range 3 {
		r.make(b, "why")
	}
	r.age(b)
	r.source.Version()
	b.ReportAllocs()
	for b.Loop() {
		if r.source.Version() == 0 {
			b.Fatal("no version")
		}
	}
}
