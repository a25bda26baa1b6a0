package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"
)

// The fakes stand for stores that are other packages; what is tested is what the
// server makes of their answers.

type fakeLive struct {
	mu   sync.Mutex
	rows []LiveRow
	now  time.Time
}

func newFakeLive() *fakeLive {
	return &fakeLive{now: t0, rows: []LiveRow{{ID: "a", Values: []float32{0.25, float32(math.NaN())}}}}
}

// Columns are two.
func (f *fakeLive) Columns() ([]Column, time.Duration) {
	return []Column{{"cpu", "{cpu}"}, {"memory", "By"}}, time.Second
}

// Snapshot has a short history.
func (f *fakeLive) Snapshot() LiveView {
	f.mu.Lock()
	defer f.mu.Unlock()
	rows := slices.Clone(f.rows)
	for i := range rows {
		rows[i].History = [][]float32{{0.5, 0.25}, {float32(math.Inf(1)), 1 << 30}}
	}
	return LiveView{At: f.now, Rows: rows}
}

// Delta is a second later with each call.
func (f *fakeLive) Delta(since time.Time) LiveView {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !since.Equal(f.now) {
		panic(fmt.Sprintf("asked since %v, the last view was of %v", since, f.now))
	}
	f.now = f.now.Add(time.Second)
	return LiveView{At: f.now, Rows: f.rows, Gone: []string{"b"}}
}

type fakeEntities struct {
	mu      sync.Mutex
	list    []Entity
	version uint64
	filter  EntityFilter
}

func newFakeEntities() *fakeEntities {
	code := 137
	return &fakeEntities{list: []Entity{{
		ID: "4f0c", Name: "worker", Image: "shop/worker:1.4", Service: "worker", Project: "shop", State: StateBroken,
		Start: At(t0), Stop: At(t0.Add(1500 * time.Millisecond)), ExitCode: &code, OOMKilled: true,
		Degraded: &Degraded{Reason: "oom", Since: At(t0), Process: "worker", PID: 211}, Restarts: 2, Incarnation: 3,
		LastEvent: &LastEvent{At(t0), "container.oom_kill", "OOM"}, Tags: map[string]string{"host.name": "h"},
	}, {ID: "bare", State: StateRunning}}}
}

// List remembers the filter.
func (f *fakeEntities) List(filter EntityFilter) ([]Entity, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filter = filter
	return f.list[:min(len(f.list), filter.Limit)], len(f.list) > filter.Limit
}

// Get finds by id.
func (f *fakeEntities) Get(id string) (EntityDetail, bool) {
	i := slices.IndexFunc(f.list, func(e Entity) bool { return e.ID == id })
	if i < 0 {
		return EntityDetail{}, false
	}
	return EntityDetail{Entity: f.list[i]}, true
}

func (f *fakeEntities) change() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
}

// Changed has one container in each version.
func (f *fakeEntities) Changed(after uint64) ([]Entity, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after >= f.version {
		return nil, f.version
	}
	return f.list[1:], f.version
}

type fakeEvents struct {
	mu     sync.Mutex
	list   []Event
	err    error
	query  EventQuery
	feeds  int
	feed   chan Event
	missed uint64
}

// Scan yields the list.
func (f *fakeEvents) Scan(_ context.Context, q EventQuery, each func(Event) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.query = q
	for _, e := range f.list {
		if !each(e) {
			return nil
		}
	}
	return f.err
}

// Follow makes a channel that the test writes to.
func (f *fakeEvents) Follow(buffer int) Feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.feeds++
	f.feed = make(chan Event, buffer)
	return Feed{
		Events: f.feed,
		Missed: func() uint64 { f.mu.Lock(); defer f.mu.Unlock(); return f.missed },
		Close:  func() { f.mu.Lock(); defer f.mu.Unlock(); f.feeds-- },
	}
}

func (f *fakeEvents) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.feeds
}

func (f *fakeEvents) emit(e Event, missed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.missed += missed
	f.feed <- e
}

type fakeCaptures struct {
	mu       sync.Mutex
	list     []Capture
	requests []CaptureRequest
	changes  []string
	bundle   []byte
	version  uint64
	startErr error
}

func newFakeCaptures() *fakeCaptures {
	return &fakeCaptures{
		list:   []Capture{{ID: "ready", State: CaptureReady, Created: At(t0)}, {ID: "young", State: CaptureRecording}},
		bundle: bytes.Repeat([]byte("0123456789"), 1000),
	}
}

func (f *fakeCaptures) started() []CaptureRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

func (f *fakeCaptures) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.changes)
}

func (f *fakeCaptures) change() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
}

// List returns all.
func (f *fakeCaptures) List() []Capture {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// Get finds by id.
func (f *fakeCaptures) Get(id string) (Capture, bool) {
	for _, c := range f.List() {
		if c.ID == id {
			return c, true
		}
	}
	return Capture{}, false
}

// Start remembers the request.
func (f *fakeCaptures) Start(_ context.Context, r CaptureRequest) (Capture, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r)
	f.changes = append(f.changes, "start")
	return Capture{ID: "new", State: CaptureRecording, Reason: r.Reason}, f.startErr
}

type nopCloser struct{ io.ReadSeeker }

// Close does nothing.
func (nopCloser) Close() error { return nil }

// Open knows the one that is ready.
func (f *fakeCaptures) Open(id string) (Bundle, error) {
	switch id {
	case "ready":
		return Bundle{ReadSeekCloser: nopCloser{bytes.NewReader(f.bundle)}, Tag: "abc", ModTime: t0}, nil
	case "young":
		return Bundle{}, fmt.Errorf("open %s: it is not cut yet: %w", id, ErrConflict)
	case "broken":
		return Bundle{}, errors.New("read the disk")
	}
	return Bundle{}, fmt.Errorf("open %s: %w", id, ErrNotFound)
}

// Delete refuses the one that is pinned.
func (f *fakeCaptures) Delete(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = append(f.changes, "delete "+id)
	if id == "pinned" {
		return fmt.Errorf("delete %s: it is pinned: %w", id, ErrConflict)
	}
	return nil
}

// Pin remembers.
func (f *fakeCaptures) Pin(id string, pinned bool) (Capture, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = append(f.changes, fmt.Sprintf("pin %s %t", id, pinned))
	return Capture{ID: id, Pinned: pinned}, nil
}

// Version counts changes.
func (f *fakeCaptures) Version() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version
}

type fakeAgent struct{}

// Status is that of a small host.
func (fakeAgent) Status() Status {
	return Status{Host: "h", Version: "0.4.0", Oldest: At(t0), Health: HealthWarn, Messages: []string{"m"}}
}

// Agent has one counter.
func (fakeAgent) Agent() AgentStats {
	return AgentStats{Version: "0.4.0", Metrics: MetricStats{Series: 12, Dropped: Counts{"series_limit": 1}}}
}
