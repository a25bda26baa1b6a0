package capture_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

func TestOOMMakesACapture(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		at := now()
		r.tell("container.oom_kill", workerID, map[string]any{"process.pid": 211, "process.executable.name": "python", "process.memory.rss": 512 << 20})
		require.Len(t, r.camera.requests(), 1, "the picture is taken at once")
		require.Equal(t, workerID, r.camera.requests()[0].Container)
		require.False(t, r.camera.requests()[0].KernelFrom.IsZero())
		window := bundle.Window{From: at.Add(-10 * time.Minute), To: at.Add(2 * time.Minute)}
		require.Equal(t, []bundle.Window{window}, r.metrics.windows(), "held")
		require.Equal(t, []bundle.Window{window}, r.events.windows())
		require.Equal(t, capture.Recording, r.engine.Unfinished()[0].Phase)
		require.Empty(t, r.done)

		r.pass(2*time.Minute + time.Second)
		require.Empty(t, r.failed)
		require.Len(t, r.done, 1)
		made := r.done[0]
		require.Equal(t, "20000101T000000.000Z-oom-worker", made.ID)
		require.Equal(t, "OOM kill of python (pid 211) in worker at 00:00:00 UTC.", made.Manifest.Verdict)
		require.Equal(t, []string{dbID, workerID}, made.Manifest.Scope.Containers)
		require.True(t, made.Manifest.First)
		require.Equal(t, map[string]uint64{"metrics: too_old": 2, "events: too_old": 2}, made.Manifest.Drops)
		require.Empty(t, r.metrics.windows(), "let go")
		require.Empty(t, r.engine.Unfinished())
		require.Equal(t, capture.Stats{Made: 1}, r.engine.Stats())

		keep := r.metrics.cuts[0].Keep
		require.True(t, keep("") && keep(workerID) && keep(dbID))
		require.False(t, keep(apiID))

		reader, err := bundle.Open(made.Path)
		require.NoError(t, err)
		require.NoError(t, reader.Verify())
		for _, name := range []string{
			"metrics/data", "events/data", "entities.json", "report.html",
			"state/processes.json", "state/sockets.json", "state/host.json", "state/cgroup/" + workerID + "/memory.events",
		} {
			require.True(t, reader.Has(name), name)
		}
		require.Equal(t, []bundle.Missing{{What: "inspect", Why: "this agent has none"}}, reader.Manifest.Missing)
		require.NoError(t, reader.Close())
		left, err := os.ReadDir(filepath.Join(r.dir, "open"))
		require.NoError(t, err)
		require.Empty(t, left, "the journal is gone")
	})
}

func TestOverlappingTriggersAreMerged(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		start := now()
		r.tell("container.oom_kill", workerID, nil)
		r.pass(time.Minute)
		r.tell("container.degraded", workerID, nil)
		r.pass(90 * time.Second)
		require.Empty(t, r.done, "the window has become longer")
		r.tell("container.oom_kill", apiID, nil)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 1)
		m := r.done[0].Manifest
		require.Equal(t, []string{"oom", "degraded", "oom"}, kinds(m))
		require.Equal(t, bundle.Window{From: start.Add(-10 * time.Minute), To: start.Add(270 * time.Second)}, m.Window)
		require.Contains(t, m.Scope.Containers, apiID)
		require.Equal(t, "OOM kill of a process in worker at 00:00:00 UTC, which runs on without it; OOM kill of a process in api at 00:02:30.", m.Verdict)
		require.Equal(t, uint64(2), r.engine.Stats().Joined)
	})
}

// A container that fails all the time does not hold up the news of others: what has
// nothing to do with an open capture has one of its own, as long as there is room.
func TestUnrelatedTriggers(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		r.project = ""
		for range 3 {
			r.pass(time.Minute)
			r.tell("container.die", apiID, map[string]any{"container.exit_code": 3})
		}
		require.Len(t, r.done, 1, "in time")
		require.Equal(t, []string{"oom"}, kinds(r.done[0].Manifest))
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 2)
		require.Equal(t, []string{"exit", "exit", "exit"}, kinds(r.done[1].Manifest))

		// Too soon for a capture of its own: noted in the one that is open, which ends
		// when it would have.
		r.tell("container.degraded", workerID, nil)
		r.pass(time.Minute)
		r.tell("container.die", apiID, map[string]any{"container.exit_code": 3})
		r.pass(time.Minute)
		require.Len(t, r.done, 3)
		require.Equal(t, []string{"degraded", "exit"}, kinds(r.done[2].Manifest))
	})
}

