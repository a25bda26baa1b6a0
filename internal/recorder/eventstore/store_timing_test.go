package eventstore

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

const benchmarkEvents = 1_000_000

// goalBytes is for an event of the mix of the notes.
const goalBytes = 40

func cpu(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// round is how many events ingest makes. It stores them again and again, each
// time later: no frame sees an event twice, since a merge sorts as many.
const round = runEvents

// ingest stores n events of the mix in batches of 500, so far apart as every
// says, and merges them. It returns the CPU time for that, garbage collection
// included: what lives meanwhile are the events of a round, some 20 MB.
func ingest(t testing.TB, n int, every time.Duration) (*Store, time.Duration) {
	t.Helper()
	const batch = 500
	now := start
	o := quiet(t.TempDir())
	o.Now = func() time.Time { return now }
	s, _ := open(t, o)
	made := make([]plog.Logs, 0, round/batch)
	m := newMix()
	m.every = every
	for len(made) < cap(made) {
		made = append(made, m.batch(batch))
	}
	runtime.GC() // what making them left is not the store's
	var used time.Duration
	for done := 0; done < n; done += round {
		before := cpu(t)
		for _, logs := range made {
			s.Append(logs)
			now = now.Add(batch * every)
		}
		s.mergeAll()
		used += cpu(t) - before
		for _, logs := range made {
			shift(logs, round*every)
		}
	}
	before := cpu(t)
	mustFlush(t, s)
	s.mu.Lock()
	s.rotate()
	s.mu.Unlock()
	s.mergeAll()
	return s, used + cpu(t) - before
}

// shift sets events to a later time.
func shift(logs plog.Logs, by time.Duration) {
	eachRecord(logs, func(r plog.LogRecord) bool {
		r.SetTimestamp(r.Timestamp() + pcommon.Timestamp(by))
		return true
	})
}

// TestBytesPerEvent pins the goal of the disk, which does not depend on the
// machine.
func TestBytesPerEvent(t *testing.T) {
	const n = 100_000
	s, used := ingest(t, n, mixEvery)
	stats := s.Stats()
	per := float64(stats.Bytes) / n
	t.Logf("%.1f B and %v CPU per event, %d segments, %d frames", per, used/n, stats.Segments, stats.Frames)
	if per > goalBytes || stats.Stored != n {
		t.Errorf("%.1f B per event, at most %d: %+v", per, goalBytes, stats)
	}
}

// BenchmarkIngest reports what an event costs from Append to its merged frame.
// At 50 events a second a segment has 30,000, at 1,000 half a million: the
// memory for a merge then counts for more of them.
func BenchmarkIngest(b *testing.B) {
	f := func(name string, every time.Duration) {
		b.Run(name, func(b *testing.B) {
			const n = benchmarkEvents / 5
			var used time.Duration
			for range b.N {
				s, took := ingest(b, n, every)
				used += took
				b.ReportMetric(float64(s.Stats().Bytes)/n, "B/event")
				mustClose(b, s)
			}
			b.ReportMetric(float64(used.Nanoseconds())/float64(n*b.N), "cpu-ns/event")
		})
	}
	f("50perSecond", mixEvery)
	f("1000perSecond", time.Millisecond)
}

// BenchmarkScan reads a million events that are there already.
func BenchmarkScan(b *testing.B) {
	s, _ := ingest(b, benchmarkEvents, mixEvery)
	f := func(name string, q Query) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			hits := 0
			before := cpu(b)
			for b.Loop() {
				hits = 0
				if err := s.Scan(b.Context(), q, func(Event) bool { hits++; return true }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(hits), "events/op")
			b.ReportMetric(float64((cpu(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
	f("container7", Query{Containers: []string{mixContainer(7)}})
	f("container90", Query{Containers: []string{mixContainer(90)}})
	f("kindNone", Query{Kinds: []string{"container.oom_kill"}})
	f("newest500", Query{Newest: true, Limit: 500})
	f("tenMinutes", Query{From: start.Add(2 * time.Hour), To: start.Add(2*time.Hour + 10*time.Minute)})
	f("all", Query{})
}

// BenchmarkOpen opens a folder of a million events, as after a clean end.
func BenchmarkOpen(b *testing.B) {
	s, _ := ingest(b, benchmarkEvents, mixEvery)
	dir := s.o.Dir
	mustClose(b, s)
	for b.Loop() {
		s, _, err := Open(quiet(dir))
		if err != nil {
			b.Fatal(err)
		}
		mustClose(b, s)
	}
}
