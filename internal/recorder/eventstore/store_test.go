package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// TestEveryState reads the same events from the pending batch, from an open
// segment, from a merged one and by a reader of the folder.
func TestEveryState(t *testing.T) {
	dir := t.TempDir()
	s, found := open(t, quiet(dir))
	if found.Text() != "" {
		t.Errorf("a new store has something to tell: %s", found.Text())
	}
	want := []string{"a", "b", "c"}
	for i, body := range want {
		written := s.Append(one(start.Add(time.Duration(i)*time.Second), "container.start", "c1", body))
		if written.Events != 1 || written.Dropped != nil {
			t.Fatalf("Append says %+v", written)
		}
	}
	check := func(state string, in scanner) {
		t.Helper()
		events := scanAll(t, in, Query{})
		if diff := cmp.Diff(want, bodies(events)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", state, diff)
		}
		if e := events[1]; e.Name != "container.start" || e.Container != "c1" || !e.Time.Equal(start.Add(time.Second)) {
			t.Errorf("%s: %+v", state, e)
		}
		newest := scanAll(t, in, Query{Newest: true, Limit: 2})
		if diff := cmp.Diff([]string{"c", "b"}, bodies(newest)); diff != "" {
			t.Errorf("%s, newest (-want +got):\n%s", state, diff)
		}
	}
	check("pending", s)
	mustFlush(t, s)
	check("open segment", s)
	mustClose(t, s)
	mustClose(t, s)
	if files := names(t, dir); !slices.Equal(files, []string{"00000001.tev"}) {
		t.Errorf("after Close the folder has %v", files)
	}
	reader, _, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	check("reader", reader)
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	again, found := open(t, quiet(dir))
	checkRecovery(t, found, 3, start.Add(2*time.Second))
	check("reopened", again)
}

// checkRecovery is for a store that was closed.
func checkRecovery(t *testing.T, found Recovery, events uint64, last time.Time) {
	t.Helper()
	if found.Unclean || found.Events != events || !found.Last.Equal(last) {
		t.Errorf("reopened: %+v", found)
	}
}

