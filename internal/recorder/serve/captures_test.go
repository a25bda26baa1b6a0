package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
	"github.com/tallymanhq/tallyman/internal/recorder/evidence"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// captureRig is an engine with its folder. It has no stores: captures are small.
type captureRig struct {
	dir    string
	engine *capture.Engine
	source api.Captures
	done   chan capture.Capture
}

func newCaptureRig(t testing.TB, keep ...capture.Keep) *captureRig {
	t.Helper()
	r := &captureRig{dir: t.TempDir(), done: make(chan capture.Capture, 100)}
	options := capture.Options{
		Dir: r.dir, Host: bundle.Host{Name: "host-7"}, Camera: state.NewCamera(state.Options{Roots: hostfs.NewRoots("/")}),
		Done: func(c capture.Capture) { r.done <- c },
	}
	if len(keep) > 0 {
		options.Keep = keep[0]
	}
	var err error
	r.engine, _, err = capture.Open(options)
	require.NoError(t, err)
	r.engine.Start()
	t.Cleanup(r.engine.Close)
	r.source = Captures(r.engine)
	return r
}

// make makes a capture and waits for its file.
func (r *captureRig) make(t testing.TB, reason string) api.Capture {
	t.Helper()
	made, err := r.source.Start(t.Context(), api.CaptureRequest{Reason: reason, Scope: "default"})
	require.NoError(t, err)
	select {
	case c := <-r.done:
		require.Equal(t, made.ID, c.ID)
	case <-time.After(within):
		t.Fatal("no capture")
	}
	eventually(t, func() bool { c, ok := r.source.Get(made.ID); return ok && c.State == api.CaptureReady }, "it is ready")
	return made
}

// age makes the last change of the folder one of long ago.
func (r *captureRig) age(t testing.TB) {
	t.Helper()
	old := time.Now().Add(-time.Minute)
	require.NoError(t, os.Chtimes(r.dir, old, old))
}

func captureIDs(list []api.Capture) []string {
	out := []string{}
	for _, c := range list {
		out = append(out, c.ID)
	}
	return out
}

func TestCaptures(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := newCaptureRig(t)
	require.Empty(t, r.source.List())
	version := r.source.Version()
	began := time.Now()
	first := r.make(t, "slow checkout")
	require.Contains(t, []string{api.CaptureRecording, api.CaptureCutting, api.CaptureReady}, first.State)
	require.Greater(t, r.source.Version(), version)
	second := r.make(t, "slower")
	require.Equal(t, []string{second.ID, first.ID}, captureIDs(r.source.List()), "the newest first")

	got, ok := r.source.Get(first.ID)
	require.True(t, ok)
	require.Equal(t, "manual", got.Reason)
	require.Contains(t, got.Verdict, "slow checkout")
	require.Positive(t, got.Bytes)
	require.False(t, got.Pinned)
	require.Empty(t, got.Error)
	require.WithinRange(t, got.Created.Time, began.Add(-time.Second), time.Now())
	require.Equal(t, 10*time.Minute, got.To.Sub(got.From.Time))
	require.Len(t, got.Triggers, 1)
	require.Equal(t, "manual", got.Triggers[0].Kind)
	require.Equal(t, "slow checkout", got.Triggers[0].Text)
	_, ok = r.source.Get("no")
	require.False(t, ok)
}

func TestCaptureFile(t *testing.T) {
	r := newCaptureRig(t)
	made := r.make(t, "why")
	file, err := r.source.Open(made.ID)
	require.NoError(t, err)
	content, err := io.ReadAll(file)
	require.NoError(t, errors.Join(err, file.Close()))
	want, err := os.ReadFile(filepath.Join(r.dir, made.ID+bundle.Suffix))
	require.NoError(t, err)
	require.Equal(t, want, content)
	require.Regexp(t, `^[a-z0-9-]{1,128}$`, file.Tag)
	again, err := r.source.Open(made.ID)
	require.NoError(t, errors.Join(err, again.Close()))
	require.Equal(t, file.Tag, again.Tag)
	other := r.make(t, "another")
	again, err = r.source.Open(other.ID)
	require.NoError(t, errors.Join(err, again.Close()))
	require.NotEqual(t, file.Tag, again.Tag)
	_, err = r.source.Open("no")
	require.ErrorIs(t, err, api.ErrNotFound)
	_, err = r.source.Open("../" + made.ID)
	require.ErrorIs(t, err, api.ErrNotFound)
}