func TestMergingEndsAfterHalfAnHour(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		start := now()
		for range 25 {
			r.tell("container.oom_kill", workerID, nil)
			r.pass(time.Minute)
		}
		require.NotEmpty(t, r.done)
		require.Equal(t, bundle.Window{From: start.Add(-10 * time.Minute), To: start.Add(20 * time.Minute)}, r.done[0].Manifest.Window)
		require.Len(t, r.done[0].Manifest.Triggers, 20, "the one at the very end is too late")
		require.Equal(t, capture.Recording, r.engine.Unfinished()[0].Phase, "what came later has opened the next one")
	})
}

func TestDebounce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		r.pass(5 * time.Minute)
		require.Len(t, r.done, 1)
		r.tell("container.oom_kill", workerID, nil)
		require.Empty(t, r.engine.Unfinished(), "too soon")
		require.Equal(t, uint64(1), r.engine.Stats().Quiet)
		r.tell("container.oom_kill", apiID, nil)
		require.Len(t, r.engine.Unfinished(), 1, "of another container")
		r.pass(5*time.Minute + time.Second)
		r.tell("container.oom_kill", workerID, nil)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 3)
		require.False(t, r.done[2].Manifest.First)
	})
}

func TestPicturesAreNotTakenAllTheTime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		for range 100 {
			r.tell("container.oom_kill", workerID, nil)
			r.pass(time.Second)
		}
		require.Len(t, r.camera.requests(), 10, "one in 10 s")
		r.pass(3 * time.Minute)
		require.Len(t, r.done[0].Manifest.Triggers, 64)
		require.Contains(t, r.done[0].Manifest.Missing, bundle.Missing{What: "triggers", Why: "36 more of them did not fit"})
		reader, err := bundle.Open(r.done[0].Path)
		require.NoError(t, err)
		require.True(t, reader.Has("state/cgroup/"+workerID+"@6/memory.events"), "later pictures have a number")
		require.False(t, reader.Has("state/cgroup/"+workerID+"@7/memory.events"), "not after 64 triggers")
		require.NoError(t, reader.Close())
	})
}

func TestExits(t *testing.T) {
	f := func(want int, before, event string, attributes map[string]any) {
		t.Helper()
		inBubble(t, func(t *testing.T, r *rig) {
			r.start()
			if before != "" {
				r.tell(before, workerID, nil)
			}
			r.pass(time.Second)
			r.tell(event, workerID, attributes)
			require.Len(t, r.engine.Unfinished(), want, "%s %v", event, attributes)
		})
	}
	f(1, "", "container.stop", map[string]any{"container.exit_code": 1})
	f(1, "", "container.die", map[string]any{"container.exit_code": 137})
	f(0, "", "container.stop", map[string]any{"container.exit_code": 0})
	f(0, "", "container.stop", nil)
	f(0, "", "container.stop", map[string]any{"container.exit_code": 143})
	f(0, "container.kill", "container.die", map[string]any{"container.exit_code": 137})
	f(1, "container.start", "container.die", map[string]any{"container.exit_code": 2})
}

func TestNearLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		for _, share := range []float64{0.99, 0.99, 0.5, 0.99, 0.99} {
			r.use(workerID, share)
		}
		require.Empty(t, r.engine.Unfinished(), "never three in a row")
		r.use(workerID, 0.96)
		require.Len(t, r.engine.Unfinished(), 1)
		require.Equal(t, "The container uses 96 % of its memory limit.", r.engine.Unfinished()[0].Triggers[0].Reason)
		for range 10 {
			r.use(workerID, 0.97)
			r.use(workerID, 0.90)
		}
		require.Len(t, r.engine.Unfinished()[0].Triggers, 1, "told once until it has been away")
		r.use(workerID, 0.5)
		for range 3 {
			r.use(workerID, 0.97)
		}
		require.Len(t, r.engine.Unfinished()[0].Triggers, 2)
	})
}

