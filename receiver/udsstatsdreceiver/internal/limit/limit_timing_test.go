package limit_test

import (
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/limit"
)

func BenchmarkBucket(b *testing.B) {
	bucket := limit.NewBucket(limit.Rate{PerSecond: 1e6, Burst: 1e4}, 0)
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 100
		bucket.Allow(now, 1)
	}
}

// BenchmarkAllow asks for one origin again and again, and for 64 in turn.
func BenchmarkAllow(b *testing.B) {
	keys := make([]*int, 64)
	for i := range keys {
		keys[i] = new(int)
	}
	for name, mask := range map[string]int{"same": 0, "other": 63} {
		b.Run(name, func(b *testing.B) {
			l := limit.New[*int](limit.Options{
				Origin: limit.Rate{PerSecond: 1e6, Burst: 1e4}, Global: limit.Rate{PerSecond: 1e6, Burst: 1e4},
			}, 0)
			now, i := time.Duration(0), 0
			b.ReportAllocs()
			for b.Loop() {
				now += 100
				i++
				l.Allow(keys[i&mask], now, 1)
			}
		})
	}
}