func TestPinAndDelete(t *testing.T) {
	r := newCaptureRig(t)
	made := r.make(t, "why")
	version := r.source.Version()
	pinned, err := r.source.Pin(made.ID, true)
	require.NoError(t, err)
	require.True(t, pinned.Pinned)
	require.True(t, r.source.List()[0].Pinned)
	require.Greater(t, r.source.Version(), version)
	require.ErrorIs(t, r.source.Delete(made.ID), api.ErrConflict)
	pinned, err = r.source.Pin(made.ID, false)
	require.NoError(t, err)
	require.False(t, pinned.Pinned)
	version = r.source.Version()
	require.NoError(t, r.source.Delete(made.ID))
	require.Empty(t, r.source.List())
	require.Greater(t, r.source.Version(), version)
	require.ErrorIs(t, r.source.Delete(made.ID), api.ErrNotFound)
	_, err = r.source.Pin(made.ID, true)
	require.ErrorIs(t, err, api.ErrNotFound)
}

// Pinned captures leave room for a new one: a client is told what to do otherwise.
func TestPinWithoutRoom(t *testing.T) {
	r := newCaptureRig(t, capture.Keep{Newest: 2})
	one, two := r.make(t, "one"), r.make(t, "two")
	_, err := r.source.Pin(one.ID, true)
	require.NoError(t, err)
	_, err = r.source.Pin(two.ID, true)
	require.ErrorIs(t, err, api.ErrFull)
	require.EqualError(t, err, "pin capture: no room for another pinned one: 1 are pinned, and 2 may be there in all")
	got, _ := r.source.Get(two.ID)
	require.False(t, got.Pinned)
}

// TestCaptureRecording looks at a capture whose window is still open.
func TestCaptureRecording(t *testing.T) {
	r := newCaptureRig(t)
	logs, record := logOf("worker", workerID, "container.oom_kill", time.Now())
	record.Attributes().PutStr("process.executable.name", "python")
	r.engine.ObserveEvents(logs)
	eventually(t, func() bool { return len(r.source.List()) == 1 }, "it is recorded")
	version := r.source.Version()
	got := r.source.List()[0]
	require.Equal(t, api.CaptureRecording, got.State)
	require.Equal(t, "oom", got.Reason)
	require.Equal(t, []string{workerID}, got.Containers)
	require.Equal(t, "worker", got.Triggers[0].Name)
	require.Equal(t, 12*time.Minute, got.To.Sub(got.From.Time))
	_, err := r.source.Open(got.ID)
	require.ErrorIs(t, err, api.ErrConflict)
	require.ErrorIs(t, r.source.Delete(got.ID), api.ErrConflict)
	_, err = r.source.Pin(got.ID, true)
	require.ErrorIs(t, err, api.ErrConflict)

	logs, _ = logOf("worker", workerID, "container.degraded", time.Now())
	r.engine.ObserveEvents(logs)
	eventually(t, func() bool { return r.source.Version() > version }, "another trigger is another list")
	require.Len(t, r.source.List()[0].Triggers, 2)
}

