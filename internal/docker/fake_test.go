package docker

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fake is an engine on a Unix socket, with a memory of its own for containers
// and events.
type fake struct {
	t    testing.TB
	path string

	mu         sync.Mutex                  // guards what follows
	containers map[string]string           // inspect answers by id
	memory     []fakeEvent                 // what since brings back
	streams    map[chan string]struct{}    // open ones
	special    map[string]http.HandlerFunc // by path without version; before all else
	asked      map[string]int              // by path without version
	queries    []string                    // of /events
	server     *http.Server
}

type fakeEvent struct {
	nano int64
	line string
}

func newFake(t testing.TB) *fake {
	t.Helper()
	dir, err := os.MkdirTemp("", "docker") // t.TempDir may be too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fake{
		t: t, path: filepath.Join(dir, "docker.sock"), containers: map[string]string{},
		streams: map[chan string]struct{}{}, special: map[string]http.HandlerFunc{}, asked: map[string]int{},
	}
	t.Cleanup(f.stop)
	return f
}

func (f *fake) endpoint() string { return "unix://" + f.path }

func (f *fake) start() {
	f.t.Helper()
	listener, err := net.Listen("unix", f.path)
	require.NoError(f.t, err)
	server := &http.Server{Handler: http.HandlerFunc(f.serve), ErrorLog: log.New(io.Discard, "", 0)}
	f.mu.Lock()
	f.server = server
	f.mu.Unlock()
	go func() { _ = server.Serve(listener) }()
}

// stop is the death of the process: its socket is gone, connections are cut.
func (f *fake) stop() {
	f.mu.Lock()
	server := f.server
	f.mu.Unlock()
	if server != nil {
		_ = server.Close()
	}
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/v1.41/"); ok {
		path = "/" + rest
	}
	f.mu.Lock()
	f.asked[path]++
	special := f.special[path]
	f.mu.Unlock()
	id := strings.TrimSuffix(strings.TrimPrefix(path, "/containers/"), "/json")
	switch {
	case special != nil:
		special(w, r)
	case path == "/_ping":
		w.Header().Set("Api-Version", "1.41")
		_, _ = io.WriteString(w, "OK")
	case path == "/version":
		_, _ = io.WriteString(w, `{"Version":"20.10.24","ApiVersion":"1.41","Components":[{"Name":"Engine"}]}`)
	case path == "/events":
		f.serveEvents(w, r)
	case path == "/containers/json":
		_, _ = io.WriteString(w, f.list())
	case f.get(id) != "":
		_, _ = io.WriteString(w, f.get(id))
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"no such container"}`)
	}
}

func (f *fake) list() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var entries []string
	for id := range f.containers {
		entries = append(entries, fmt.Sprintf(`{"Id":%q,"Names":["/other/alias","/brief"],"Image":"img","Labels":{"l":"v"}}`, id))
	}
	return "[" + strings.Join(entries, ",") + "]"
}

func (f *fake) serveEvents(w http.ResponseWriter, r *http.Request) {
	stream := make(chan string, 10*maxQueue)
	since, until := r.URL.Query().Get("since"), r.URL.Query().Get("until")
	f.mu.Lock()
	f.queries = append(f.queries, r.URL.RawQuery)
	if since != "" {
		from := nanoOf(f.t, since)
		for _, e := range f.memory {
			if e.nano >= from {
				stream <- e.line
			}
		}
	}
	if until == "" {
		f.streams[stream] = struct{}{}
	} else {
		close(stream)
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.streams, stream)
	}()
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case line, ok := <-stream:
			if !ok {
				return
			}
			_, _ = io.WriteString(w, line+"\n")
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func nanoOf(t testing.TB, text string) int64 {
	seconds, fraction, ok := strings.Cut(text, ".")
	require.True(t, ok && len(fraction) == 9, text)
	s, err := strconv.ParseInt(seconds, 10, 64)
	require.NoError(t, err)
	n, err := strconv.ParseInt(fraction, 10, 64)
	require.NoError(t, err)
	return s*int64(time.Second) + n
}

// tell is an event that the engine remembers; whoever listens gets it.
func (f *fake) tell(at time.Time, line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.memory = append(f.memory, fakeEvent{at.UnixNano(), line})
	for stream := range f.streams {
		stream <- line
	}
}

// event is a container event as dockerd 20.10 writes it.
func (f *fake) event(at time.Time, action, id string, attributes string) {
	f.tell(at, fmt.Sprintf(
		`{"status":%[1]q,"id":%[2]q,"from":"img","Type":"container","Action":%[1]q,`+
			`"Actor":{"ID":%[2]q,"Attributes":{"image":"img","name":"n"%[3]s}},"scope":"local","time":%[4]d,"timeNano":%[5]d}`,
		action, id, attributes, at.Unix(), at.UnixNano()))
}

// forget is what a restart does to the engine's memory.
func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.memory = nil
}

func (f *fake) set(id, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if body == "" {
		delete(f.containers, id)
		return
	}
	f.containers[id] = body
}

func (f *fake) get(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.containers[id]
}

func (f *fake) on(path string, answer http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if answer == nil {
		delete(f.special, path)
		return
	}
	f.special[path] = answer
}

func (f *fake) times(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[path]
}

// id makes a full id of a few digits.
func id(digits string) string { return strings.Repeat("0", idDigits-len(digits)) + digits }

// fakeState is what differs between the containers of a fake engine.
type fakeState struct {
	name, status      string
	started, finished time.Time
}

// inspectOf is the answer for a container in some state.
func inspectOf(id string, s fakeState) string {
	return fmt.Sprintf(`{"Id":%q,"Created":"2026-01-01T00:00:00Z","Path":"/bin/app","Args":["-x"],"Name":"/%s","Image":"sha256:1",
		"State":{"Status":%q,"ExitCode":7,"StartedAt":%q,"FinishedAt":%q},
		"Config":{"Image":"img","Env":["A=1","B=***"],"Labels":{"l":"v"}},"HostConfig":{"NetworkMode":"bridge"},
		"NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}`,
		id, s.name, s.status, s.started.Format(time.RFC3339Nano), s.finished.Format(time.RFC3339Nano))
}