func TestClosed(t *testing.T) {
	again, _ := open(t, quiet(t.TempDir()))
	mustClose(t, again)
	if w := again.Append(one(start, "x", "", "")); w.Dropped[DroppedClosed] != 1 {
		t.Errorf("Append to a closed store says %+v", w)
	}
	if err := again.Scan(t.Context(), Query{}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Scan of a closed store: %v", err)
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// TestScanSkips compares scans that skip frames with a filter over all events.
func TestScanSkips(t *testing.T) {
	o := quiet(t.TempDir())
	o.MaxBytes = 16 << 20
	m := newMix()
	late := time.Duration(0)
	o.Now = func() time.Time { return m.now().Add(late) }
	s, _ := open(t, o)
	for i := range 60 {
		s.Append(m.batch(1000))
		if i%20 == 19 {
			late += maxSegmentAge // ends the segment at the next frame
		}
	}
	s.Append(m.batch(100)) // stays pending
	s.mergeAll()
	all := scanAll(t, s, Query{})
	if len(all) != 60_100 {
		t.Fatalf("%d events", len(all))
	}
	if !slices.IsSortedFunc(all, func(a, b Event) int { return a.Time.Compare(b.Time) }) {
		t.Error("not in the order of time")
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		q := randomQuery(random)
		want := filter(all, q)
		got := scanAll(t, s, q)
		if diff := cmp.Diff(keys(want), keys(got)); diff != "" {
			t.Fatalf("%+v: %d events instead of %d", q, len(got), len(want))
		}
	}
}

func randomQuery(random *rand.Rand) Query {
	q := Query{Newest: random.IntN(2) == 0}
	if random.IntN(2) == 0 {
		q.From = start.Add(time.Duration(random.IntN(1200)) * time.Second)
		q.To = q.From.Add(time.Duration(random.IntN(600)) * time.Second)
	}
	if random.IntN(2) == 0 {
		q.Kinds = []string{[]string{"process.exec", "network.connection.closed", "none"}[random.IntN(3)]}
	}
	if random.IntN(2) == 0 {
		q.Containers = []string{mixContainer(random.IntN(100)), mixContainer(random.IntN(300))}
	}
	if random.IntN(3) == 0 {
		q.Limit = 1 + random.IntN(50)
	}
	return q
}

func filter(all []Event, q Query) (chosen []Event) {
	all = slices.Clone(all)
	if q.Newest {
		slices.Reverse(all)
	}
	for _, e := range all {
		inTime := q.From.IsZero() || !e.Time.Before(q.From) && !e.Time.After(q.To)
		isKind := q.Kinds == nil || slices.Contains(q.Kinds, e.Name)
		isOf := q.Containers == nil || slices.Contains(q.Containers, e.Container)
		if inTime && isKind && isOf && (q.Limit == 0 || len(chosen) < q.Limit) {
			chosen = append(chosen, e)
		}
	}
	return chosen
}

func keys(events []Event) (all []string) {
	for _, e := range events {
		all = append(all, fmt.Sprint(e.Time.UnixNano(), e.Name, e.Container))
	}
	return all
}

// TestFramesAreSkipped makes sure that a scan of one container reads less.
func TestFramesAreSkipped(t *testing.T) {
	o := quiet(t.TempDir())
	s, _ := open(t, o)
	m := newMix()
	for range 40 {
		s.Append(m.batch(500))
	}
	s.mu.Lock()
	s.rotate()
	s.mu.Unlock()
	s.mergeAll()
	frames := s.Stats().Frames
	found, read, err := s.sources(Query{Containers: []string{mixContainer(90)}})
	if err != nil {
		t.Fatal(err)
	}
	s.release(read)
	s.scans.Done()
	if frames != 4 || len(found) > 2 {
		t.Errorf("%d of %d frames are read for one container, want at most 2 of 4", len(found), frames)
	}
}

func TestSubscribe(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	slow, quick := s.Subscribe(2, nil), s.Subscribe(100, nil)
	choosy := s.Subscribe(1, func(e *Event) bool { return e.Body == "3" })
	for i := range 5 {
		s.Append(one(start, "test.event", "c1", strconv.Itoa(i)))
	}
	if s.Stats().Feeds != 3 || slow.Missed() != 3 || quick.Missed() != 0 {
		t.Errorf("%d feeds, missed %d and %d", s.Stats().Feeds, slow.Missed(), quick.Missed())
	}
	slow.Close()
	slow.Close()
	if got := received(slow); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("the slow feed has %v", got)
	}
	mustClose(t, s)
	if got := received(choosy); !slices.Equal(got, []string{"3"}) || choosy.Missed() != 0 {
		t.Errorf("the feed that wants one has %v, missed %d", got, choosy.Missed())
	}
	if got := received(quick); !slices.Equal(got, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("the quick feed has %v", got)
	}
	if _, ok := <-s.Subscribe(1, nil).Events(); ok {
		t.Error("a feed of a closed store is open")
	}
}

func received(f *Feed) (all []string) {
	for e := range f.Events() {
		all = append(all, e.Body)
	}
	return all
}

func TestCut(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	m := newMix()
	for range 10 {
		s.Append(m.batch(700))
	}
	w := Window{From: start.Add(20 * time.Second), To: start.Add(80 * time.Second)}
	want := scanAll(t, s, Query{From: w.From, To: w.To, Containers: []string{mixContainer(3)}})
	dir := filepath.Join(t.TempDir(), "cut")
	stats, err := s.Cut(t.Context(), w, func(e Event) bool { return e.Container == mixContainer(3) }, dir)
	if err != nil {
		t.Fatal(err)
	}
	reader, found, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	got := scanAll(t, reader, Query{})
	if diff := cmp.Diff(keys(want), keys(got)); diff != "" || len(want) == 0 {
		t.Errorf("%d events (-want +got):\n%s", len(want), diff)
	}
	if diff := cmp.Diff(want[0].Resource.AsRaw(), got[0].Resource.AsRaw()); diff != "" {
		t.Errorf("resource (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[0].Attributes.AsRaw(), got[0].Attributes.AsRaw()); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	first, last := reader.Span()
	if stats.Events != len(want) || int(found.Events) != len(want) || !stats.First.Equal(first) || !stats.Last.Equal(last) || !first.Equal(want[0].Time) {
		t.Errorf("cut says %+v, recovery %+v, span %v to %v", stats, found, first, last)
	}
}

func TestCutNothing(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	s.Append(newMix().batch(700))
	w := Window{From: start, To: start.Add(time.Minute)}
	empty, err := s.Cut(t.Context(), w, func(Event) bool { return false }, t.TempDir())
	if err != nil || empty.Path != "" || empty.Events != 0 {
		t.Errorf("cut of nothing: %+v, %v", empty, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	left := t.TempDir()
	if _, err := s.Cut(ended, w, nil, left); !errors.Is(err, context.Canceled) || len(names(t, left)) > 0 {
		t.Errorf("cut that was cancelled: %v, leaves %v", err, names(t, left))
	}
}

func TestSpans(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	traces := ptrace.NewTraces()
	resource := traces.ResourceSpans().AppendEmpty()
	resource.Resource().Attributes().PutStr("container.id", "c1")
	span := resource.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetName("GET /")
	span.SetTraceID([16]byte{1})
	span.SetSpanID([8]byte{2})
	span.SetParentSpanID([8]byte{3})
	span.SetKind(ptrace.SpanKindServer)
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(start.Add(1500 * time.Millisecond)))
	span.Status().SetCode(ptrace.StatusCodeError)
	span.Status().SetMessage("refused")
	if w := s.AppendSpans(traces); w.Events != 1 {
		t.Fatalf("AppendSpans says %+v", w)
	}
	events := scanAll(t, s, Query{Kinds: []string{SpanEvent}, Containers: []string{"c1"}})
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	e := events[0]
	want := map[string]any{
		"span.kind": "Server", "span.duration": 1.5, "span.status": "Error",
		"span.status.message": "refused", "span.parent_id": "0300000000000000",
	}
	if diff := cmp.Diff(want, e.Attributes.AsRaw()); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if e.Body != "GET /" || e.Severity != plog.SeverityNumberError || e.Record.TraceID() != [16]byte{1} || e.Record.SpanID() != [8]byte{2} || !e.Time.Equal(start) {
		t.Errorf("%+v", e)
	}
}

// TestNoTime gives events without a time the present one, in a copy.
func TestNoTime(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	logs := one(time.Time{}, "test.event", "", "x")
	logs.MarkReadOnly()
	s.Append(logs)
	if e := scanAll(t, s, Query{Containers: []string{""}}); len(e) != 1 || !e[0].Time.Equal(start) {
		t.Errorf("%+v", e)
	}
}

// TestBigBatches splits what is too big for a frame by resource.
func TestBigBatches(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	logs := plog.NewLogs()
	for i, size := range []int{100, 600 << 10, 600 << 10, 3 << 20, maxRaw + 1} {
		r := one(start, "test.event", fmt.Sprint(i), strings.Repeat("x", size))
		r.ResourceLogs().MoveAndAppendTo(logs.ResourceLogs())
	}
	w := s.Append(logs)
	if w.Events != 4 || w.Dropped[DroppedTooLarge] != 1 || s.Stats().Dropped[DroppedTooLarge] != 1 {
		t.Errorf("Append says %+v", w)
	}
	mustFlush(t, s)
	for i, size := range []int{100, 600 << 10, 600 << 10, 3 << 20} {
		events := scanAll(t, s, Query{Containers: []string{fmt.Sprint(i)}})
		if len(events) != 1 || len(events[0].Body) != size {
			t.Errorf("event %d is not as it was", i)
		}
	}
}