func TestCaptureStart(t *testing.T) {
	r := newCaptureRig(t)
	ask := func(c api.CaptureRequest) (time.Duration, error) {
		t.Helper()
		made, err := r.source.Start(t.Context(), c)
		return made.To.Sub(made.From.Time).Round(10 * time.Second), err
	}
	f := func(want time.Duration, c api.CaptureRequest) {
		t.Helper()
		got, err := ask(c)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	f(10*time.Minute, api.CaptureRequest{})
	f(5*time.Minute, api.CaptureRequest{From: ago(5 * time.Minute), To: now})
	f(5*time.Minute, api.CaptureRequest{From: ago(20 * time.Minute), To: ago(15 * time.Minute)})
	f(10*time.Minute, api.CaptureRequest{To: ago(15 * time.Minute)})
	f(30*time.Minute, api.CaptureRequest{From: ago(30 * time.Minute)})
	f(30*time.Minute, api.CaptureRequest{From: ago(30*time.Minute + 30*time.Second)})
	f(10*time.Minute, api.CaptureRequest{From: ago(5 * time.Hour), To: ago(5*time.Hour - 10*time.Minute)})
	for _, wrong := range []api.CaptureRequest{
		{From: ago(32 * time.Minute)}, {From: ago(5 * time.Hour), To: ago(4 * time.Hour)}, {From: ago(-time.Minute)}, {To: ago(-2 * time.Minute)},
	} {
		_, err := ask(wrong)
		require.ErrorIs(t, err, api.ErrInvalid, "%v", wrong)
	}
	made, err := r.source.Start(t.Context(), api.CaptureRequest{Containers: []string{workerID, apiID}})
	require.NoError(t, err)
	require.Equal(t, workerID, made.Triggers[0].Container)
	eventually(t, func() bool { c, _ := r.source.Get(made.ID); return c.State == api.CaptureReady }, "it is ready")
	got, _ := r.source.Get(made.ID)
	require.Equal(t, []string{apiID, workerID}, got.Containers)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.source.Start(ctx, api.CaptureRequest{}); err != nil { // it may have been quicker
		require.ErrorIs(t, err, context.Canceled)
	}
	r.engine.Close()
	_, err = r.source.Start(t.Context(), api.CaptureRequest{})
	require.ErrorIs(t, err, api.ErrBusy)
}

// TestCaptureOfAName asks by what people call a container.
func TestCaptureOfAName(t *testing.T) {
	stores := newRig(t)
	stores.measure("worker", workerID, 1)
	r := &captureRig{dir: t.TempDir(), done: make(chan capture.Capture, 10)}
	var err error
	r.engine, _, err = capture.Open(capture.Options{
		Dir: r.dir, Camera: state.NewCamera(state.Options{Roots: hostfs.NewRoots("/")}),
		Entities: evidence.Entities(stores.table, nil, nil, nil),
	})
	require.NoError(t, err)
	r.engine.Start()
	t.Cleanup(r.engine.Close)
	r.source = Captures(r.engine)
	for _, text := range []string{"worker", workerID[:12], workerID} {
		made, err := r.source.Start(t.Context(), api.CaptureRequest{Containers: []string{text}})
		require.NoError(t, err, text)
		require.Equal(t, workerID, made.Triggers[0].Container, text)
		require.Equal(t, "worker", made.Triggers[0].Name, text)
	}
	_, err = r.source.Start(t.Context(), api.CaptureRequest{Containers: []string{"nobody"}})
	require.ErrorIs(t, err, api.ErrNotFound)
	require.ErrorContains(t, err, `no such container: "nobody" is no name, no id and no beginning of an id`)
	stores.measure("other", workerID[:12]+strings.Repeat("0", 52), 1)
	_, err = r.source.Start(t.Context(), api.CaptureRequest{Containers: []string{workerID[:12]}})
	require.ErrorIs(t, err, api.ErrInvalid)
}

// TestCaptureReason: the gravest trigger is the reason, not the first.
func TestCaptureReason(t *testing.T) {
	r := newCaptureRig(t)
	logs, record := logOf("api", apiID, "container.die", time.Now())
	record.Attributes().PutInt("container.exit_code", 3)
	r.engine.ObserveEvents(logs)
	logs, _ = logOf("worker", workerID, "container.oom_kill", time.Now())
	r.engine.ObserveEvents(logs)
	eventually(t, func() bool { list := r.source.List(); return len(list) == 1 && len(list[0].Triggers) == 2 }, "it is one capture")
	got := r.source.List()[0]
	require.Equal(t, "oom", got.Reason)
	require.Contains(t, got.ID, "-exit-api")
	require.Regexp(t, "^OOM kill of a process in worker at .*; api ended with exit code 3 at ", got.Verdict)
}

// TestDeleteOfAFailedOne gives up a capture that cannot be written.
func TestDeleteOfAFailedOne(t *testing.T) {
	r := newCaptureRig(t)
	logs, _ := logOf("worker", workerID, "container.oom_kill", time.Now())
	r.engine.ObserveEvents(logs)
	eventually(t, func() bool { return len(r.source.List()) == 1 }, "it is recorded")
	id := r.source.List()[0].ID
	r.engine.Close()
	// Its window ended long ago, and a folder has the name of its file.
	journal := filepath.Join(r.dir, "open", id, "journal.jsonl")
	text, err := os.ReadFile(journal)
	require.NoError(t, err)
	due := regexp.MustCompile(`"due":"[^"]*"`).ReplaceAll(text, []byte(`"due":"`+time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)+`"`))
	require.NoError(t, os.WriteFile(journal, due, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(r.dir, id+bundle.Suffix), 0o700))
	engine, _, err := capture.Open(capture.Options{Dir: r.dir, Camera: state.NewCamera(state.Options{Roots: hostfs.NewRoots("/")})})
	require.NoError(t, err)
	engine.Start()
	t.Cleanup(engine.Close)
	source := Captures(engine)
	eventually(t, func() bool { c, _ := source.Get(id); return c.State == api.CaptureFailed }, "it could not be written")
	failed, _ := source.Get(id)
	require.NotEmpty(t, failed.Error)
	require.NotContains(t, failed.Error, r.dir)
	require.NoError(t, source.Delete(id))
	require.Empty(t, source.List())
	require.NoDirExists(t, filepath.Join(r.dir, "open", id))
	require.ErrorIs(t, source.Delete(id), api.ErrNotFound)
}

