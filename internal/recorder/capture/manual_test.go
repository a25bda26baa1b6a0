package capture_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

// Who names no container gets those that matter; who wants the host gets all, and
// pictures of those.
func TestManualWithoutAContainer(t *testing.T) {
	f := func(scope bundle.Scope, ask func(r *rig)) {
		t.Helper()
		inBubble(t, func(t *testing.T, r *rig) {
			r.start()
			ask(r)
			r.pass(3 * time.Minute)
			require.Len(t, r.done, 1)
			require.Equal(t, scope, r.done[0].Manifest.Scope)
			require.Len(t, r.camera.of(""), 1)
			require.Len(t, r.camera.of(apiID), 1)
			require.Equal(t, !scope.Host, !r.metrics.cuts[0].Keep(dbID))
			require.True(t, r.metrics.cuts[0].Keep(apiID) && r.metrics.cuts[0].Keep(""))
			reader, err := bundle.Open(r.done[0].Path)
			require.NoError(t, err)
			require.True(t, reader.Has("state/cgroup/"+apiID+"/memory.events"))
			require.NoError(t, reader.Close())
		})
	}
	manual := func(request capture.Request) func(*rig) {
		return func(r *rig) {
			r.t.Helper()
			_, err := r.engine.Manual(r.t.Context(), request)
			require.NoError(r.t, err)
		}
	}
	some := bundle.Scope{Containers: []string{apiID}}
	f(some, manual(capture.Request{}))
	f(some, manual(capture.Request{Last: 5 * time.Minute}))
	f(some, func(r *rig) { r.tell("", "", map[string]any{"tallyman.capture": true}) })
	f(some, func(r *rig) {
		r.tell("", "", map[string]any{"tallyman.capture": true})
		r.restart()
	})
	f(bundle.Scope{Host: true}, manual(capture.Request{Host: true}))
}

// At five in the morning somebody wants what was at twelve past three.
func TestManualOfThePast(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.pass(5 * time.Hour)
		r.metrics.oldest, r.events.oldest = now().Add(-4*time.Hour), now().Add(-3*time.Hour)
		at := now()
		from, to := at.Add(-2*time.Hour), at.Add(-2*time.Hour+10*time.Minute)
		_, err := r.engine.Manual(t.Context(), capture.Request{From: from, To: to, Containers: []string{"worker"}})
		require.NoError(t, err)
		r.pass(time.Second)
		require.Len(t, r.done, 1)
		m := r.done[0].Manifest
		require.Equal(t, bundle.Window{From: from, To: to}, m.Window)
		require.Equal(t, workerID, m.Triggers[0].Container.ID, "looked up")
		require.Equal(t, []string{dbID, workerID}, m.Scope.Containers)
		require.Equal(t, m.Window, r.metrics.cuts[0].Window)
		require.Empty(t, r.camera.requests(), "a picture of now is none of then")
		require.Contains(t, m.Missing, bundle.Missing{What: "state", Why: "nobody took a picture at that time"})
		reader, err := bundle.Open(r.done[0].Path)
		require.NoError(t, err)
		for _, name := range []string{"processes", "sockets", "host"} {
			text, err := reader.ReadFile("state/" + name + ".json")
			require.NoError(t, err)
			require.JSONEq(t, "[]", string(text))
		}
		require.NoError(t, reader.Close())

		// What happens meanwhile opens its own.
		_, err = r.engine.Manual(t.Context(), capture.Request{To: at.Add(-3 * time.Hour)})
		require.NoError(t, err)
		r.tell("container.oom_kill", workerID, nil)
		require.Equal(t, "oom", r.only().Triggers[0].Kind)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 3)
		require.Equal(t, 10*time.Minute, r.done[1].Manifest.Window.To.Sub(r.done[1].Manifest.Window.From))
	})
}

func TestManualThatIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		at := now()
		r.metrics.oldest = at.Add(-time.Hour)
		f := func(cause error, text string, request capture.Request) {
			t.Helper()
			_, err := r.engine.Manual(t.Context(), request)
			require.ErrorIs(t, err, cause)
			require.ErrorContains(t, err, text)
		}
		f(capture.ErrWindow, "it is 45m0s long, at most 30m0s", capture.Request{From: at.Add(-time.Hour), To: at.Add(-15 * time.Minute)})
		f(capture.ErrWindow, "is still to come", capture.Request{To: at.Add(5 * time.Minute)})
		f(capture.ErrWindow, "is not after its begin", capture.Request{From: at.Add(-time.Minute), To: at.Add(-2 * time.Minute)})
		f(capture.ErrWindow, "is not after its begin", capture.Request{Last: -time.Minute})
		f(capture.ErrWindow, "the oldest that is there is of 1999-12-31T23:00:00Z", capture.Request{From: at.Add(-3 * time.Hour), To: at.Add(-2 * time.Hour).Add(-40 * time.Minute)})
		f(capture.ErrUnknown, `no such container: "nobody"`, capture.Request{Containers: []string{workerID, "nobody"}})
		require.Empty(t, r.camera.requests())
		// A clock that is a little ahead, and half an hour that takes a moment to arrive.
		_, err := r.engine.Manual(t.Context(), capture.Request{From: at.Add(-30*time.Minute - 20*time.Second), To: at.Add(20 * time.Second)})
		require.NoError(t, err)
		r.pass(time.Second)
		require.Equal(t, bundle.Window{From: at.Add(-30 * time.Minute), To: at}, r.done[0].Manifest.Window)
	})
}

