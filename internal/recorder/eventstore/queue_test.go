package eventstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/plog"
)

// TestPasses lets only 7 events wait, so that scans of overlapping frames take
// many passes: they give the same events in the same order.
func TestPasses(t *testing.T) {
	s := overlapping(t, 20, 40)
	for range 30 { // more than wait, and all of one time
		s.Append(one(start.Add(5500*time.Millisecond), "test.equal", "c1", "equal"))
	}
	closeSegment(s)
	s.Append(one(start.Add(20*time.Second), "test.event", "c1", "pending"))
	all := scanAll(t, s, Query{})
	if len(all) != 20*42+31 || !slices.IsSortedFunc(all, func(a, b Event) int { return a.Time.Compare(b.Time) }) {
		t.Fatalf("%d events", len(all))
	}
	for _, q := range []Query{
		{}, {Newest: true}, {Limit: 5}, {Limit: 200}, {Newest: true, Limit: 200}, {Kinds: []string{"test.equal"}},
		{From: start, To: start.Add(10 * time.Second)}, {From: start, To: start.Add(10 * time.Second), Newest: true},
	} {
		want := filter(all, q)
		got, passes := scanWith(t, s, q, 7)
		if diff := diff.Diff(keys(want), keys(got)); diff != "" {
			t.Errorf("%+v: %d events instead of %d (-want +got):\n%s", q, len(got), len(want), diff)
		}
		if q.Limit != 5 && passes < 2 {
			t.Errorf("%+v: the test has %d pass", q, passes)
		}
		// Equal events come once each.
		if given := countOf(got, "pending"); q.Limit == 0 && q.From.IsZero() && q.Kinds == nil && given != 1 {
			t.Errorf("%+v: an event came %d times", q, given)
		}
	}
	got, passes := scanWith(t, s, Query{}, queueEvents)
	if len(got) != len(all) || passes != 1 {
		t.Errorf("%d events in %d passes", len(got), passes)
	}
}