// TestCaptureErrors proves what errors mean to a client, who learns no folder.
func TestCaptureErrors(t *testing.T) {
	f := func(want, err error) {
		t.Helper()
		require.ErrorIs(t, captureError(fmt.Errorf("make capture: %w", err)), want)
	}
	f(api.ErrNotFound, capture.ErrNoCapture)
	f(api.ErrNotFound, capture.ErrUnknown)
	f(api.ErrInvalid, capture.ErrWindow)
	f(api.ErrInvalid, capture.ErrContainers)
	f(api.ErrInvalid, capture.ErrAmbiguous)
	f(api.ErrConflict, capture.ErrUnfinished)
	f(api.ErrBusy, capture.ErrBusy)
	f(api.ErrBusy, capture.ErrClosed)
	f(api.ErrFull, &fs.PathError{Op: "mkdir", Path: "/srv/x", Err: syscall.ENOSPC})
	f(api.ErrFull, syscall.EDQUOT)
	f(api.ErrFull, capture.ErrPins)
	f(context.Canceled, context.Canceled)
	require.EqualError(t, captureError(&fs.PathError{Op: "open", Path: "/srv/secret/x.tmcap", Err: syscall.EIO}), "open x.tmcap: input/output error")
	require.NoError(t, captureError(nil))
}

