package api

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// message is a server-sent event.
type message struct{ name, data string }

// listener of one live view.
type viewer struct {
	t      testing.TB
	lines  *bufio.Scanner
	header http.Header
}

func (r *rig) watch() *viewer {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+"/api/live", nil)
	require.NoError(r.t, err)
	response, err := r.client.Do(request)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(r.t, http.StatusOK, response.StatusCode)
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	return &viewer{r.t, lines, response.Header}
}

// next returns the next message, or an empty one at the end.
func (v *viewer) next() message {
	v.t.Helper()
	var m message
	for v.lines.Scan() {
		line := v.lines.Text()
		switch {
		case line == "" && m.name != "":
			return m
		case strings.HasPrefix(line, "event: "):
			m.name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			m.data = line[len("data: "):]
		}
	}
	return message{}
}

// until returns the next message of the name.
func (v *viewer) until(name string) string {
	v.t.Helper()
	for {
		m := v.next()
		if m.name == name {
			return m.data
		}
		if m.name == "" {
			v.t.Fatalf("the end came before %s: %v", name, v.lines.Err())
		}
	}
}

func TestLive(t *testing.T) {
	events, entities, captures := &fakeEvents{}, newFakeEntities(), newFakeCaptures()
	r := newRig(t, func(o *Options) {
		o.Live, o.Events, o.Entities, o.Captures = newFakeLive(), events, entities, captures
		o.Limits.LiveEvery = 5 * time.Millisecond
	})
	v := r.watch()
	require.Equal(t, "text/event-stream", v.header.Get("Content-Type"))
	require.Equal(t, "no-store", v.header.Get("Cache-Control"))
	equal := func(want, got string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	equal(`{"t":1700000000,"step":1,"columns":[{"name":"cpu","unit":"{cpu}"},{"name":"memory","unit":"By"}],`+
		`"rows":[{"id":"a","v":[0.25,null],"h":[[0.5,0.25],[null,1073741800]]}]}`, v.until("hello"))
	equal(`{"t":1700000001,"rows":[{"id":"a","v":[0.25,null]}],"gone":["b"]}`, v.until("rows"))
	events.emit(Event{T: At(t0), Name: "container.stop"}, 3)
	equal(`{"events":[{"t":1700000000,"name":"container.stop","attributes":{}}],"missed":3}`, v.until("events"))
	events.emit(Event{T: At(t0), Name: "x", Container: "c"}, 0)
	equal(`{"events":[{"t":1700000000,"name":"x","container":"c","attributes":{}}],"missed":0}`, v.until("events"))
	entities.change()
	require.Contains(t, v.until("entities"), `{"entities":[{"id":"bare"`)
	captures.change()
	require.Contains(t, v.until("captures"), `{"captures":[{"id":"ready"`)
}

// TestLiveStops shows that nothing is computed without a client.
func TestLiveStops(t *testing.T) {
	events := &fakeEvents{}
	r := newRig(t, func(o *Options) {
		o.Live, o.Events = newFakeLive(), events
		o.Limits.LiveEvery = 5 * time.Millisecond
	})
	for range 2 { // and starts again
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/live", nil)
		require.NoError(t, err)
		response, err := r.client.Do(request)
		require.NoError(t, err)
		require.EqualValues(t, 1, r.server.Stats().Live.Clients)
		require.Equal(t, 1, events.open())
		cancel()
		_ = response.Body.Close()
		eventually(t, func() bool { return r.server.Stats().Live.Clients == 0 && events.open() == 0 }, "the client is gone")
	}
	require.Zero(t, r.server.Stats().Live.Dropped)
}

// TestLiveSlow has a client that never reads beside one that does.
func TestLiveSlow(t *testing.T) {
	live := newFakeLive()
	// Large messages, because the kernel takes megabytes for a reader that sleeps.
	live.rows = slices.Repeat([]LiveRow{{ID: strings.Repeat("x", 64), Values: []float32{1, 2}}}, 5000)
	r := newRig(t, func(o *Options) {
		o.Live = live
		o.Limits.LiveEvery = 10 * time.Millisecond
		o.Limits.Stall = time.Hour // it is not this that ends it
	})
	conn := dialRaw(t, r)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err := conn.Write([]byte("GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	require.NoError(t, err)
	eventually(t, func() bool { return r.server.Stats().Live.Clients == 1 }, "it is there")
	eventually(t, func() bool { return r.server.Stats().Live.Dropped == 1 }, "it is dropped")

	v := r.watch()
	v.until("hello")
	v.until("rows")
	require.EqualValues(t, 1, r.server.Stats().Live.Clients)
	// The write that hung has ended, though it had an hour.
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	require.NoError(t, r.server.Shutdown(ctx))
}

func TestLiveTooMany(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Live = newFakeLive()
		o.Limits.LiveClients = 1
	})
	r.watch().until("hello")
	got := r.get("/api/live")
	require.Equal(t, http.StatusServiceUnavailable, got.code)
	require.Equal(t, "unavailable", got.kind(t))
	require.EqualValues(t, 1, r.server.Stats().Live.Rejected)
}

// TestLiveShutdown ends views without waiting for their readers.
func TestLiveShutdown(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Live = newFakeLive() })
	v := r.watch()
	v.until("hello")
	require.NoError(t, r.server.Shutdown(t.Context()))
	require.Equal(t, message{}, v.next())
}

// TestLiveOutlivesStall shows that no deadline of other requests ends a view.
func TestLiveOutlivesStall(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Live = newFakeLive()
		o.Limits.LiveEvery, o.Limits.Stall = 200*time.Millisecond, time.Second
	})
	v := r.watch()
	v.until("hello")
	for range 10 {
		v.until("rows")
	}
}

func TestNoLive(t *testing.T) {
	r := newRig(t, nil)
	require.Equal(t, http.StatusNotFound, r.get("/api/live").code)
}
