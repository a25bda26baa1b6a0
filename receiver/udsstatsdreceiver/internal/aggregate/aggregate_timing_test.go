package aggregate_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// line has six tags and about 138 bytes, the load of the notes on StatsD.
func line(i int, kind string) []byte {
	return fmt.Appendf(nil, "service.request.handler.duration%d:%d.5|%s|#env:production,service:checkout,version:1.2.%d,endpoint:/api/v1/cart,status:200,az:eu-1%c",
		i%50, i%1000, kind, i/50, 'a'+i%3)
}

// samples returns parsed samples that own their memory.
func samples(n int, kinds ...string) []dogstatsd.Sample {
	all := make([]dogstatsd.Sample, n)
	for i := range all {
		var p dogstatsd.Parser
		for range p.Lines(line(i, kinds[i%len(kinds)]), false) {
			all[i] = *p.Sample()
		}
		all[i].Values = append([]float64(nil), all[i].Values...)
	}
	return all
}

func roomy() aggregate.Limits {
	return aggregate.Limits{OriginContexts: 2_000_000, Contexts: 2_000_000}
}

func addAll(table *aggregate.Table, all []dogstatsd.Sample) {
	table.Lock()
	defer table.Unlock()
	for i := range all {
		table.Add(1, &all[i])
	}
}

// BenchmarkAdd is one sample of a known context, without parsing.
func BenchmarkAdd(b *testing.B) {
	for _, kind := range []string{"c", "g", "s", "h"} {
		b.Run("kind="+kind, func(b *testing.B) { benchmarkAdd(b, samples(1000, kind)) })
	}
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("mixed/contexts=%d", n), func(b *testing.B) {
			all := samples(n, "c", "g", "h", "ms")
			random := rand.New(rand.NewPCG(1, 1))
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			benchmarkAdd(b, all)
		})
	}
}

func benchmarkAdd(b *testing.B, all []dogstatsd.Sample) {
	table := aggregate.New(aggregate.Settings{Limits: roomy()})
	addAll(table, all)
	b.ReportAllocs()
	table.Lock()
	defer table.Unlock()
	i := 0
	for b.Loop() {
		table.Add(1, &all[i])
		if i++; i == len(all) {
			i = 0
		}
	}
}

// BenchmarkParseAndAdd is a line from its bytes to its context; parse is the part
// of the parser.
func BenchmarkParseAndAdd(b *testing.B) {
	lines := make([][]byte, 1000)
	kinds := []string{"c", "g", "h", "ms"}
	for i := range lines {
		lines[i] = line(i, kinds[i%len(kinds)])
	}
	for _, adds := range []bool{false, true} {
		b.Run(fmt.Sprintf("add=%v", adds), func(b *testing.B) {
			table := aggregate.New(aggregate.Settings{Limits: roomy()})
			var p dogstatsd.Parser
			table.Lock()
			defer table.Unlock()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				for range p.Lines(lines[i], false) {
					if adds {
						table.Add(1, p.Sample())
					}
				}
				if i++; i == len(lines) {
					i = 0
				}
			}
		})
	}
}

// BenchmarkMessage is what a message costs from its bytes on, rung by rung:
// parsed, with the hash of its context too, and added up. Hot is one counter of
// 138 bytes with 6 tags again and again, alone in its packet or among 55; mixed
// is 1,000 contexts of all types but sets, 55 in a packet:
//
//	go test -run '^$' -bench Message ./receiver/udsstatsdreceiver/internal/aggregate
func BenchmarkMessage(b *testing.B) {
	hot := []byte("checkout.duration:213.25|c|#env:production,service:checkout-api,version:1.42.7,region:eu-west-1a,endpoint:/cart,method:POSTxxxxxxxxxxxxx\n")
	var mixed [][]byte
	for i := range 1000 {
		if i%55 == 0 {
			mixed = append(mixed, nil)
		}
		last := &mixed[len(mixed)-1]
		*last = append(append(*last, line(i, []string{"c", "g", "h", "ms"}[i%4])...), '\n')
	}
	for _, load := range []struct {
		name    string
		packets [][]byte
	}{
		{"hot/1", [][]byte{hot}},
		{"hot/55", [][]byte{bytes.Repeat(hot, 55)}},
		{"mixed/55", mixed},
	} {
		for _, rung := range []string{"parse", "key", "add"} {
			b.Run(load.name+"/"+rung, func(b *testing.B) { benchmarkMessage(b, load.packets, rung) })
		}
	}
}

