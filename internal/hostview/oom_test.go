package hostview_test

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	tenMiB = "10485760"
	// hog grows until it is killed: tail keeps an endless line in memory.
	hog = "busybox tail /dev/zero"
)

// What is told of OOM kills is the same however processes are watched; how
// exact the names are, each case says.
func TestOOM(t *testing.T) {
	testkit.NeedBPF(t)
	alone(t)
	for _, wish := range []hostview.ProcessStream{hostview.ProcessStreamAuto, hostview.ProcessStreamConnector, hostview.ProcessStreamProc} {
		t.Run(string(wish), func(t *testing.T) {
			testkit.VerifyNoLeaks(t)
			v, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: wish})
			require.NoError(t, err)
			t.Cleanup(v.Release)
			cases := oomCases()
			if wish == hostview.ProcessStreamConnector {
				// Counters decide it, and only BPF spares it a walk of 10 s.
				delete(cases, "kill of a vanished nested container")
			}
			for name, f := range cases {
				t.Run(name, func(t *testing.T) { f(t, watchOn(t, v)) })
			}
		})
	}
}

func oomCases() map[string]func(*testing.T, *watch) {
	return map[string]func(*testing.T, *watch){
		"forked child killed is degraded":         forkedChildKilledIsDegraded,
		"named victim and recovery":               namedVictimAndRecovery,
		"first process killed is not degraded":    firstProcessKilledIsNotDegraded,
		"replaced worker is not degraded":         replacedWorkerIsNotDegraded,
		"exec session killed is not degraded":     execSessionKilledIsNotDegraded,
		"nested containers are not counted twice": nestedContainersAreNotCountedTwice,
		"kill of a vanished nested container":     killOfAVanishedNestedContainer,
		"kills without pause":                     killsWithoutPause,
		"two victims are two processes":           twoVictimsAreTwoProcesses,
	}
}

// The dead forwarder: PID 1 is fine, its worker is gone for good.
func forkedChildKilledIsDegraded(t *testing.T, w *watch) {
	g, id := newContainer(t)
	limitMemory(g, tenMiB)
	shell(t, g, hog+" &", "wait", "sleep 1000")
	w.until(func() error {
		if w.live[id].Degraded == nil {
			return fmt.Errorf("not degraded; kills %+v, events %+v", w.live[id].Kills, w.live[id].Events)
		}
		return nil
	})
	c := w.live[id]
	require.Equal(t, sampler.Kills{Other: 1}, c.Kills)
	require.Equal(t, uint64(1), c.Events.OOMKill)
	require.Equal(t, 1, c.Degraded.Count)
	kill, ok := w.last(id, sampler.OOMKilled)
	require.True(t, ok)
	require.True(t, kill.Survived)
	require.True(t, kill.Victim.InitKnown)
	require.False(t, kill.Victim.Init)
	require.Contains(t, w.kinds(id), sampler.BecameDegraded)
}

// A victim that was seen before is named, and the container recovers when the
// same executable runs again.
func namedVictimAndRecovery(t *testing.T, w *watch) {
	g, id := newContainer(t)
	dir := applets(t, "tail", "usleep")
	worker, feed := newWorker(t, dir)
	shell(t, g,
		worker+" &",
		"wait",
		"until [ -e "+dir+"/again ]; do "+dir+"/usleep 10000; done",
		worker+" &",
		"wait")
	limitMemory(g, tenMiB)
	w.untilKnown(g, id, "tail", 1)
	feed()
	w.until(func() error {
		if w.live[id].Degraded == nil {
			e, _ := w.last(id, sampler.OOMKilled)
			return fmt.Errorf("not degraded; kills %+v, last %+v", w.live[id].Kills, e.Victim)
		}
		return nil
	})
	kill, _ := w.last(id, sampler.OOMKilled)
	require.NotZero(t, kill.Victim.PID)
	require.Equal(t, "tail", kill.Victim.Executable)
	if tier, _ := w.view.Tier(); tier != hostview.TierConnector { // it does not say
		require.NotZero(t, kill.Victim.RSS)
	}
	require.Equal(t, "tail", w.live[id].Degraded.Executable)

	touch(t, dir+"/again")
	w.until(func() error {
		if _, ok := w.last(id, sampler.Recovered); !ok {
			return errors.New("not recovered yet")
		}
		return nil
	})
	require.Nil(t, w.live[id].Degraded)
	recovered, _ := w.last(id, sampler.Recovered)
	require.Positive(t, recovered.Duration)
}

