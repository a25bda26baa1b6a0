package serve

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func scan(t testing.TB, source api.Events, q api.EventQuery) []api.Event {
	t.Helper()
	var all []api.Event
	require.NoError(t, source.Scan(t.Context(), q, func(e api.Event) bool { all = append(all, e); return true }))
	return all
}

func eventNames(list []api.Event) []string {
	out := []string{}
	for _, e := range list {
		out = append(out, e.Name)
	}
	return out
}

func TestEvents(t *testing.T) {
	r := newRig(t)
	story(r)
	for what, source := range map[string]EventSource{"store": r.events, "reader": cutEvents(t, r)} {
		f := func(q api.EventQuery, want ...string) {
			t.Helper()
			require.Equal(t, append([]string{}, want...), eventNames(scan(t, Events(source), q)), what)
		}
		f(api.EventQuery{Containers: []string{workerID}, Kinds: []string{"container.start", "container.stop"}},
			"container.start", "container.stop", "container.start")
		f(api.EventQuery{From: second(1), To: second(60), Newest: true}, "container.stop", "container.start")
		f(api.EventQuery{From: time.Unix(-1<<40, 0), To: second(0)}, "container.start")
		f(api.EventQuery{From: second(81), To: time.Unix(1<<40, 0)})
		f(api.EventQuery{Containers: []string{dbID}})

		first := scan(t, Events(source), api.EventQuery{To: second(0), Resource: true})[0]
		require.Equal(t, api.Event{
			T: api.At(second(0)), Name: "container.start", Container: workerID, Body: "container.start of worker",
			Attributes: map[string]any{"container.pid": int64(100)},
			Resource:   map[string]any{"container.id": workerID, "container.name": "worker", "docker.compose.project": "shop"},
		}, first, what)
		require.Nil(t, scan(t, Events(source), api.EventQuery{To: second(0)})[0].Resource)
		seen := 0
		require.NoError(t, Events(source).Scan(t.Context(), api.EventQuery{}, func(api.Event) bool { seen++; return false }))
		require.Equal(t, 1, seen)
	}
}

// cutEvents cuts all that the store has, as a capture does.
func cutEvents(t testing.TB, r *rig) *eventstore.Reader {
	t.Helper()
	dir := t.TempDir()
	_, err := r.events.Cut(t.Context(), eventstore.Window{From: t0.Add(-time.Hour), To: t0.Add(time.Hour)}, nil, dir)
	require.NoError(t, err)
	reader, found, err := eventstore.OpenDir(dir)
	require.NoError(t, err)
	require.Empty(t, found.Damaged)
	t.Cleanup(func() { require.NoError(t, reader.Close()) })
	return reader
}

func TestEventValues(t *testing.T) {
	r := newRig(t)
	r.tell("worker", workerID, "odd", func(l plog.LogRecord) {
		l.SetSeverityNumber(plog.SeverityNumberError2)
		require.NoError(t, l.Attributes().FromRaw(map[string]any{
			"text": "a", "true": true, "real": 1.5, "whole": 7, "id": int64(1)<<53 + 1, "small": -(int64(1)<<53 + 1), "most": int64(1) << 53,
			"bytes": []byte{1, 2, 255}, "list": []any{"a", 1, nil, map[string]any{"deep": []byte("x")}}, "none": nil,
		}))
	})
	r.tell("", "", "named", func(l plog.LogRecord) { l.SetSeverityText("Notice") })
	all := scan(t, Events(r.events), api.EventQuery{Containers: []string{workerID}})
	require.Equal(t, "ERROR", all[0].Severity)
	text, err := json.Marshal(all[0].Attributes)
	require.NoError(t, err)
	require.JSONEq(t, `{"text":"a","true":true,"real":1.5,"whole":7,"id":"9007199254740993","small":"-9007199254740993","most":9007199254740992,
		"bytes":"AQL/","list":["a",1,"",{"deep":"eA=="}]}`, string(text))
	all = scan(t, Events(r.events), api.EventQuery{Containers: []string{""}})
	require.Equal(t, "NOTICE", all[0].Severity)
	require.Empty(t, all[0].Container)
}

