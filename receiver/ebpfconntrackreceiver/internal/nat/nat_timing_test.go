package nat

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// BenchmarkResolve takes the processor's time of one lookup, the kernel's share
// included, in batches as they come with 100 ms of a busy host: by the program, by
// the table, and by a question to ctnetlink each. The last one is what a table
// costs that holds nothing.
func BenchmarkResolve(b *testing.B) {
	r := newRig(b)
	r.connectMany(5000)
	listed := append(r.list("ipv4"), r.list("ipv6")...)
	queries := make([]Query, len(listed))
	for i, e := range listed {
		queries[i] = Query{Pair: Pair{Local: e.original.source, Remote: e.original.destination}, Transport: e.transport}
	}
	measure := func(name string, open func(r *rig) Resolver) {
		b.Run(name, func(b *testing.B) {
			resolver := open(r.with(b))
			for _, batch := range []int{1, 16, 1000} {
				b.Run(strconv.Itoa(batch), func(b *testing.B) { benchmarkBatch(b, resolver, queries[:batch]) })
			}
		})
	}
	measure("pull", func(r *rig) Resolver { return r.open(ModePull) })
	measure("table", func(r *rig) Resolver {
		resolver := r.ctnetlink(Options{}.ctnetlink())
		for i := range listed { // as if all had come with events
			resolver.table.put(&listed[i], true)
		}
		return resolver
	})
	measure("get", func(r *rig) Resolver {
		o := Options{}.ctnetlink()
		o.limit = 0 // no room
		return r.ctnetlink(o)
	})
}

func benchmarkBatch(b *testing.B, resolver Resolver, queries []Query) {
	answers := make([]Answer, len(queries))
	before, start := resolver.Stats(), processorTime(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := resolver.Resolve(context.Background(), Namespace{}, queries, answers); err != nil {
			b.Fatal(err)
		}
	}
	after := resolver.Stats()
	lookups := after.Lookups - before.Lookups
	require.Equal(b, lookups, after.Hits-before.Hits)
	b.ReportMetric(float64(processorTime(b)-start)/float64(lookups), "cpu-ns/lookup")
}

// BenchmarkOwn is for the process' own namespace, which is where the agent asks:
// without the way to another thread. Nothing is found there.
func BenchmarkOwn(b *testing.B) {
	resolver, _, err := Open(Options{Mode: ModePull})
	if err != nil {
		lack(b, ModePull, err)
	}
	defer resolver.Close()
	for _, batch := range []int{1, 16, 1000} {
		queries, answers := make([]Query, batch), make([]Answer, batch)
		for i := range queries {
			queries[i] = cacheQuery(uint16(i + 1))
		}
		b.Run(strconv.Itoa(batch), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := resolver.Resolve(context.Background(), Namespace{}, queries, answers); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWatch takes the processor's time, of this process, that one connection
// of the host costs the table, asked about or not: two events.
func BenchmarkWatch(b *testing.B) {
	e := connectionOf(1)
	message := e.encode(b)
	table := newTable(1<<16, defaultGrace, time.Now)
	b.ReportAllocs()
	for b.Loop() {
		begun, err := parseEntry(message)
		if err != nil {
			b.Fatal(err)
		}
		table.put(&begun, true)
		ended, err := parseEntry(message)
		if err != nil {
			b.Fatal(err)
		}
		table.end(&ended)
	}
}

// BenchmarkDump takes the processor's time of one entry of a dump.
func BenchmarkDump(b *testing.B) {
	r := newRig(b)
	r.connectMany(5000)
	p, err := openPlaces(path(r.host))
	require.NoError(b, err)
	defer p.home.Close()
	start := processorTime(b)
	for b.Loop() {
		resolver, err := openCtnetlink(places{home: p.home, own: p.own}, Options{}.ctnetlink())
		require.NoError(b, err)
		resolver.closing.Store(true)
		resolver.closeSockets()
		<-resolver.done
	}
	b.ReportMetric(float64(processorTime(b)-start)/float64(b.N*5000), "cpu-ns/entry")
}

// processorTime is that of the whole process, in nanoseconds.
func processorTime(b *testing.B) int64 {
	b.Helper()
	var usage unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &usage))
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// TestPullAllocates nothing for each lookup, and a few times for each batch.
func TestPullAllocates(t *testing.T) {
	r := newRig(t)
	resolver := r.open(ModePull)
	queries, answers := make([]Query, 128), make([]Answer, 128)
	for i := range queries {
		queries[i] = cacheQuery(uint16(i))
	}
	n := testing.AllocsPerRun(20, func() {
		if err := resolver.Resolve(context.Background(), Namespace{}, queries, answers); err != nil {
			t.Fatal(err)
		}
	})
	require.LessOrEqual(t, n, 4.0)
}
