package eventstore

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// manyScopes makes one resource of so many bytes with one small record in each
// of its scopes.
func manyScopes(resource, scopes int) plog.Logs {
	logs := plog.NewLogs()
	of := logs.ResourceLogs().AppendEmpty()
	of.SetSchemaUrl("https://example.org/resource")
	of.Resource().Attributes().PutStr("container.id", "c1")
	of.Resource().Attributes().PutStr("big", strings.Repeat("x", resource))
	for i := range scopes {
		scope := of.ScopeLogs().AppendEmpty()
		scope.SetSchemaUrl("https://example.org/scope")
		scope.Scope().SetName(fmt.Sprint("scope", i))
		r := scope.LogRecords().AppendEmpty()
		r.SetTimestamp(pcommon.NewTimestampFromTime(start.Add(time.Duration(i))))
		r.SetEventName("test.event")
		r.Body().SetStr(fmt.Sprint(i))
	}
	return logs
}

// rawOf returns the sizes of the store's frames once decompressed.
func rawOf(s *Store) (sizes []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.segments
	if s.current != nil {
		all = append(slices.Clip(all), s.current.segment)
	}
	for _, each := range all {
		for i := range each.frames {
			sizes = append(sizes, int(each.frames[i].raw))
		}
	}
	return sizes
}

// TestManyScopes stores a resource of 64 KiB with 2,000 scopes: written once for
// each, it would have 128 MB and make a frame that nothing reads.
func TestManyScopes(t *testing.T) {
	const scopes = 2000
	s, _ := open(t, quiet(t.TempDir()))
	logs := manyScopes(64<<10, scopes)
	sent, err := marshal(logs)
	if err != nil {
		t.Fatal(err)
	}
	if w := s.Append(logs); w.Events != scopes {
		t.Fatalf("Append says %+v", w)
	}
	check := func(state string) {
		t.Helper()
		for _, size := range rawOf(s) {
			if size > len(sent) {
				t.Errorf("%s: %d bytes came, a frame has %d", state, len(sent), size)
			}
		}
		events := scanAll(t, s, Query{})
		if len(events) != scopes || s.Stats().Damaged != 0 {
			t.Fatalf("%s: %d of %d events are left, %d frames damaged", state, len(events), scopes, s.Stats().Damaged)
		}
		for i, e := range events {
			if big, _ := e.Resource.Get("big"); e.Body != fmt.Sprint(i) || e.Container != "c1" || len(big.Str()) != 64<<10 {
				t.Fatalf("%s: event %d is %q of %q", state, i, e.Body, e.Container)
			}
		}
	}
	check("pending")
	mustFlush(t, s)
	check("in an open segment")
	s.Append(one(start.Add(time.Hour), "test.event", "c2", "behind"))
	closeSegment(s)
	s.Append(one(start.Add(time.Hour), "test.event", "c2", "behind"))
	if n := len(scanAll(t, s, Query{Containers: []string{"c2"}})); n != 2 {
		t.Errorf("%d of 2 events behind it can be read", n)
	}
	mustClose(t, s)
	checkFolder(t, s.o.Dir, scopes+2)
}

// checkFolder reads a folder that must be whole.
func checkFolder(t *testing.T, dir string, events int) {
	t.Helper()
	reader, found, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if n := len(scanAll(t, reader, Query{})); found.Events != uint64(events) || len(found.Damaged) != 0 || n != events {
		t.Errorf("opened again: %d events can be read, %+v", n, found)
	}
}

// closeSegment ends the segment that is being written, and merges it.
func closeSegment(s *Store) {
	s.mu.Lock()
	s.flush()
	s.rotate()
	s.mu.Unlock()
	s.mergeAll()
}