func benchmarkMessage(b *testing.B, packets [][]byte, rung string) {
	table := aggregate.New(aggregate.Settings{Limits: roomy()})
	var p dogstatsd.Parser
	var sum float64
	var keys uint64
	table.Lock()
	defer table.Unlock()
	packet := func(packet []byte) (n int) {
		for range p.Lines(packet, false) {
			sum += p.Sample().Values[0]
			n++
		}
		return n
	}
	switch rung {
	case "key":
		packet = func(packet []byte) (n int) {
			for range p.Lines(packet, false) {
				keys ^= table.Key(1, p.Sample())
				n++
			}
			return n
		}
	case "add":
		packet = func(packet []byte) (n int) {
			for range p.Lines(packet, false) {
				table.Add(1, p.Sample())
				n++
			}
			return n
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		for i := range packets {
			n += packet(packets[i])
		}
	}
	require.True(b, p.Counts.Empty())
	require.GreaterOrEqual(b, sum+float64(keys), 0.0)
}

// BenchmarkFirstSight is a sample whose context is made. BenchmarkOverflow is one
// that finds no context of its own.
func BenchmarkFirstSight(b *testing.B) { benchmarkUnknown(b, roomy()) }

// BenchmarkOverflow: see BenchmarkFirstSight.
func BenchmarkOverflow(b *testing.B) {
	benchmarkUnknown(b, aggregate.Limits{OriginContexts: 1000, Contexts: 2_000_000})
}

func benchmarkUnknown(b *testing.B, limits aggregate.Limits) {
	all := samples(100_000, "c")
	b.ReportAllocs()
	table := aggregate.New(aggregate.Settings{Limits: limits})
	table.Lock()
	i := 0
	for b.Loop() {
		table.Add(1, &all[i])
		if i++; i == len(all) {
			b.StopTimer()
			table.Unlock()
			table = aggregate.New(aggregate.Settings{Limits: limits})
			table.Lock()
			i = 0
			b.StartTimer()
		}
	}
	table.Unlock()
}

// BenchmarkFlush is a flush of n contexts, half of them histograms.
func BenchmarkFlush(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		for _, values := range []int{1, 200} {
			b.Run(fmt.Sprintf("contexts=%d/values=%d", n, values), func(b *testing.B) { benchmarkFlush(b, n, values) })
		}
	}
}

func benchmarkFlush(b *testing.B, n, values int) {
	table := aggregate.New(aggregate.Settings{Cumulative: true, Limits: roomy()})
	all := samples(n, "c", "h")
	random := rand.New(rand.NewPCG(1, 1))
	for range values {
		for i := range all {
			all[i].Values[0] = 20 + random.ExpFloat64()*50
		}
		addAll(table, all)
	}
	points := 0
	count := func(_ aggregate.Origin, p []aggregate.Point) { points += len(p) }
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		addAll(table, all)
		b.StartTimer()
		table.Flush(nil, count)
	}
	if points < n {
		b.Fatalf("%d points", points)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(points), "ns/context")
}

// BenchmarkMemory is what a context takes with its name and tags, half of them
// histograms of one value: by the heap, and by the table's own account.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("contexts=%d", n), func(b *testing.B) {
			for b.Loop() {
				heap, own := memory(b, n)
				b.ReportMetric(float64(heap)/float64(n), "B/context")
				b.ReportMetric(float64(own)/float64(n), "own-B/context")
				b.ReportMetric(float64(heap)/(1<<20), "MiB")
			}
		})
	}
}

func memory(tb testing.TB, n int) (heap uint64, own int) {
	before := heapNow()
	table := aggregate.New(aggregate.Settings{Cumulative: true, Limits: aggregate.Limits{OriginContexts: 1 << 30, OriginBytes: 1 << 30}})
	kinds := []string{"c", "h"}
	var p dogstatsd.Parser
	table.Lock()
	for i := range n {
		for range p.Lines(line(i, kinds[i%2]), false) {
			table.Add(1, p.Sample())
		}
	}
	table.Unlock()
	after := heapNow()
	require.Equal(tb, n, table.Len())
	return after - before, table.Bytes()
}

func heapNow() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The goals: no allocation for what is known, next to none for a flush, 300
// bytes for a context. The account is what the heap says.
func TestBudgets(t *testing.T) {
	for _, cumulative := range []bool{false, true} {
		table := aggregate.New(aggregate.Settings{Cumulative: cumulative, Limits: roomy()})
		all := samples(2000, "c", "g", "s", "h", "ms", "d")
		drop := func(aggregate.Origin, []aggregate.Point) {}
		run := func() {
			addAll(table, all)
			table.Flush(nil, drop)
		}
		run()
		require.LessOrEqual(t, testing.AllocsPerRun(20, run)/float64(len(all)), .01, "allocations for each context, of both")
	}
	heap, own := memory(t, 100_000)
	require.LessOrEqual(t, float64(heap)/100_000, 300.)
	require.InEpsilon(t, float64(heap), float64(own), .05)
}

// BenchmarkSweep is the look for what has expired: nothing, or everything.
func BenchmarkSweep(b *testing.B) {
	for _, expires := range []bool{false, true} {
		b.Run(fmt.Sprintf("expires=%v", expires), func(b *testing.B) { benchmarkSweep(b, expires) })
	}
}

func benchmarkSweep(b *testing.B, expires bool) {
	const n = 100_000
	now := time.Unix(1_700_000_000, 0)
	step := 2 * time.Minute
	if expires {
		step = time.Hour
	}
	table := aggregate.New(aggregate.Settings{Limits: roomy(), Now: func() time.Time { return now }})
	all := samples(n, "c", "h")
	drop := func(aggregate.Origin, []aggregate.Point) {}
	for b.Loop() {
		b.StopTimer()
		addAll(table, all)
		table.Flush(nil, drop)
		now = now.Add(step)
		b.StartTimer()
		table.Flush(nil, drop)
	}
	require.Equal(b, expires, table.Len() == 0)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/context")
}