func TestSeverity(t *testing.T) {
	f := func(n plog.SeverityNumber, want string) {
		t.Helper()
		require.Equal(t, want, severity(&eventstore.Event{Severity: n, Record: plog.NewLogRecord()}), n)
	}
	f(plog.SeverityNumberUnspecified, "")
	f(plog.SeverityNumberTrace, "TRACE")
	f(plog.SeverityNumberDebug4, "DEBUG")
	f(plog.SeverityNumberInfo, "INFO")
	f(plog.SeverityNumberWarn3, "WARN")
	f(plog.SeverityNumberFatal4, "FATAL")
	f(25, "")
	f(-1, "")
}

func TestLiveBodiesAreShort(t *testing.T) {
	long := strings.Repeat("\u00e9", maxLiveBody)
	got := short(api.Event{Name: "x", Body: long})
	require.Less(t, len(got.Body), maxLiveBody+10)
	require.True(t, utf8.ValidString(got.Body))
	require.Equal(t, "whole", short(api.Event{Body: "whole"}).Body)
}

func TestFollow(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := newRig(t)
	feed := Events(r.events).Follow(4)
	for range 100 { // what comes by the thousand is not told
		r.tell("worker", workerID, "network.connection.closed")
	}
	r.tell("worker", workerID, "container.start", num("container.pid", 1))
	got := next(t, feed)
	require.Equal(t, "container.start", got.Name)
	require.Equal(t, map[string]any{"container.pid": int64(1)}, got.Attributes)
	require.Nil(t, got.Resource)
	require.Zero(t, feed.Missed())

	// Nobody reads: the writer goes on, and what has no place is counted.
	const told = 50
	for range told {
		r.tell("worker", workerID, "noise")
	}
	require.Equal(t, told+101, int(r.events.Stats().Taken))
	missed := feed.Missed()
	require.GreaterOrEqual(t, missed, uint64(told-2*4-1))
	for range told - int(missed) {
		require.Equal(t, "noise", next(t, feed).Name)
	}
	feed.Close()
	feed.Close()
	require.Zero(t, r.events.Stats().Feeds)
	for range 100 {
		feed = Events(r.events).Follow(1)
		feed.Close()
		select {
		case _, open := <-feed.Events:
			require.False(t, open)
		default:
			t.Fatal("Close has not waited for its goroutine")
		}
	}
}

// TestFollowClosed closes a feed whose goroutine has an event in its hand that
// nobody takes.
func TestFollowClosed(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := newRig(t)
	feed := Events(r.events).Follow(1)
	inARow := 0 // of events that were missed: the goroutine had time to take one, and has not
	eventually(t, func() bool {
		before := feed.Missed()
		r.tell("worker", workerID, "noise")
		inARow++
		if feed.Missed() == before {
			inARow = 0
		}
		return inARow == 5
	}, "all buffers are full")
	closed := make(chan struct{})
	go func() { defer close(closed); feed.Close() }()
	select {
	case <-closed:
	case <-time.After(within):
		t.Fatal("Close waits for a reader")
	}

	feed = Events(r.events).Follow(0)
	require.NoError(t, r.events.Close())
	_, open := <-feed.Events
	require.False(t, open, "the end of the store ends its feeds")
	feed.Close()
	err := Events(r.events).Scan(t.Context(), api.EventQuery{}, func(api.Event) bool { return true })
	require.True(t, errors.Is(err, eventstore.ErrClosed), "%v", err)
}

// TestFollowNothing follows a reader, which has no news.
func TestFollowNothing(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	feed := Events(cutEvents(t, newRig(t))).Follow(10)
	select {
	case e, ok := <-feed.Events:
		t.Fatalf("%v %v", e, ok)
	default:
	}
	require.Zero(t, feed.Missed())
	feed.Close()
	feed.Close()
}

func next(t testing.TB, feed api.Feed) api.Event {
	t.Helper()
	select {
	case e, ok := <-feed.Events:
		require.True(t, ok)
		return e
	case <-time.After(within):
		t.Fatal("no event")
		panic("unreachable")
	}
}

func TestMetadata(t *testing.T) {
	r := newRig(t)
	source := Metadata(r.metrics.Families)
	require.Empty(t, source.Metadata(""))
	r.measure("worker", workerID, 1)
	want := map[string][]api.MetricMetadata{"container_cpu_usage": {{Type: "gauge", Unit: "{cpu}", Help: "CPUs in use."}}}
	require.Equal(t, want, source.Metadata(""))
	require.Equal(t, want, source.Metadata("container_cpu_usage"))
	require.Empty(t, source.Metadata("other"))
}
