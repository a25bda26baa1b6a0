package capture_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

// only returns the one capture that is open.
func (r *rig) only() capture.Unfinished {
	r.t.Helper()
	open := r.engine.Unfinished()
	require.Len(r.t, open, 1)
	return open[0]
}

// Docker and the kernel tell of one OOM kill, in any order: that is one trigger, with
// the process that the kernel names.
func TestAnOOMKillToldTwice(t *testing.T) {
	process := map[string]any{"process.pid": 211, "process.executable.name": "forwarder"}
	f := func(tell func(r *rig)) {
		t.Helper()
		inBubble(t, func(t *testing.T, r *rig) {
			r.start()
			tell(r)
			u := r.only()
			require.Len(t, u.Triggers, 1)
			require.Equal(t, "OOM kill of forwarder (pid 211) in worker at 00:00:00 UTC.", u.Verdict)
			require.ElementsMatch(t, []string{"container.oom", "container.oom_kill"}, u.Triggers[0].Events)
			r.restart()
			r.pass(5 * time.Minute)
			require.Len(t, r.done, 1)
			require.Equal(t, u.Triggers, r.done[0].Manifest.Triggers, "over a restart, too")
		})
	}
	f(func(r *rig) {
		r.tell("container.oom", workerID, nil)
		r.pass(900 * time.Millisecond)
		r.tell("container.oom_kill", workerID, process)
	})
	f(func(r *rig) {
		r.tell("container.oom_kill", workerID, process)
		r.pass(3 * time.Second)
		r.tell("container.oom", workerID, nil)
	})
}

// What one source tells twice, or another one much later, has happened twice.
func TestOOMKillsThatAreTwo(t *testing.T) {
	f := func(first, second string, apart time.Duration) {
		t.Helper()
		inBubble(t, func(t *testing.T, r *rig) {
			r.start()
			r.tell(first, workerID, nil)
			r.pass(apart)
			r.tell(second, workerID, nil)
			require.Len(t, r.only().Triggers, 2)
			require.Contains(t, r.only().Verdict, "(2 times, last at 00:00:")
		})
	}
	f("container.oom_kill", "container.oom_kill", time.Second)
	f("container.oom", "container.oom_kill", 10*time.Second)
}

func TestAnEndToldTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.stop", workerID, map[string]any{"container.exit_code": 3})
		r.pass(time.Second)
		r.tell("container.die", workerID, map[string]any{"container.exit_code": 3})
		require.Len(t, r.only().Triggers, 1)
		require.Equal(t, "worker ended with exit code 3 at 00:00:00 UTC.", r.only().Verdict)
		r.pass(10 * time.Second)
		r.tell("container.die", workerID, map[string]any{"container.exit_code": 3})
		require.Len(t, r.only().Triggers, 2, "the next run")
	})
}

// The gravest trigger names the capture, whichever came first.
func TestTheGravestNamesIt(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.die", apiID, map[string]any{"container.exit_code": 3})
		r.pass(3 * time.Second)
		r.tell("container.oom_kill", workerID, map[string]any{"process.executable.name": "tail"})
		r.pass(3 * time.Second)
		r.tell("container.degraded", workerID, map[string]any{"process.executable.name": "tail"})
		require.Equal(t, "OOM kill of tail in worker at 00:00:03 UTC, which runs on without it; api ended with exit code 3 at 00:00:00.", r.only().Verdict)
		r.pass(5 * time.Minute)
		require.Len(t, r.done, 1)
		m := r.done[0].Manifest
		require.Equal(t, "oom", bundle.Gravest(m.Triggers).Kind)
		require.Equal(t, workerID, bundle.Gravest(m.Triggers).Container.ID)
		require.True(t, m.First)
		// The next OOM kill of worker is not the first, though that capture is called
		// after an end.
		r.pass(10 * time.Minute)
		r.tell("container.oom_kill", workerID, nil)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 2)
		require.False(t, r.done[1].Manifest.First)
	})
}

func TestVerdicts(t *testing.T) {
	f := func(want string, tell func(r *rig)) {
		t.Helper()
		inBubble(t, func(t *testing.T, r *rig) {
			r.start()
			tell(r)
			require.Equal(t, want, r.only().Verdict)
		})
	}
	code := func(n int) map[string]any { return map[string]any{"container.exit_code": n} }
	f("OOM kill of a process in worker at 00:00:00 UTC, which ended with exit code 137.", func(r *rig) {
		r.tell("container.oom_kill", workerID, nil)
		r.tell("container.stop", workerID, code(137))
	})
	f("OOM kill of a process in worker at 00:00:00 UTC, which ran on without it and ended with exit code 1 at 00:01:00.", func(r *rig) {
		r.tell("container.oom_kill", workerID, nil)
		r.tell("container.degraded", workerID, nil)
		r.pass(time.Minute)
		r.tell("container.stop", workerID, code(1))
	})
	f("worker runs on without cron since 00:00:00 UTC, and ended with exit code 1 at 00:01:00.", func(r *rig) {
		r.tell("container.degraded", workerID, map[string]any{"process.executable.name": "cron"})
		r.pass(time.Minute)
		r.tell("container.stop", workerID, code(1))
	})
	f("worker was near its memory limit at 00:00:00 UTC.", func(r *rig) {
		for range 3 {
			r.use(workerID, 0.99)
		}
	})
	f("Asked for: Something happened in worker at 00:00:00 UTC.", func(r *rig) {
		r.tell("", workerID, map[string]any{"tallyman.capture": true})
	})
	f("a ended with exit code 1 at 00:00:00 UTC; b ended with exit code 1 at 00:00:01; c ended with exit code 1 at 00:00:02; and 2 more.", func(r *rig) {
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			r.tell("container.stop", id, code(1))
			r.pass(time.Second)
		}
	})
}

