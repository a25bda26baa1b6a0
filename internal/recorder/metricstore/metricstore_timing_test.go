package metricstore_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// BenchmarkHost records a large host, in which a container is replaced every
// three minutes, for METRICSTORE_BENCH_HOURS of simulated time (0.75 without it:
// two blocks), then asks, closes and reopens. BenchmarkBare gives the same
// samples to the TSDB alone: what the store costs beside is the difference.
//
//	GOGC=50 GOMEMLIMIT=200MiB METRICSTORE_BENCH_HOURS=6 go test -run='^$' -bench='Host|Bare' -benchtime=1x -timeout=1h ./internal/recorder/metricstore
//
// What is written out: cpu-us/sample is all CPU time of the process but that of
// making the data, of which write and maintain are parts; gc-us/sample is in it,
// the collection of the data's own garbage included. Memory is what the process
// has more than with the data alone: while it records and once it is idle. A page
// is 60 queries about one container over all the time, in steps of 15 seconds.
func BenchmarkHost(b *testing.B) {
	for range b.N {
		c := newClock()
		o := options(b, c)
		run := newRun(b, c)
		s, _ := open(b, o)
		run.feed(b, func(h *host) {
			if w := s.Write(context.Background(), h.md); w.Samples != hostSeries {
				b.Fatalf("%+v", w)
			}
		}, func() { require.NoError(b, s.Maintain(context.Background())) }, s)
		reportBlocks(b, s.Stats(), filepath.Join(o.Dir, "db"))
		reportPage(b, s, c)
		run.reportIdle(b)
		b.ReportMetric(reportReopen(b, s, o), "reopen-s")
	}
}

// BenchmarkBare is the floor: the samples of BenchmarkHost go to a TSDB with the
// settings of the store, with the references of their series at hand and in
// commits as large as the store's, and it cuts blocks when the store does.
func BenchmarkBare(b *testing.B) {
	for range b.N {
		c := newClock()
		run := newRun(b, c)
		db, err := metricstore.OpenBare(options(b, c))
		require.NoError(b, err)
		f := &bare{b: b, db: db, refs: make([]storage.SeriesRef, hostSeries), labels: make([]labels.Labels, hostSeries)}
		run.feed(b, f.write, func() {
			db.ForceHeadMMap()
			if head := db.Head(); head.MaxTime()-head.MinTime() > (15*time.Minute).Milliseconds()*3/2 {
				require.NoError(b, db.Compact(context.Background()))
			}
		}, nil)
		require.NoError(b, db.Close())
	}
}

type bare struct {
	b      *testing.B
	db     *tsdb.DB
	refs   []storage.SeriesRef
	labels []labels.Labels
	seen   int // containers replaced
}

func (f *bare) write(h *host) {
	if f.seen != h.replaced || f.refs[0] == 0 {
		f.seen = h.replaced
		f.name(h)
	}
	app := f.db.Appender(context.Background())
	for i, p := range h.points {
		ref, err := app.Append(f.refs[i], f.labels[i], int64(p.Timestamp()/1e6), p.DoubleValue())
		if err != nil {
			f.b.Fatal(err)
		}
		f.refs[i] = ref
	}
	require.NoError(f.b, app.Commit())
}

// name gives the series of new containers their labels.
func (f *bare) name(h *host) {
	for i := range h.points {
		rm := h.md.ResourceMetrics().At(i / hostMetrics)
		id, _ := rm.Resource().Attributes().Get("container.id")
		name, _ := rm.Resource().Attributes().Get("container.name")
		image, _ := rm.Resource().Attributes().Get("container.image.name")
		lset := labels.FromStrings("__name__", rm.ScopeMetrics().At(0).Metrics().At(i%hostMetrics).Name(),
			"container_id", id.Str(), "container_name", name.Str(), "container_image_name", image.Str(), "network_io_direction", "receive")
		if !labels.Equal(lset, f.labels[i]) {
			f.labels[i], f.refs[i] = lset, 0
		}
	}
}

// run is one simulation.
type run struct {
	clock *clock
	host  *host
	steps int
	base  int64 // memory before the store was there
}

func newRun(b *testing.B, c *clock) *run {
	b.Helper()
	hours := 0.75
	if text := os.Getenv("METRICSTORE_BENCH_HOURS"); text != "" {
		var err error
		hours, err = strconv.ParseFloat(text, 64)
		require.NoError(b, err)
	}
	h := newHost()
	h.step(c.Now())
	debug.FreeOSMemory()
	return &run{clock: c, host: h, steps: int(hours * 3600), base: anonymous(b)}
}

// feed simulates and reports what it took. The store gets the ends of containers.
func (r *run) feed(b *testing.B, write func(*host), maintain func(), s *metricstore.Store) {
	b.Helper()
	peak := watchPeak(b)
	var all, making, writing cpuTime
	gc := gcTime()
	all -= cpu(b)
	for i := 1; i <= r.steps; i++ {
		r.clock.set(began().Add(time.Duration(i) * time.Second))
		making -= cpu(b)
		r.host.step(r.clock.Now())
		making += cpu(b)
		if i%replaceEvery == 0 {
			r.host.replace(s, r.clock.Now())
			r.host.step(r.clock.Now())
		}
		writing -= cpu(b)
		write(r.host)
		writing += cpu(b)
		maintain()
	}
	all += cpu(b)
	n := float64(r.steps) * hostSeries / 1e6
	b.ReportMetric(n, "Msamples")
	b.ReportMetric((all-making).seconds()/n, "cpu-us/sample")
	b.ReportMetric(writing.seconds()/n, "write-us/sample")
	b.ReportMetric((all-making-writing).seconds()/n, "maintain-us/sample")
	b.ReportMetric((gcTime()-gc)/n, "gc-us/sample")
	b.ReportMetric(float64(peak()-r.base)/1e6, "peak-MB")
}