// newWorker is a process that holds little until it is fed, and then grows
// until it is killed: tail keeps an endless line in memory.
func newWorker(t *testing.T, dir string) (command string, feed func()) {
	t.Helper()
	pipe := filepath.Join(dir, "feed")
	require.NoError(t, unix.Mkfifo(pipe, 0o600))
	return filepath.Join(dir, "tail") + " " + pipe, func() {
		t.Helper()
		cmd := exec.Command("sh", "-c", "exec cat /dev/zero >"+pipe)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, exec.Command("touch", path).Run())
}

// When the first process itself is the victim the container is dead, not
// degraded.
func firstProcessKilledIsNotDegraded(t *testing.T, w *watch) {
	g, id := newContainer(t)
	limitMemory(g, tenMiB)
	testkit.NeedCommand(t, "busybox")
	cmd := testkit.Run(t, g, "busybox", "sh", "-c", "busybox usleep 300000; exec "+hog)
	w.until(func() error {
		if w.live[id].Events.OOMKill == 0 {
			return errors.New("not killed yet")
		}
		return nil
	})
	_ = cmd.Wait()
	// As an engine does once the first process is gone.
	g.Remove()
	w.until(func() error {
		if _, ok := w.last(id, sampler.Stopped); !ok {
			return errors.New("not stopped yet")
		}
		return nil
	})
	require.NotContains(t, w.kinds(id), sampler.BecameDegraded)
	final := w.ended[slices.IndexFunc(w.ended, func(c sampler.Target) bool { return c.ID == id })]
	require.Equal(t, sampler.Kills{Init: 1}, final.Kills)
	kill, ok := w.last(id, sampler.OOMKilled)
	require.True(t, ok)
	require.False(t, kill.Survived)
	require.True(t, kill.Victim.Init)
}

// A worker that is replaced at once, by a supervisor, does not degrade.
func replacedWorkerIsNotDegraded(t *testing.T, w *watch) {
	g, id := newContainer(t)
	dir := applets(t, "tail")
	worker, feed := newWorker(t, dir)
	shell(t, g, worker+" &", "wait", dir+"/tail -f /dev/null &", "wait")
	limitMemory(g, tenMiB)
	w.untilKnown(g, id, "tail", 1)
	feed()
	w.untilReplaceable(id)
	require.Nil(t, w.live[id].Degraded)
	require.NotContains(t, w.kinds(id), sampler.BecameDegraded)
}

// A process that came from outside (docker exec) is none of the container's.
func execSessionKilledIsNotDegraded(t *testing.T, w *watch) {
	g, id := newContainer(t)
	worker, feed := newWorker(t, applets(t, "tail"))
	shell(t, g, "sleep 1000")
	w.until(func() error {
		if w.live[id].InitPID == 0 {
			return errors.New("first process not seen yet")
		}
		return nil
	})
	shell(t, g, "exec "+worker)
	limitMemory(g, tenMiB)
	w.untilKnown(g, id, "tail", 1)
	feed()
	w.untilReplaceable(id)
	require.Nil(t, w.live[id].Degraded)
}

// A kill in a nested container is the nested one's alone, also after it has
// gone; one in an inner cgroup (a systemd inside makes them) is the
// container's.
func nestedContainersAreNotCountedTwice(t *testing.T, w *watch) {
	outer, outerID := newContainer(t)
	innerID := newID(t)
	nested := outer.Child("docker").Child(innerID)
	service := outer.Child("app.service")
	w.until(w.isLive(innerID))
	require.Equal(t, outerID, w.live[innerID].ParentID)
	w.until(w.isLive(outerID))

	limitMemory(nested, tenMiB)
	shell(t, nested, hog+" &", "wait", "sleep 1000")
	w.until(func() error { return wantKills(w, innerID, 1) })
	w.collect()
	require.Zero(t, w.live[outerID].Events.OOMKill)

	limitMemory(service, tenMiB)
	shell(t, service, hog+" &", "wait", "sleep 1000")
	w.until(func() error { return wantKills(w, outerID, 1) })

	nested.Remove()
	w.until(func() error {
		if _, ok := w.last(innerID, sampler.Stopped); !ok {
			return errors.New("the nested container is not seen to stop")
		}
		return nil
	})
	w.collect()
	require.Equal(t, uint64(1), w.live[outerID].Events.OOMKill)
}

func wantKills(w *watch, id string, n uint64) error {
	if got := w.live[id].Events.OOMKill; got != n {
		return fmt.Errorf("%d OOM kills counted, want %d", got, n)
	}
	return nil
}