// An end by SIGKILL is an error if the OOM killer or nobody has sent the signal.
func TestEndsBySIGKILL(t *testing.T) {
	f := func(want int, event string, before ...string) {
		t.Helper()
		inBubble(t, func(t *testing.T, r *rig) {
			r.options.Off = []capture.Kind{capture.OOM}
			r.start()
			for _, each := range before {
				r.tell(each, workerID, nil)
			}
			r.pass(time.Second)
			r.tell(event, workerID, map[string]any{"container.exit_code": 137})
			require.Len(t, r.engine.Unfinished(), want, "%s after %v", event, before)
		})
	}
	f(0, "container.stop")                                         // docker stop, after ten seconds; kubectl delete
	f(1, "container.die")                                          // the engine has not sent it
	f(0, "container.die", "container.kill")                        // it has
	f(1, "container.stop", "container.oom_kill")                   // the kernel has
	f(1, "container.stop", "container.kill", "container.oom_kill") // before the engine's did anything
}

// A service that crashes all the time, each time under another id, makes a capture in
// ten minutes.
func TestEndsOfAService(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Entities = replicas{}
		r.start()
		for n := range 10 {
			r.tell("container.die", fmt.Sprintf("web-%d", n), map[string]any{"container.exit_code": 1})
			r.pass(3 * time.Minute)
		}
		require.Len(t, r.done, 3, "in half an hour")
		require.Equal(t, uint64(7), r.engine.Stats().Quiet)
	})
}

// replicas are containers of one service.
type replicas struct{ entities }

// Lookup implements [capture.Entities].
func (replicas) Lookup(id string) (capture.Entity, bool) {
	return capture.Entity{Container: bundle.Container{ID: id, Name: id, Service: "web", Project: "shop"}}, true
}

// On a host where jobs fail, each in a container of its own name, ends open three
// captures in half an hour; what is graver opens its own.
func TestEndsOfManyJobs(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		for n := range 10 {
			r.tell("container.die", fmt.Sprintf("job-%d", n), map[string]any{"container.exit_code": 1})
			r.pass(150 * time.Second) // after the window of the one before
		}
		require.Len(t, r.done, 3)
		r.tell("container.oom_kill", workerID, nil)
		require.Len(t, r.engine.Unfinished(), 1)
		r.pass(10 * time.Minute)
		r.tell("container.die", "job-10", map[string]any{"container.exit_code": 1})
		require.Len(t, r.engine.Unfinished(), 1, "half an hour after the first")
	})
}

// late knows a name some seconds after the trigger.
type late struct {
	entities
	since time.Time
}

// Lookup implements [capture.Entities].
func (l late) Lookup(id string) (capture.Entity, bool) {
	if time.Since(l.since) < 10*time.Second {
		return capture.Entity{}, false
	}
	return l.entities.Lookup(id)
}

func TestANameThatComesLater(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Entities = late{since: time.Now()}
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		require.Contains(t, r.only().Verdict, workerID[:12])
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 1)
		m := r.done[0].Manifest
		require.Equal(t, "OOM kill of a process in worker at 00:00:00 UTC.", m.Verdict)
		require.Equal(t, bundle.Container{ID: workerID, Name: "worker", Service: "worker", Project: "shop"}, m.Triggers[0].Container)
	})
}

// The victim is gone before anybody can take a picture, and in the list of processes
// all the same: once, with when it was killed.
func TestVictimIsListed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		killed := now()
		victim := map[string]any{"process.pid": 211, "process.executable.name": "tail", "process.memory.rss": 4096}
		r.tell("container.oom_kill", workerID, victim)
		r.tell("container.degraded", workerID, map[string]any{"process.pid": 211, "process.executable.name": "tail"})
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 1)
		reader, err := bundle.Open(r.done[0].Path)
		require.NoError(t, err)
		defer reader.Close()
		text, err := reader.ReadFile(bundle.StateDir + "/processes.json")
		require.NoError(t, err)
		var pictures []struct {
			Container string
			Processes []state.Process
		}
		require.NoError(t, json.Unmarshal(text, &pictures))
		require.Equal(t, workerID, pictures[0].Container)
		var found []state.Process
		for _, p := range pictures[0].Processes {
			if p.PID == 211 {
				found = append(found, p)
			}
		}
		require.Equal(t, []state.Process{{PID: 211, Comm: "tail", RSS: 4096, State: "X", Exited: killed.UTC()}}, found)
	})
}