// TestCaptureVersion changes the folder behind the engine's back.
func TestCaptureVersion(t *testing.T) {
	r := newCaptureRig(t)
	made := r.make(t, "why")
	same := func() {
		t.Helper()
		version, list := r.source.Version(), r.source.List()
		require.Equal(t, version, r.source.Version())
		require.Equal(t, list, r.source.List())
	}
	changes := func(what string, f func() error) {
		t.Helper()
		same()
		version := r.source.Version()
		require.NoError(t, f())
		require.Greater(t, r.source.Version(), version, what)
		same()
	}
	path := func(name string) string { return filepath.Join(r.dir, name) }
	changes("a pin", func() error { return os.WriteFile(path(made.ID+".pin"), nil, 0o600) })
	changes("no pin", func() error { return os.Remove(path(made.ID + ".pin")) })
	whole, err := os.ReadFile(path(made.ID + bundle.Suffix))
	require.NoError(t, err)
	changes("half a file", func() error { return os.WriteFile(path("copy.tmcap"), whole[:100], 0o600) })
	half, ok := r.source.Get("copy")
	require.True(t, ok)
	require.Equal(t, api.CaptureFailed, half.State)
	require.NotEmpty(t, half.Error)
	require.Equal(t, int64(100), half.Bytes)
	changes("a whole one", func() error { return os.WriteFile(path("copy.tmcap"), whole, 0o600) })
	half, _ = r.source.Get("copy")
	require.Equal(t, api.CaptureReady, half.State)
	changes("none", func() error { return os.Remove(path("copy.tmcap")) })
	require.Equal(t, []string{made.ID}, captureIDs(r.source.List()))
}

// TestCaptureListIsKept proves that the folder is not read while nothing changes:
// a capture whose content is damaged without a trace stays as it was.
func TestCaptureListIsKept(t *testing.T) {
	r := newCaptureRig(t)
	made, other := r.make(t, "why"), r.make(t, "another")
	path := filepath.Join(r.dir, made.ID+bundle.Suffix)
	r.age(t)
	version := r.source.Version()
	require.NoError(t, os.Truncate(path, 10)) // does not change the folder
	require.Equal(t, version, r.source.Version())
	truncated := func() string { c, _ := r.source.Get(made.ID); return c.State }
	require.Equal(t, api.CaptureReady, truncated())
	require.NoError(t, os.Chtimes(r.dir, time.Now(), time.Now()))
	require.Greater(t, r.source.Version(), version)
	require.Equal(t, api.CaptureFailed, truncated())

	// Two changes within one step of the file system's clock have the same time.
	step := time.Now().Add(-settled / 2)
	version = r.source.Version()
	for _, content := range []string{"one", "one more"} {
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, content+".tmcap"), []byte(content), 0o600))
		require.NoError(t, os.Chtimes(r.dir, step, step))
		now := r.source.Version()
		require.Greater(t, now, version, content)
		version = now
	}

	// A copy that takes long: the folder knows of its begin only.
	whole, err := os.ReadFile(filepath.Join(r.dir, other.ID+bundle.Suffix))
	require.NoError(t, err)
	copied := filepath.Join(r.dir, "one.tmcap")
	old := time.Now().Add(-time.Minute)
	for _, name := range []string{copied, filepath.Join(r.dir, "one more.tmcap"), path} {
		require.NoError(t, os.Chtimes(name, old, old))
	}
	r.age(t)
	version = r.source.Version()
	require.NoError(t, os.WriteFile(copied, whole, 0o600))
	require.NoError(t, os.Chtimes(copied, old.Add(-time.Hour), old.Add(-time.Hour))) // as cp -p ends
	require.Greater(t, r.source.Version(), version)

	// A change of nothing is none.
	version = r.source.Version()
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, "notes.txt"), nil, 0o600))
	require.Equal(t, version, r.source.Version())
}

// TestCaptureVersionWhileCutting asks all the time while captures come and go: what
// is asked for first must not vanish in between.
func TestCaptureVersionWhileCutting(t *testing.T) {
	r := newCaptureRig(t)
	for range 5 {
		made, err := r.source.Start(t.Context(), api.CaptureRequest{Reason: "again"})
		require.NoError(t, err)
		states := []string{}
		eventually(t, func() bool {
			c, ok := r.source.Get(made.ID)
			require.True(t, ok, "gone after %v", states)
			if !slices.Contains(states, c.State) {
				states = append(states, c.State)
			}
			return c.State == api.CaptureReady
		}, "it is ready")
	}
}