func (r *run) reportIdle(b *testing.B) {
	b.Helper()
	debug.FreeOSMemory()
	b.ReportMetric(float64(anonymous(b)-r.base)/1e6, "idle-MB")
}

// watchPeak looks at the memory every 50 ms until the peak is asked for.
func watchPeak(b *testing.B) (peak func() int64) {
	b.Helper()
	var most atomic.Int64
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			most.Store(max(most.Load(), anonymous(b)))
			select {
			case <-ticker.C:
			case <-end:
				return
			}
		}
	}()
	return func() int64 {
		close(end)
		<-done
		return most.Load()
	}
}

// reportBlocks asks the blocks themselves how many samples they hold.
func reportBlocks(b *testing.B, st metricstore.Stats, dir string) {
	b.Helper()
	require.NotZero(b, st.Blocks)
	var samples uint64
	names, err := filepath.Glob(filepath.Join(dir, "*", "meta.json"))
	require.NoError(b, err)
	for _, name := range names {
		block, err := tsdb.OpenBlock(nil, filepath.Dir(name), nil, nil)
		require.NoError(b, err)
		samples += block.Meta().Stats.NumSamples
		require.NoError(b, block.Close())
	}
	b.ReportMetric(float64(st.Bytes.Blocks)/float64(samples), "block-B/sample")
	b.ReportMetric(float64(st.Bytes.Blocks)/1e6, "blocks-MB")
	b.ReportMetric(float64(st.Bytes.Log+st.Bytes.Head)/1e6, "log+head-MB")
}

// reportPage asks what the page of one container needs, twice: the second time
// finds warm caches.
func reportPage(b *testing.B, s *metricstore.Store, c *clock) {
	b.Helper()
	w := metricstore.Window{From: began().Add(time.Minute), To: c.Now()}
	for _, unit := range []string{"page-ms", "page-again-ms"} {
		start := time.Now()
		for m := range hostMetrics {
			kind := kindOf(m)
			expr := fmt.Sprintf(`container_%s_n%d{container_name="app-7-0"}`, kind, m)
			if isCounter(kind) {
				expr = fmt.Sprintf(`rate(container_%s_n%d_total{container_name="app-7-0"}[1m])`, kind, m)
			}
			result, err := s.Range(context.Background(), expr, w, 15*time.Second)
			require.NoError(b, err)
			matrix, err := result.Matrix()
			require.NoError(b, err)
			require.Len(b, matrix, 1, expr)
		}
		b.ReportMetric(float64(time.Since(start).Milliseconds()), unit)
	}
}

// reportReopen opens a copy of the folder as it is now, which is what a kill
// would leave: the log is not closed. It returns seconds.
func reportReopen(b *testing.B, s *metricstore.Store, o metricstore.Options) float64 {
	b.Helper()
	killed := o
	killed.Dir = b.TempDir()
	require.NoError(b, os.CopyFS(killed.Dir, os.DirFS(o.Dir)))
	require.NoError(b, s.Close())
	_, r := open(b, killed)
	if !r.Unclean || r.Series < hostSeries {
		b.Fatalf("%+v", r)
	}
	return r.Took.Seconds()
}

// BenchmarkWrite is one pass of a large host whose series are all known, without
// the blocks that are cut now and then.
func BenchmarkWrite(b *testing.B) {
	c := newClock()
	s, _ := open(b, options(b, c))
	h := newHost()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		c.set(began().Add(time.Duration(i) * time.Second))
		b.StopTimer()
		h.step(c.Now())
		b.StartTimer()
		if w := s.Write(context.Background(), h.md); w.Samples != hostSeries {
			b.Fatalf("%+v", w)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(i)/hostSeries, "ns/sample")
}

// TestWriteAllocations pins what a pass over known series allocates: less than
// one allocation for ten samples, most of them chunks of the TSDB.
func TestWriteAllocations(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	h := newHost()
	const passes = 180 // a chunk and a half of each series
	var before, after runtime.MemStats
	var allocated uint64
	for i := range passes {
		c.set(began().Add(time.Duration(i) * time.Second))
		h.step(c.Now()) // pdata allocates each value that is set
		runtime.ReadMemStats(&before)
		s.Write(context.Background(), h.md)
		runtime.ReadMemStats(&after)
		if i > 0 {
			allocated += after.Mallocs - before.Mallocs
		}
	}
	if n := float64(allocated) / (passes - 1); n > hostSeries/10 {
		t.Errorf("%v allocations for %d samples", n, hostSeries)
	} else {
		t.Logf("%.3f allocations for a sample", n/hostSeries)
	}
}

type cpuTime time.Duration

func (t cpuTime) seconds() float64 { return time.Duration(t).Seconds() }

// cpu is what the process has used, kernel included.
func cpu(b *testing.B) cpuTime {
	b.Helper()
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return cpuTime(u.Utime.Nano() + u.Stime.Nano())
}

// gcTime is the CPU time of the garbage collector so far, in seconds. The runtime
// brings it up to date at the end of each collection.
func gcTime() float64 {
	sample := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(sample)
	return sample[0].Value.Float64()
}

// anonymous is the memory of the process that no file backs.
func anonymous(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	require.NoError(b, err)
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("RssAnon:")); ok {
			kilobytes, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			require.NoError(b, err)
			return kilobytes << 10
		}
	}
	b.Fatal("no RssAnon in /proc/self/status")
	return 0
}