func TestManual(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", apiID, nil)
		asked := now()
		id, err := r.engine.Manual(t.Context(), capture.Request{Reason: "slow token=hunter2", Containers: []string{workerID, dbID}, Last: 15 * time.Minute})
		require.NoError(t, err)
		r.pass(time.Second)
		require.Len(t, r.done, 1, "it waits for nothing and joins nothing")
		m := r.done[0].Manifest
		require.Equal(t, id, m.ID)
		require.Equal(t, bundle.Window{From: asked.Add(-15 * time.Minute), To: asked}, m.Window)
		require.Equal(t, "Asked for: slow token=*** in worker at 00:00:00 UTC.", m.Verdict)
		require.Len(t, r.camera.requests(), 3, "of all three containers")

		_, err = r.engine.Manual(t.Context(), capture.Request{Host: true})
		require.NoError(t, err)
		r.pass(time.Second)
		require.True(t, r.done[1].Manifest.Scope.Host)
		require.True(t, r.metrics.cuts[1].Keep("whatever"))
		_, err = r.engine.Manual(t.Context(), capture.Request{Last: time.Hour})
		require.ErrorContains(t, err, "at most 30m0s")
	})
}

func TestRecordThatAsks(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("", "", map[string]any{"tallyman.capture": true})
		require.Equal(t, []string{"manual"}, kinds(&bundle.Manifest{Triggers: r.engine.Unfinished()[0].Triggers}))
		r.tell("", "", map[string]any{"tallyman.capture": false})
		require.Zero(t, r.engine.Stats().Joined)
	})
}

func TestTooManyAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Off = []capture.Kind{capture.Exit}
		r.start()
		r.tell("container.stop", workerID, map[string]any{"container.exit_code": 1})
		require.Empty(t, r.engine.Unfinished(), "switched off")
		r.metrics.gate = make(chan struct{})
		for i := range 9 {
			_, err := r.engine.Manual(t.Context(), capture.Request{})
			if i < 8 {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, capture.ErrBusy)
			}
		}
		r.tell("container.oom_kill", workerID, nil)
		require.Equal(t, capture.Stats{Full: 2, Open: 8}, r.engine.Stats())
		require.Equal(t, capture.Cutting, r.engine.Unfinished()[0].Phase)
		close(r.metrics.gate)
		r.pass(time.Second)
		require.Equal(t, capture.Stats{Full: 2, Made: 8}, r.engine.Stats())
		r.tell("container.oom_kill", workerID, nil)
		require.Len(t, r.engine.Unfinished(), 1, "there is room again")
	})
}

func TestStoreThatCannotCut(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.metrics.fail = errStore
		r.options.Events = nil
		r.start()
		r.tell("container.degraded", workerID, nil)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 1, "the rest is worth it")
		require.Contains(t, r.done[0].Manifest.Missing, bundle.Missing{What: "metrics", Why: "disk on fire"})
		require.Contains(t, r.done[0].Manifest.Missing, bundle.Missing{What: "events", Why: "this agent has none"})
	})
}

func TestFileThatCannotBeWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		id := r.engine.Unfinished()[0].ID
		// A directory in the place of the file.
		require.NoError(t, os.Mkdir(filepath.Join(r.dir, id+".tmcap"), 0o700))
		r.pass(2*time.Minute + 30*time.Second)
		require.Empty(t, r.done)
		require.Len(t, r.failed, 1)
		require.Equal(t, time.Minute, r.failed[0].Retry)
		require.Equal(t, "oom", r.failed[0].Triggers[0].Kind)
		require.Equal(t, capture.Broken, r.engine.Unfinished()[0].Phase)
		require.Error(t, r.engine.Unfinished()[0].Err)
		require.Len(t, r.metrics.windows(), 1, "held for the next time")
		r.pass(time.Minute)
		require.Len(t, r.failed, 2)
		r.pass(time.Hour)
		require.Len(t, r.failed, 5, "then it is given up")
		require.Zero(t, r.failed[4].Retry)
		require.True(t, r.failed[4].AtStart)
		require.Empty(t, r.metrics.windows(), "let go")
		require.Equal(t, capture.Stats{Failed: 1}, r.engine.Stats())
		require.NoFileExists(t, filepath.Join(r.dir, "open", id, "cut"), "what is half made takes no room")
		require.NoError(t, os.Remove(filepath.Join(r.dir, id+".tmcap")))
		r.restart()
		r.pass(time.Second)
		require.Len(t, r.done, 1, "tried once more after a restart")
		parts, err := filepath.Glob(filepath.Join(r.dir, "*.part"))
		require.NoError(t, err)
		require.Empty(t, parts)
	})
}

func TestJournalOverARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		start := now()
		r.tell("container.oom_kill", workerID, map[string]any{"process.pid": 211})
		r.pass(30 * time.Second)
		r.tell("container.degraded", workerID, nil)
		r.engine.Close()
		id := r.engine.Unfinished()[0].ID
		// The last line is torn, as by a crash in the middle of a write.
		journal := filepath.Join(r.dir, "open", id, "journal.jsonl")
		file, err := os.OpenFile(journal, os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(t, err)
		_, err = file.WriteString(`{"trigger":{"kind":"oo`)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, "half.tmcap.part"), nil, 0o600))
		// And a picture whose line was never written.
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, "open", id, "picture-2.json"), []byte(`{"half`), 0o600))
		r.pass(10 * time.Second)

		r.metrics.held = nil // a new process knows of no pin
		r.start()
		require.Equal(t, []string{id}, r.recovery.Open)
		require.NoFileExists(t, filepath.Join(r.dir, "half.tmcap.part"))
		window := bundle.Window{From: start.Add(-10 * time.Minute), To: start.Add(150 * time.Second)}
		require.Len(t, r.metrics.windows(), 1)
		require.True(t, r.metrics.windows()[0].To.Equal(window.To), "held again")
		r.tell("container.oom_kill", workerID, nil)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 1)
		m := r.done[0].Manifest
		require.Equal(t, []string{"oom", "degraded", "oom"}, kinds(m))
		require.Equal(t, 211, m.Triggers[0].Process.PID)
		require.Len(t, m.Gaps, 1)
		require.Equal(t, 10*time.Second, m.Gaps[0].To.Sub(m.Gaps[0].From), "as long as the agent was away")
		reader, err := bundle.Open(r.done[0].Path)
		require.NoError(t, err)
		require.True(t, reader.Has("state/cgroup/"+workerID+"/memory.events"), "the picture from before")
		require.True(t, reader.Has("state/cgroup/"+workerID+"@2/memory.events"), "the one after")
		require.NoError(t, reader.Close())
	})
}

// The agent is killed after a capture has got its name and before its journal is gone:
// the capture stays what it is, and there is no second one.
func TestJournalOfACaptureThatIsThere(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		id := r.engine.Unfinished()[0].ID
		open := filepath.Join(r.dir, "open", id)
		journal, err := os.ReadFile(filepath.Join(open, "journal.jsonl"))
		require.NoError(t, err)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 1)
		made, err := os.ReadFile(r.done[0].Path)
		require.NoError(t, err)
		leave := func() {
			require.NoError(t, os.Mkdir(open, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(open, "journal.jsonl"), journal, 0o600))
		}

		leave()
		r.metrics.fail = errStore // what it was made of is not there any more
		r.restart()
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 1)
		require.Empty(t, r.recovery)
		now, err := os.ReadFile(r.done[0].Path)
		require.NoError(t, err)
		require.Equal(t, made, now)
		require.NoDirExists(t, open)

		// One that cannot be read is made again.
		leave()
		require.NoError(t, os.WriteFile(r.done[0].Path, made[:len(made)/2], 0o600))
		r.restart()
		require.Equal(t, []string{id}, r.recovery.Open)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 2)
		require.Equal(t, id, r.done[1].ID)
		reader, err := bundle.Open(r.done[1].Path)
		require.NoError(t, err)
		require.NoError(t, reader.Close())
	})
}

func TestJournalThatIsNone(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		open := filepath.Join(r.dir, "open")
		require.NoError(t, os.MkdirAll(filepath.Join(open, "torn"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(open, "torn", "journal.jsonl"), []byte("{"), 0o600))
		require.NoError(t, os.MkdirAll(filepath.Join(open, "empty"), 0o700))
		r.start()
		require.ElementsMatch(t, []string{"torn", "empty"}, r.recovery.Dropped)
		require.Empty(t, r.recovery.Open)
		r.tell("container.oom_kill", workerID, nil)
		r.engine.Close()
		r.pass(48 * time.Hour)
		r.start()
		require.Len(t, r.recovery.Dropped, 1, "nothing of that time is kept any more")
	})
}

func TestCloseIsSafe(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		engine, _, err := capture.Open(r.options)
		require.NoError(t, err)
		engine.Close()
		engine.Close()
		_, err = engine.Manual(context.Background(), capture.Request{})
		require.ErrorIs(t, err, capture.ErrClosed)
	})
	_, _, err := capture.Open(capture.Options{Dir: "/proc/none/captures"})
	require.Error(t, err)
	require.True(t, strings.HasPrefix(err.Error(), "make capture directory"))
}
