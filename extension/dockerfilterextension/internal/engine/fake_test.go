package engine_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// patience is for what takes milliseconds on a machine that others load.
const patience = 30 * time.Second

var errNotYet = errors.New("not yet")

// fake is an engine on a Unix socket that records what it is asked and answers
// as the test says.
type fake struct {
	t    testing.TB
	path string

	mu       sync.Mutex // guards what follows
	api      string
	asked    map[string]int // by "METHOD target"
	answers  map[string]http.HandlerFunc
	streams  map[chan string]struct{}
	server   *http.Server
	lastHead http.Header
}

// startFake serves on a socket until the end of the test.
func startFake(t testing.TB) *fake {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine") // t.TempDir may be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fake{
		t: t, path: filepath.Join(dir, "docker.sock"), api: "1.41",
		asked: map[string]int{}, answers: map[string]http.HandlerFunc{}, streams: map[chan string]struct{}{},
	}
	f.on("GET /_ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", f.version())
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "OK")
	})
	f.on("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, `{"Version":"20.10.24","MinAPIVersion":"1.12"}`)
	})
	f.on("GET /v1.41/events", f.serveEvents)
	f.start()
	t.Cleanup(f.stop)
	return f
}

func (f *fake) start() {
	listener, err := net.Listen("unix", f.path)
	require.NoError(f.t, err)
	server := &http.Server{Handler: http.HandlerFunc(f.serve), ErrorLog: quiet()}
	f.mu.Lock()
	f.server = server
	f.mu.Unlock()
	go func() { _ = server.Serve(listener) }()
}

// stop ends the listener and all connections, as the death of a process does.
func (f *fake) stop() { _ = f.server.Close() }

func (f *fake) on(request string, answer http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[request] = answer
}

// onRaw answers with these bytes and the end of the connection.
func (f *fake) onRaw(request, answer string) {
	f.on(request, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffer, err := w.(http.Hijacker).Hijack()
		if err != nil {
			f.t.Error(err)
			return
		}
		_, _ = buffer.WriteString(answer)
		_ = buffer.Flush()
		_ = conn.Close()
	})
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	key := r.Method + " " + r.RequestURI
	f.mu.Lock()
	f.asked[key]++
	f.lastHead = r.Header.Clone()
	answer := f.answers[key]
	f.mu.Unlock()
	if answer == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, `{"message":"page not found: %s"}`, r.URL.Path)
		return
	}
	answer(w, r)
}

// serveEvents sends what emit is given, until the client goes.
func (f *fake) serveEvents(w http.ResponseWriter, r *http.Request) {
	lines := make(chan string)
	f.mu.Lock()
	f.streams[lines] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.streams, lines)
	}()
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	for {
		select {
		case line := <-lines:
			if line == "" {
				return
			}
			_, _ = io.WriteString(w, line)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// emit sends a piece of the stream to all who listen; "" ends the stream.
func (f *fake) emit(piece string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for lines := range f.streams {
		lines <- piece
	}
}

func (f *fake) listeners() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.streams)
}

func (f *fake) count(request string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[request]
}

func (f *fake) version() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.api
}

func (f *fake) setVersion(api string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.api = api
}

// open makes a client for the fake that is closed at the end of the test.
func (f *fake) open(change func(*engine.Options)) *engine.Engine {
	f.t.Helper()
	return openEngine(f.t, f.path, change)
}

func openEngine(t testing.TB, socket string, change func(*engine.Options)) *engine.Engine {
	t.Helper()
	o := engine.Options{Upstream: "unix://" + socket}
	if change != nil {
		change(&o)
	}
	e, err := engine.New(o)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return e
}

func writeJSON(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, text)
}

func get(target string) engine.Request {
	return engine.Request{Op: "test", Method: http.MethodGet, Target: target}
}

// text reads a whole answer and closes it.
func text(response *engine.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	return string(body), errors.Join(err, response.Body.Close())
}

func waitFor(t testing.TB, condition func() bool) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if !condition() {
			return errNotYet
		}
		return nil
	})
}

// hexID makes a full id from a few digits.
func hexID(start string) string { return start + strings.Repeat("0", 64-len(start)) }

// quiet is for servers whose clients misbehave on purpose.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