// TestScopesAreKept checks what a merge leaves of two resources and their scopes.
func TestScopesAreKept(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	logs := manyScopes(10, 2)
	manyScopes(20, 1).ResourceLogs().MoveAndAppendTo(logs.ResourceLogs())
	s.Append(logs)
	s.Append(logs) // equal ones of another request
	closeSegment(s)
	f := found(t, s)
	raw, err := s.codec.unseal(nil, &f.header, f.bytes[frameHeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(raw)
	if err != nil {
		t.Fatal(err)
	}
	var shape []string
	for _, resource := range got.ResourceLogs().All() {
		big, _ := resource.Resource().Attributes().Get("big")
		shape = append(shape, fmt.Sprint(len(big.Str()), " ", resource.SchemaUrl()))
		for _, scope := range resource.ScopeLogs().All() {
			shape = append(shape, fmt.Sprint(scope.Scope().Name(), " ", scope.SchemaUrl(), " ", scope.LogRecords().Len()))
		}
	}
	want := []string{
		"10 https://example.org/resource", "scope0 https://example.org/scope 2", "scope1 https://example.org/scope 2",
		"20 https://example.org/resource", "scope0 https://example.org/scope 2",
	}
	if !slices.Equal(shape, want) {
		t.Errorf("the frame has %q, want %q", shape, want)
	}
}

// found returns the store's only frame.
func found(t *testing.T, s *Store) sealed {
	t.Helper()
	if len(s.segments) != 1 || len(s.segments[0].frames) != 1 {
		t.Fatalf("%d segments", len(s.segments))
	}
	f := &s.segments[0].frames[0]
	b, err := s.segments[0].read(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	return sealed{f.header, b}
}

// TestMergedFrameSize merges many resources of 100 KiB, then one of 900 KiB
// with many records: a frame is not much larger than denseRaw, and a big resource
// is not written again and again.
func TestMergedFrameSize(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	for i := range 75 {
		logs := manyScopes(100<<10, 1)
		logs.ResourceLogs().At(0).Resource().Attributes().PutStr("container.id", fmt.Sprint(i))
		s.Append(logs)
	}
	closeSegment(s)
	if sizes := rawOf(s); len(sizes) < 3 || slices.Max(sizes) > denseRaw {
		t.Errorf("merged frames of %d bytes, want them of %d at most", sizes, denseRaw)
	}
	if n := len(scanAll(t, s, Query{})); n != 75 {
		t.Errorf("%d of 75 events are left", n)
	}
	s, _ = open(t, quiet(t.TempDir()))
	for range 7 {
		s.Append(manyScopes(900<<10, 1000))
	}
	closeSegment(s)
	sum := 0
	for _, size := range rawOf(s) {
		sum += size
	}
	if n := len(scanAll(t, s, Query{})); n != 7000 || sum > 3<<20 {
		t.Errorf("%d of 7000 events are left, in %d bytes", n, sum)
	}
}

// far are times of clocks that are wrong.
func far() []time.Time {
	return []time.Time{
		time.Unix(1, 0), start.Add(-61 * time.Minute), start.Add(3 * time.Minute), start.AddDate(80, 0, 0), time.Unix(0, -1),
	}
}

// TestWrongClock: an event whose own time cannot be is found at its arrival, and
// keeps its own time.
func TestWrongClock(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, quiet(dir))
	for _, at := range far() {
		logs := one(at, "test.event", "c1", fmt.Sprint(at.UnixNano()))
		logs.MarkReadOnly()
		s.Append(logs)
		observed := one(time.Time{}, "test.event", "c1", fmt.Sprint(at.UnixNano()))
		eachRecord(observed, func(r plog.LogRecord) bool {
			r.SetObservedTimestamp(pcommon.NewTimestampFromTime(at))
			return true
		})
		s.Append(observed)
	}
	near := []time.Time{start.Add(-time.Hour), start.Add(2 * time.Minute)}
	for _, at := range near {
		s.Append(one(at, "test.event", "near", ""))
	}
	check := func(state string) {
		t.Helper()
		events := scanAll(t, s, Query{From: start, To: start, Containers: []string{"c1"}})
		if len(events) != 2*len(far()) {
			t.Errorf("%s: %d events at their arrival", state, len(events))
		}
		for _, e := range events {
			own := int64(e.Record.Timestamp())
			if !e.Time.Equal(start) || own != 0 && fmt.Sprint(own) != e.Body {
				t.Errorf("%s: event of %s at %v, own time %d", state, e.Body, e.Time, own)
			}
		}
		events = scanAll(t, s, Query{Containers: []string{"near"}})
		if len(events) != 2 || !events[0].Time.Equal(near[0]) || !events[1].Time.Equal(near[1]) {
			t.Errorf("%s: near events: %v", state, events)
		}
		if oldest := s.Stats().Oldest; state != "pending" && !oldest.Equal(near[0]) {
			t.Errorf("%s: the oldest event is of %v", state, oldest)
		}
	}
	check("pending")
	mustFlush(t, s)
	check("in an open segment")
	closeSegment(s)
	check("merged")
	s.Pin(start.AddDate(1, 0, 0), start.AddDate(2, 0, 0))
	s.Pin(time.Unix(0, 0), start.AddDate(-1, 0, 0))
	if s.mu.Lock(); s.isPinned(s.segments[0]) {
		t.Error("a pin of other times keeps the segment")
	}
	s.mu.Unlock()
	mustClose(t, s)
	s, found := open(t, quiet(dir))
	if !found.Last.Equal(near[1]) {
		t.Errorf("recovery says that events end at %v", found.Last)
	}
	check("reopened")
}

// TestWrongClockOfObserver: what the sender says about the time of arrival does not
// move a record that has a credible time.
func TestWrongClockOfObserver(t *testing.T) {
	s, _ := open(t, quiet(t.TempDir()))
	for _, observed := range far() {
		logs := one(start.Add(-time.Minute), "test.event", "c1", "")
		eachRecord(logs, func(r plog.LogRecord) bool {
			r.SetObservedTimestamp(pcommon.NewTimestampFromTime(observed))
			return true
		})
		s.Append(logs)
	}
	for _, e := range scanAll(t, s, Query{}) {
		if !e.Time.Equal(start.Add(-time.Minute)) {
			t.Errorf("an event of %v", e.Time)
		}
	}
}

// overlapping fills a folder with frames of a second, each with one event of the
// far past and one of the far future. This host's own clock was wrong for them.
func overlapping(t *testing.T, frames, perFrame int) *Store {
	t.Helper()
	now := start
	o := quiet(t.TempDir())
	o.MaxBytes = 64 << 20
	o.Now = func() time.Time { return now }
	s, _ := open(t, o)
	for i := range frames {
		for _, years := range []int{-50, 50} {
			now = start.AddDate(years, 0, 0).Add(time.Duration(i) * time.Second)
			s.Append(one(now, "test.far", "c1", "far"))
		}
		now = start.Add(time.Duration(i) * time.Second)
		logs := plog.NewLogs()
		for j := range perFrame {
			at := now.Add(time.Duration(j) * time.Microsecond)
			body := fmt.Sprintf("%d %d %s", i, j, strings.Repeat("x", 200))
			one(at, "test.event", "c1", body).ResourceLogs().MoveAndAppendTo(logs.ResourceLogs())
		}
		s.Append(logs)
		mustFlush(t, s)
	}
	return s
}

// TestScanMemory: with a far event in each frame nothing can be given before all
// frames were read. What waits meanwhile is bounded.
func TestScanMemory(t *testing.T) {
	const frames, perFrame = 200, 600 // 120,000: three times what may wait
	s := overlapping(t, frames, perFrame)
	for _, q := range []Query{{Limit: frames + 10}, {Limit: frames + 10, Newest: true}, {}} {
		before := liveBytes()
		given, waiting := 0, uint64(0)
		if err := s.Scan(t.Context(), q, func(Event) bool {
			if given == frames { // the first that is not far
				waiting = max(before, liveBytes()) - before
			}
			given++
			return true
		}); err != nil {
			t.Fatal(err)
		}
		want, most := q.Limit, uint64(5<<20)
		if q.Limit == 0 {
			// 40,000 at most; all of them would have 45 MB.
			want, most = frames*(perFrame+2), 20<<20
		}
		if given != want || waiting > most {
			t.Errorf("%+v: %d events of %d, %d bytes wait, want at most %d", q, given, want, waiting, most)
		}
		t.Logf("%+v: %d bytes", q, waiting)
	}
}

func liveBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