// The same when the nested container goes before anybody has read its kill:
// its engine removes the cgroup within milliseconds.
func killOfAVanishedNestedContainer(t *testing.T, w *watch) {
	outer, outerID := newContainer(t)
	// Not in the container's own cgroup: v2 wants processes in leaves.
	shell(t, outer.Child("init"), "sleep 1000")
	innerID := newID(t)
	nested := outer.Child("docker").Child(innerID)
	w.until(w.isLive(innerID))
	w.until(w.isLive(outerID))
	limitMemory(nested, tenMiB)
	testkit.NeedCommand(t, "busybox")
	_ = testkit.Run(t, nested, "busybox", "tail", "/dev/zero").Wait()
	nested.Remove()
	w.until(func() error {
		if _, ok := w.last(innerID, sampler.Stopped); !ok {
			return errNotYet
		}
		return nil
	})
	for range 3 {
		w.collect()
	}
	require.Zero(t, w.live[outerID].Events.OOMKill)
	require.Nil(t, w.live[outerID].Degraded)
}

// Kills that come faster than they are judged are all judged.
func killsWithoutPause(t *testing.T, w *watch) {
	g, id := newContainer(t)
	limitMemory(g, tenMiB)
	shell(t, g, "while :; do "+hog+"; done")
	w.until(func() error {
		if n := w.live[id].Kills.Other; n < 20 {
			return fmt.Errorf("%d of %d kills judged", n, w.live[id].Events.OOMKill)
		}
		return nil
	})
	kill, ok := w.last(id, sampler.OOMKilled)
	require.True(t, ok)
	require.True(t, kill.Survived)
}

// Two victims are two processes.
func twoVictimsAreTwoProcesses(t *testing.T, w *watch) {
	g, id := newContainer(t)
	worker, feed := newWorker(t, applets(t, "tail"))
	shell(t, g, worker+" &", worker+" &", "wait", "wait", "sleep 1000")
	limitMemory(g, tenMiB)
	w.untilKnown(g, id, "tail", 2)
	feed()
	w.until(func() error { return wantKills(w, id, 2) })
	w.until(func() error {
		if d := w.live[id].Degraded; d == nil || d.Count != 2 {
			return fmt.Errorf("degraded: %+v", d)
		}
		return nil
	})
	pids := map[int]bool{}
	for _, e := range w.events {
		if e.Kind == sampler.OOMKilled && e.Target.ID == id && e.Victim.PID != 0 {
			require.False(t, pids[e.Victim.PID], "process %d was killed twice", e.Victim.PID)
			pids[e.Victim.PID] = true
		}
	}
	require.Len(t, pids, 2)
}

// Without looking at processes a kill is an event all the same, of nobody.
func TestKillWithProcessesOff(t *testing.T) {
	alone(t)
	v, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/"), ProcessStream: hostview.ProcessStreamOff})
	require.NoError(t, err)
	t.Cleanup(v.Release)
	w := watchOn(t, v)
	g, id := newContainer(t)
	limitMemory(g, tenMiB)
	shell(t, g, hog+" &", "wait", "sleep 1000")
	w.until(func() error {
		if _, ok := w.last(id, sampler.OOMKilled); !ok {
			return errNotYet
		}
		return nil
	})
	kill, _ := w.last(id, sampler.OOMKilled)
	require.Equal(t, sampler.Victim{}, kill.Victim)
	require.False(t, kill.SurvivedKnown)
	require.Equal(t, sampler.Kills{Unknown: 1}, w.live[id].Kills)
	require.Nil(t, w.live[id].Degraded)
}

// With memory.oom.group the OOM killer takes everything, and one event says so.
func TestGroupKill(t *testing.T) {
	testkit.NeedBPF(t)
	testkit.NeedLayout(t, testkit.LayoutV2)
	w := newWatch(t)
	g, id := newContainer(t)
	limitMemory(g, tenMiB)
	g.Write("memory", "memory.oom.group", "1")
	shell(t, g, "sleep 1000 &", hog+" &", "wait", "sleep 1000")
	w.until(func() error {
		if _, ok := w.last(id, sampler.OOMKilled); !ok {
			return errNotYet
		}
		return nil
	})
	kill, _ := w.last(id, sampler.OOMKilled)
	require.True(t, kill.Group)
	require.Equal(t, 3, kill.Count)
	require.True(t, kill.Victim.Init)
	require.False(t, kill.Survived)
	require.Equal(t, sampler.Kills{Init: 1, Other: 2}, w.live[id].Kills)
	require.Len(t, slices.DeleteFunc(w.kinds(id), func(k sampler.EventKind) bool { return k != sampler.OOMKilled }), 1)
	require.NotContains(t, w.kinds(id), sampler.BecameDegraded)
}