// A full disk is told without the folders of the host.
func TestManualOnAFullDisk(t *testing.T) {
	dir := smallDisk(t)
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Dir = dir
		r.start()
		err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 4<<20), 0o600)
		require.ErrorIs(t, err, unix.ENOSPC)
		_, err = r.engine.Manual(t.Context(), capture.Request{Containers: []string{workerID}})
		require.True(t, capture.IsFull(err), "%v", err)
		require.Contains(t, err.Error(), dir)
		require.NotContains(t, capture.Text(err), dir)
		require.Len(t, r.failed, 1)
		require.Zero(t, r.failed[0].Retry)
		require.False(t, r.failed[0].AtStart)
	})
}

func TestText(t *testing.T) {
	f := func(want string, err error) {
		t.Helper()
		require.Equal(t, want, capture.Text(err))
	}
	path := "/var/lib/tallyman/recorder/captures/open/x/journal.jsonl"
	cause := &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES}
	f("write journal: open journal.jsonl: permission denied", fmt.Errorf("write journal: %w", cause))
	f("a: open journal.jsonl: permission denied\nrename one two: no space left on device",
		errors.Join(fmt.Errorf("a: %w", cause), &os.LinkError{Op: "rename", Old: "/srv/one", New: "/srv/two", Err: syscall.ENOSPC}))
	f("nothing", errors.New("nothing"))
	require.True(t, capture.IsFull(fmt.Errorf("x: %w", syscall.EDQUOT)))
	require.False(t, capture.IsFull(cause))
}

// A capture that cannot be written can be given up, and what was kept for it goes.
func TestDrop(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		id := r.only().ID
		require.ErrorIs(t, r.engine.Drop(t.Context(), id), capture.ErrUnfinished)
		require.ErrorIs(t, r.engine.Drop(t.Context(), "no"), capture.ErrNoCapture)
		require.NoError(t, os.Mkdir(filepath.Join(r.dir, id+".tmcap"), 0o700))
		r.pass(2*time.Minute + 30*time.Second)
		require.Equal(t, capture.Broken, r.only().Phase)
		require.Len(t, r.metrics.windows(), 1)
		require.NoError(t, r.engine.Drop(t.Context(), id))
		require.Empty(t, r.engine.Unfinished())
		require.Empty(t, r.metrics.windows(), "let go")
		require.NoDirExists(t, filepath.Join(r.dir, "open", id))
		require.Equal(t, capture.Stats{Failed: 1}, r.engine.Stats())
		r.pass(time.Hour)
		require.Len(t, r.failed, 1, "not tried again")
		r.restart()
		require.Empty(t, r.recovery.Open)

		// And one that was given up by itself.
		r.tell("container.oom_kill", apiID, nil)
		id = r.only().ID
		require.NoError(t, os.Mkdir(filepath.Join(r.dir, id+".tmcap"), 0o700))
		r.pass(time.Hour)
		require.Len(t, r.failed, 6)
		require.NoError(t, r.engine.Drop(t.Context(), id))
		require.NoDirExists(t, filepath.Join(r.dir, "open", id))
		require.Empty(t, r.engine.Unfinished())
		r.engine.Close()
		require.ErrorIs(t, r.engine.Drop(t.Context(), id), capture.ErrClosed)
	})
}

// What all pictures lack for want of a right is one line.
func TestMissingRightsAreOneLine(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.camera.shows = func(ask state.Request) *state.Snapshot {
			s := &state.Snapshot{Container: ask.Container, At: time.Now()}
			if ask.Container != "" {
				s.Missing = []state.Missing{{What: "exe, cwd, sockets", Why: "it needs CAP_SYS_PTRACE"}}
			}
			return s
		}
		r.start()
		_, err := r.engine.Manual(t.Context(), capture.Request{Containers: []string{workerID, apiID, dbID}})
		require.NoError(t, err)
		r.pass(time.Second)
		require.Contains(t, r.done[0].Manifest.Missing, bundle.Missing{
			What: "state of 9f86d081884c, 1b4f0e985197, 60303ae22b99: exe, cwd, sockets", Why: "it needs CAP_SYS_PTRACE",
		})
	})
}

// The part of the table is masked as all other members are.
func TestEntityLines(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		r.pass(3 * time.Minute)
		reader, err := bundle.Open(r.done[0].Path)
		require.NoError(t, err)
		text, err := reader.ReadFile("entities.jsonl")
		require.NoError(t, err)
		require.NoError(t, reader.Close())
		line := `{"entity":{"id":"%s","last_seen":"2000-01-01T00:02:00Z","tags":{"db.password":"***"}}}` + "\n"
		require.Equal(t, fmt.Sprintf(line, workerID)+fmt.Sprintf(line, dbID), string(text))
		require.True(t, reader.Has("entities.json"))
	})
}