// scanWith scans a store with room for so many events, and counts the passes.
func scanWith(t *testing.T, s *Store, q Query, most int) (events []Event, passes int) {
	t.Helper()
	sources, read, err := s.sources(q)
	if err != nil {
		t.Fatal(err)
	}
	defer s.scans.Done()
	defer s.release(read)
	sc := newScan(s.codec, q)
	sc.most = most
	from := key{at: math.MaxInt64}
	if err := sc.run(t.Context(), sources, func(e Event) bool {
		if sc.from != from {
			from = sc.from
			passes++
		}
		events = append(events, e)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return events, passes
}

func countOf(events []Event, body string) (n int) {
	for _, e := range events {
		if e.Body == body {
			n++
		}
	}
	return n
}

// TestPassesEnd: a scan of many passes ends with its context, and when it is told
// to.
func TestPassesEnd(t *testing.T) {
	s := overlapping(t, 20, 40)
	for _, q := range []Query{{}, {Newest: true}} {
		ctx, cancel := context.WithCancel(t.Context())
		sources, read, err := s.sources(q)
		if err != nil {
			t.Fatal(err)
		}
		sc := newScan(s.codec, q)
		sc.most = 7
		given := 0
		err = sc.run(ctx, sources, func(Event) bool {
			if given++; given == 100 {
				cancel()
			}
			return true
		})
		if !errors.Is(err, context.Canceled) || given > 200 {
			t.Errorf("%+v: %d events, %v", q, given, err)
		}
		s.release(read)
		s.scans.Done()
	}
}

// TestQueue compares the queue with a sorted list.
func TestQueue(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, size := range []int{10, queueBytes / 40} { // the second fills it by bytes
		q := queue{most: 50}
		of := &heldScope{of: &heldResource{bytes: make([]byte, 100)}}
		record := make([]byte, size)
		var pushed []key
		for i := range 1000 {
			k := key{at: random.Int64N(30), source: uint32(random.IntN(3)), record: uint32(i)}
			pushed = append(pushed, k)
			if q.takes(k) {
				q.push(waiting{k, of, record})
			}
			if len(q.waiting) > 100 || q.bytes > queueBytes {
				t.Fatalf("%d events wait, %d bytes", len(q.waiting), q.bytes)
			}
		}
		slices.SortFunc(pushed, key.compare)
		n := len(q.waiting)
		if !q.cut || pushed[n] != q.horizon || n < 10 {
			t.Errorf("%d events wait, the horizon is %v instead of %v", n, q.horizon, pushed[n])
		}
		for i := range n {
			if got := q.pop().key; got != pushed[i] {
				t.Fatalf("event %d is %v, want %v", i, got, pushed[i])
			}
		}
		if q.bytes != 0 || of.refs != 0 || of.of.refs != 0 {
			t.Errorf("the empty queue has %d bytes, %d and %d references", q.bytes, of.refs, of.of.refs)
		}
	}
}

// TestQueueTakesOne: an event that is bigger than all that may wait is given.
func TestQueueTakesOne(t *testing.T) {
	q := queue{most: 50}
	of := &heldScope{of: &heldResource{bytes: make([]byte, 2*queueBytes)}}
	for _, at := range []int64{5, 3, 4} {
		if k := (key{at: at}); q.takes(k) {
			q.push(waiting{k, of, nil})
		}
	}
	if len(q.waiting) != 1 || q.pop().at != 3 || q.horizon.at != 4 {
		t.Errorf("%d wait, horizon %v", len(q.waiting), q.horizon)
	}
}

// TestMalformedRecord: a frame of another writer has a record that pdata refuses.
// The others are there.
func TestMalformedRecord(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	logs := one(start, "test.event", "c1", "good")
	for _, body := range []string{"bad", "good"} {
		one(start, "test.event", "c1", body).ResourceLogs().MoveAndAppendTo(logs.ResourceLogs())
	}
	raw, err := marshal(logs)
	if err != nil {
		t.Fatal(err)
	}
	// The body is an AnyValue: 0a is the tag of a string, 0c that of a group.
	raw = []byte(strings.Replace(string(raw), "\x0a\x03bad", "\x0c\x03bad", 1))
	if _, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(raw); err == nil {
		t.Fatal("pdata takes it")
	}
	h := header{events: 3, min: start.UnixNano(), max: start.UnixNano()}
	sc := newScan(s.codec, Query{})
	var got []Event
	if err := sc.run(t.Context(), []source{{header: h, raw: raw}}, func(e Event) bool {
		got = append(got, e)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(bodies(got), []string{"good", "good"}) || len(sc.damaged) != 1 {
		t.Errorf("%v are left, %d sources damaged", bodies(got), len(sc.damaged))
	}
}

// TestTooLarge: neither a frame nor a merge writes what no reader takes.
func TestTooLarge(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	raw, err := marshal(one(start, "test.event", "c1", strings.Repeat("x", maxRaw)))
	if err != nil {
		t.Fatal(err)
	}
	s.take(raw, 1) // Append would refuse it
	s.Append(one(start, "test.event", "c1", "behind"))
	mustFlush(t, s)
	if got := bodies(scanAll(t, s, Query{})); !slices.Equal(got, []string{"behind"}) || s.Stats().Dropped[DroppedTooLarge] != 1 {
		t.Errorf("%v, dropped %v", got, s.Stats().Dropped)
	}
	w, err := newWriter(segmentPath(t.TempDir(), 1, mergeSuffix), s.codec, createFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.add(raw); !errors.Is(err, errTooLarge) {
		t.Errorf("a merge says %v", err)
	}
	if err := w.abandon(); err != nil {
		t.Error(err)
	}
}

// TestOrderOfKeys makes sure that mirrored times come in the other order, those at
// the ends too.
func TestOrderOfKeys(t *testing.T) {
	times := []int64{math.MinInt64, -1, 0, 1, math.MaxInt64}
	for i, a := range times {
		for j, b := range times {
			if got, want := (key{at: a ^ -1}).compare(key{at: b ^ -1}), cmp.Compare(j, i); got != want {
				t.Errorf("%s: %d, want %d", fmt.Sprint(a, b), got, want)
			}
		}
	}
}
