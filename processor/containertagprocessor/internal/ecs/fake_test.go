package ecs_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/ecs"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

// fake is an ECS agent or a task metadata endpoint: fixed answers by path, 404
// for all else.
type fake struct {
	url string

	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	asked   map[string][]time.Time
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{answers: make(map[string]http.HandlerFunc), asked: make(map[string][]time.Time)}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked[r.URL.Path] = append(f.asked[r.URL.Path], time.Now())
	answer := f.answers[r.URL.Path]
	f.mu.Unlock()
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	answer(w, r)
}

// set gives the path a fixed body.
func (f *fake) set(path, body string) {
	f.setFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
}

func (f *fake) setFunc(path string, answer http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[path] = answer
}

// times returns when the path was asked.
func (f *fake) times(path string) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time(nil), f.asked[path]...)
}

// agent is a fake with what the documentation shows of the introspection.
func agent(t *testing.T) *fake {
	t.Helper()
	f := newFake(t)
	f.set("/v1/metadata", fixture(t, "metadata.json"))
	f.set("/v1/tasks", fixture(t, "tasks.json"))
	return f
}

func fixture(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// run lets a source ask often.
func run(t *testing.T, o ecs.Options) (*ecs.Source, *sinktest.Recorder) {
	t.Helper()
	if o.Interval == 0 {
		o.Interval = 20 * time.Millisecond
	}
	if o.Gap == 0 {
		o.Gap = 10 * time.Millisecond
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	sink := new(sinktest.Recorder)
	source := ecs.New(o)
	sinktest.Run(t, source, sink)
	return source, sink
}

func verifyNoLeaks(t *testing.T) {
	t.Helper()
	testkit.VerifyNoLeaks(t)
}
