package aggregate_test

import (
	"fmt"
	"testing"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// BenchmarkOverCap is a sample with tags that were never seen, of an origin that
// has all the contexts it may have.
func BenchmarkOverCap(b *testing.B) {
	for _, tags := range []int{6, 100} {
		b.Run(fmt.Sprintf("tags=%d", tags), func(b *testing.B) { benchmarkOverCap(b, tags) })
	}
}

func benchmarkOverCap(b *testing.B, tags int) {
	policy, err := aggregate.NewPolicy(aggregate.Rules{Prefix: "app."})
	if err != nil {
		b.Fatal(err)
	}
	table := aggregate.New(aggregate.Settings{Policy: policy, Limits: aggregate.Limits{OriginContexts: 10}})
	all := make([]dogstatsd.Sample, 4096)
	for i := range all {
		s := dogstatsd.Sample{Name: []byte("request.duration"), Type: dogstatsd.Counter, Values: []float64{1}, Rate: 1}
		for n := range tags {
			s.Tags = fmt.Appendf(s.Tags, "tag%d:value%d,", (n*37)%101, i*n)
		}
		s.Tags = s.Tags[:len(s.Tags)-1]
		all[i] = s
	}
	addAll(table, all[:20])
	b.ReportAllocs()
	table.Lock()
	defer table.Unlock()
	i := 0
	for b.Loop() {
		table.Add(1, &all[20+i])
		if i++; i == len(all)-20 {
			i = 0
		}
	}
}
