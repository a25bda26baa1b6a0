package engine_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const jsonHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

// Nothing but a complete answer of the expected kind gets through, by either
// door, and the next request is not disturbed.
func TestRefusedAnswers(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	f.on("GET /good", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, `{"a":1}`) })
	refused := func(name, answer string, want error) {
		t.Helper()
		f.onRaw("GET /bad", answer)
		for _, ask := range []func(context.Context, engine.Request) (*engine.Response, error){e.Do, e.Shared} {
			body, err := text(ask(t.Context(), get("/bad")))
			require.ErrorIs(t, err, want, "%s: %q", name, body)
		}
		body, err := text(e.Do(t.Context(), get("/good")))
		require.NoError(t, err, name)
		require.Equal(t, `{"a":1}`, body)
	}
	refused("protocol switch", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", engine.ErrUnexpected)
	refused("upgrade offered", jsonHead+"Upgrade: h2c\r\nContent-Length: 2\r\n\r\n{}", engine.ErrUnexpected)
	refused("gzip", jsonHead+"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", engine.ErrUnexpected)
	refused("identity is an encoding too", jsonHead+"Content-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", engine.ErrUnexpected)
	refused("html", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", engine.ErrUnexpected)
	refused("no type", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", engine.ErrUnexpected)
	refused("two types", jsonHead+"Content-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", engine.ErrUnexpected)
	refused("no length", jsonHead+"Connection: close\r\n\r\n{}", engine.ErrUnexpected)
	refused("redirect", "HTTP/1.1 301 Moved Permanently\r\nLocation: /good\r\nContent-Length: 0\r\n\r\n", engine.ErrUnexpected)
	refused("created", "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", engine.ErrUnexpected)
	refused("no content", "HTTP/1.1 204 No Content\r\n\r\n", engine.ErrUnexpected)
	refused("html error", "HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", engine.ErrUnexpected)
	refused("error without message", "HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", engine.ErrUnexpected)
	refused("odd status", "HTTP/1.1 999 Oops\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"message\":\"x\"}", engine.ErrUnexpected)
	refused("nothing", "", engine.ErrUnavailable)
	refused("not HTTP", "SSH-2.0-OpenSSH\r\n", engine.ErrUnavailable)
	refused("long head", "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n", engine.ErrUnavailable)
	refused("cut in the head", "HTTP/1.1 200 OK\r\nContent-", engine.ErrUnavailable)
	refused("cut by length", jsonHead+"Content-Length: 100\r\n\r\n{\"a\":", engine.ErrUnavailable)
	refused("cut in a chunk", jsonHead+"Transfer-Encoding: chunked\r\n\r\n64\r\n{\"a\":", engine.ErrUnavailable)
	refused("cut between chunks", jsonHead+"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n", engine.ErrUnavailable)
	requests, streams := e.Busy()
	require.Zero(t, requests)
	require.Zero(t, streams)
}

// An engine's error is handed on with its status and message, each time anew.
func TestStatusError(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	for _, status := range []int{400, 404, 500, 503} {
		f.on("GET /bad", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"message":"no: `+http.StatusText(status)+`"}`)
		})
		before := f.count("GET /bad")
		for range 2 {
			_, err := text(e.Shared(t.Context(), get("/bad")))
			var said *engine.StatusError
			require.ErrorAs(t, err, &said)
			require.Equal(t, engine.StatusError{Status: status, Message: "no: " + http.StatusText(status)}, *said)
			require.Equal(t, status == 404, engine.NotFound(err))
		}
		require.Equal(t, before+2, f.count("GET /bad"), "an error was kept")
	}
}

// An engine that takes the request and is silent, before or in the body.
func TestHangingEngine(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(func(o *engine.Options) { o.Timeout = 50 * time.Millisecond })
	patient := f.open(func(*engine.Options) {}) // for what answers
	f.on("GET /head", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f.on("GET /body", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, `{"a":`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	for _, target := range []string{"/head", "/body"} {
		_, err := text(e.Do(t.Context(), get(target)))
		require.ErrorIs(t, err, engine.ErrUnavailable, target)
		_, err = text(e.Shared(t.Context(), get(target)))
		require.ErrorIs(t, err, engine.ErrUnavailable, target)
	}
	_, err := patient.API(t.Context())
	require.NoError(t, err)

	// The client that goes away is told so, not that the engine is away.
	ctx, cancel := context.WithCancel(t.Context())
	f.on("GET /leave", func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err = patient.Do(ctx, get("/leave"))
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, engine.ErrUnavailable)
}

// A stream outlives the time-out of an answer, and ends when its reader goes.
func TestStreamLasts(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(func(o *engine.Options) { o.Timeout, o.Streams, o.Concurrency = 300*time.Millisecond, 1, 1 })
	gone := make(chan struct{})
	proceed := make(chan struct{})
	f.on("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-proceed
		_, _ = io.WriteString(w, "{}\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	f.on("GET /slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	r := get("/stream")
	r.Stream, r.Content = true, engine.JSONStream
	stream, err := e.Do(t.Context(), r)
	require.NoError(t, err)
	_, err = e.Do(t.Context(), r)
	require.ErrorIs(t, err, engine.ErrBusy, "one stream is allowed")
	// This one's time-out, as long as the stream's, passes first.
	_, err = e.Do(t.Context(), get("/slow"))
	require.ErrorIs(t, err, engine.ErrUnavailable)
	close(proceed)
	line := make([]byte, 3)
	_, err = io.ReadFull(stream.Body, line)
	require.NoError(t, err)
	require.NoError(t, stream.Body.Close())
	<-gone
	_, streams := e.Busy()
	require.Zero(t, streams)
}

// What is beyond the queue is refused with a hint, what is in it is answered.
func TestQueueIsBounded(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(func(o *engine.Options) { o.Concurrency, o.Queue = 2, 3 })
	proceed := make(chan struct{})
	f.on("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		<-proceed
		writeJSON(w, `{}`)
	})
	results := make(chan error)
	for range 5 {
		go func() {
			_, err := text(e.Do(t.Context(), get("/slow")))
			results <- err
		}()
	}
	waitFor(t, func() bool { return e.Waiting() == 3 && f.count("GET /slow") == 2 })
	_, err := e.Do(t.Context(), get("/slow"))
	var busy *engine.BusyError
	require.ErrorAs(t, err, &busy)
	require.Equal(t, time.Second, busy.RetryAfter)
	require.ErrorIs(t, err, engine.ErrBusy)
	require.Equal(t, uint64(1), e.Stats().Busy)
	close(proceed)
	for range 5 {
		require.NoError(t, <-results)
	}
	require.Equal(t, 5, f.count("GET /slow"))
}

// Requests that are none of ours do not leave.
func TestRefusedRequests(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	for _, r := range []engine.Request{
		{Method: "POST", Target: "/x"}, {Method: "get", Target: "/x"}, {Method: "GET", Target: "x"},
		{Method: "GET", Target: "//x"}, {Method: "GET", Target: "/x y"}, {Method: "GET", Target: "/x\r\nA: b"},
		{Method: "GET", Target: "/x#y"}, {Method: "GET", Target: "/\\x"}, {Method: "GET", Target: "/ä"},
		{Method: "GET", Target: "/x?"}, {Method: "GET", Target: "/x", UserAgent: "a\r\nb: c"}, {Method: "GET"},
	} {
		_, err := e.Do(t.Context(), r)
		require.ErrorIs(t, err, engine.ErrRequest, "%+v", r)
	}
	_, err := e.Shared(t.Context(), engine.Request{Method: "GET", Target: "/x", Stream: true})
	require.ErrorIs(t, err, engine.ErrRequest)
	require.Zero(t, f.count("GET /x"))
}

// What goes out is the request line as built and two headers.
func TestRequestIsCanonical(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	const target = "/v1.41/networks/a%20b%25?filters=%7B%22id%22%3A%5B%22x%22%5D%7D&all=1"
	f.on("GET "+target, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "docker" || r.ProtoMajor != 1 {
			t.Errorf("host %q, %s", r.Host, r.Proto)
		}
		writeJSON(w, `[]`)
	})
	e := f.open(nil)
	r := get(target)
	r.UserAgent = "Docker-Client/28.0 (linux)"
	_, err := text(e.Do(t.Context(), r))
	require.NoError(t, err)
	require.Equal(t, http.Header{"User-Agent": {r.UserAgent}}, f.lastHead)
}

// Observe sees what went out, once each.
func TestObserve(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	var mu sync.Mutex
	seen := map[string][]error{}
	f := startFake(t)
	e := f.open(func(o *engine.Options) {
		o.Observe = func(op string, d time.Duration, err error) {
			mu.Lock()
			defer mu.Unlock()
			if d <= 0 {
				t.Errorf("%s took %v", op, d)
			}
			seen[op] = append(seen[op], err)
		}
	})
	_, err := e.API(t.Context())
	require.NoError(t, err)
	_, err = e.Do(t.Context(), engine.Request{Op: "info", Method: "GET", Target: "/nosuch"})
	require.Error(t, err)
	require.Equal(t, []error{nil}, seen["ping"])
	require.Equal(t, []error{nil}, seen["version"])
	require.Equal(t, []error{err}, seen["info"])
}

// After Close nothing is asked, and nothing that was open goes on.
func TestClose(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	f.on("GET /body", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte(" "), 10))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	stream, err := e.Do(t.Context(), engine.Request{Method: "GET", Target: "/body", Content: engine.Raw, Stream: true})
	require.NoError(t, err)
	sub, err := e.Subscribe(t.Context())
	require.NoError(t, err)
	release := e.Catalog().Hold()
	e.Close()
	_, err = io.ReadAll(stream.Body)
	require.ErrorIs(t, err, engine.ErrClosed)
	require.NoError(t, stream.Body.Close())
	_, err = sub.Next(t.Context())
	require.ErrorIs(t, err, engine.ErrClosed)
	sub.Close()
	sub.Close()
	release()
	release()
	for _, ask := range []func() error{
		func() error { _, err := e.Do(t.Context(), get("/x")); return err },
		func() error { _, err := e.Shared(t.Context(), get("/x")); return err },
		func() error { _, err := e.Subscribe(t.Context()); return err },
		func() error { _, err := e.API(t.Context()); return err },
		func() error { _, err := e.Catalog().All(t.Context()); return err },
	} {
		require.ErrorIs(t, ask(), engine.ErrClosed)
	}
	e.Catalog().Hold()()
	e.Close()
}

// Without an engine every door says so.
func TestNoEngine(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	f.stop()
	e := f.open(nil)
	_, err := e.Do(t.Context(), get("/x"))
	require.ErrorIs(t, err, engine.ErrUnavailable)
	_, err = e.Shared(t.Context(), get("/x"))
	require.ErrorIs(t, err, engine.ErrUnavailable)
	_, err = e.API(t.Context())
	require.ErrorIs(t, err, engine.ErrUnavailable)
	_, err = e.Subscribe(t.Context())
	require.ErrorIs(t, err, engine.ErrUnavailable)
	_, err = e.Catalog().Resolve(t.Context(), "web", nil)
	require.ErrorIs(t, err, engine.ErrUnavailable)
	defer e.Catalog().Hold()()
	_, err = e.Catalog().Get(t.Context(), hexID("a"))
	require.ErrorIs(t, err, engine.ErrUnavailable)
}
