package docker

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A handler that is too slow for the engine loses nothing and hears nothing
// twice: the connection is given up, what was read is told, and the rest is
// asked for again. These are more events than are remembered as told.
func TestSlowHandler(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a := newFake(t), newTape(), id("a")
	began := time.Now()
	f.set(a, inspectOf(a, fakeState{"n", "running", began, time.Time{}}))
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	var once sync.Once
	r.block = func(Event) { once.Do(func() { <-gate }) }
	f.start()
	w, _ := watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "synced", 1)
	const total = 10_000
	require.Greater(t, total, rememberedEvents)
	at := time.Now()
	when := func(i int) time.Time { return at.Add(time.Duration(i) * 10 * time.Microsecond) }
	for i := range total {
		f.event(when(i), "kill", a, `,"signal":"1"`)
	}
	testkit.Eventually(t, patience, func() error { // our reader has gone
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.streams) > 0 {
			return errNotYet
		}
		return nil
	})
	open()
	r.waitFor(t, "synced", 2)
	require.ErrorIs(t, r.why(), errBehind)
	r.waitFor(t, "kill "+a, total)
	f.event(when(total), "oom", a, "")
	r.waitFor(t, "oom "+a, 1)
	outages, syncs := r.count("disconnected"), r.count("synced")
	f.stop() // and once more with all of it in the engine's memory
	r.waitFor(t, "disconnected", outages+1)
	f.event(when(total+1), "pause", a, "")
	f.set(a, inspectOf(a, fakeState{"n", "paused", began, time.Time{}}))
	f.start()
	r.waitFor(t, "synced", syncs+1)
	r.waitFor(t, "pause "+a, 1)
	f.event(when(total+2), "unpause", a, "")
	r.waitFor(t, "unpause "+a, 1)

	events := r.of(a)
	require.Equal(t, total+3, len(events), "%+v %d", w.Stats(), r.count("disconnected"))
	for i, e := range events {
		require.Equal(t, when(i).UnixNano(), e.Time.UnixNano(), i)
	}
	t.Logf("%d outages, %+v", r.count("disconnected"), w.Stats())
}

// What happened during a long outage comes twice, from the engine's memory and in
// the stream, and its times are far apart. It is told once, also when the stream
// is slow to come to it.
func TestLongGapIsToldOnce(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a := newFake(t), newTape(), id("a")
	began := time.Now().Add(-time.Hour)
	f.set(a, inspectOf(a, fakeState{"n", "running", began, time.Time{}}))
	f.start()
	watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "synced", 1)
	f.stop()
	r.waitFor(t, "disconnected", 1)
	const total = 20
	at := time.Now().Add(time.Second)
	when := func(i int) time.Time { return at.Add(time.Duration(i) * rememberedFor) }
	for i := range total {
		f.event(when(i), "kill", a, `,"signal":"1"`)
	}
	f.start()
	r.waitFor(t, "synced", 2)
	f.event(when(total), "oom", a, "")
	r.waitFor(t, "oom "+a, 1)

	events := r.of(a)
	require.Len(t, events, total+1)
	for i, e := range events {
		require.Equal(t, when(i).UnixNano(), e.Time.UnixNano(), i)
	}
}

// The first connection breaks off when one of two containers is told. That one
// is gone before the second one, and the engine remembers nothing of it.
func TestFirstSyncBreaksOff(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a, b, c := newFake(t), newTape(), id("a"), id("b"), id("c")
	began := time.Now().Add(-time.Hour)
	for _, each := range []string{a, b, c} {
		f.set(each, inspectOf(each, fakeState{"n", "running", began, time.Time{}}))
	}
	f.on("/containers/"+b+"/json", func(http.ResponseWriter, *http.Request) {
		r.waitFor(t, "put "+a, 1)
		r.waitFor(t, "put "+c, 1)
		panic(http.ErrAbortHandler) // cuts the connection
	})
	f.start()
	w, _ := watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "disconnected", 1)
	require.Zero(t, r.count("put "+b))
	f.set(a, "")
	f.set(c, inspectOf(c, fakeState{"n", "exited", began, time.Now()}))
	f.on("/containers/"+b+"/json", nil)
	r.waitFor(t, "synced", 1)
	r.waitFor(t, "gone "+a, 1)
	r.waitFor(t, "die "+c, 1)

	require.Equal(t, []string{"die", "destroy"}, r.actions(a))
	require.Equal(t, []string{"die"}, r.actions(c))
	require.Empty(t, r.actions(b), "what was before the first time is no news")
	require.True(t, r.before("synced", "die "+a))
	require.Equal(t, 2, w.Stats().Containers)
}

// After a gap all containers are told again, also one that cannot be read just
// then. What had happened to it is told when it can be.
func TestUnreadableAfterGap(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, answer := range map[string]http.HandlerFunc{"refused": refuse, "held back": hang} {
		t.Run(name, func(t *testing.T) {
			testkit.VerifyNoLeaks(t)
			f, r, a := newFake(t), newTape(), id("a")
			path := "/containers/" + a + "/json"
			began := time.Now().Add(-time.Hour)
			f.set(a, inspectOf(a, fakeState{"n", "running", began, time.Time{}}))
			f.start()
			w, _ := watch(t, WatcherOptions{Endpoint: f.endpoint(), Timeout: time.Second}, r)
			r.waitFor(t, "synced", 1)
			f.stop()
			r.waitFor(t, "disconnected", 1)
			ended := time.Now()
			f.set(a, inspectOf(a, fakeState{"n", "running", ended.Add(time.Millisecond), ended}))
			f.on(path, answer)
			puts := r.count("put " + a)
			f.start()
			r.waitFor(t, "synced", 2)
			require.Equal(t, puts+1, r.count("put "+a))
			require.Equal(t, "/bin/app", r.last(a).Command, "what was known before")
			require.Equal(t, began.UnixNano(), r.last(a).State.StartedAt.UnixNano())
			require.Empty(t, r.actions(a))
			if name == "refused" {
				testkit.Eventually(t, patience, func() error { // it is asked again, without being told to
					if f.times(path) < 3 {
						return errNotYet
					}
					return nil
				})
			}
			f.on(path, nil)
			w.Want(a)
			r.waitFor(t, "start "+a, 1)
			f.event(ended.Add(2*time.Millisecond), "start", a, "") // late, and known by now
			f.event(time.Now(), "pause", a, "")
			r.waitFor(t, "pause "+a, 1)
			require.Equal(t, []string{"die", "start", "pause"}, r.actions(a))
			require.Zero(t, r.count("absent "+a))
		})
	}
}

// The same, and the next event comes first.
func TestUnreadableUntilEvent(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a := newFake(t), newTape(), id("a")
	path := "/containers/" + a + "/json"
	began := time.Now().Add(-time.Hour)
	f.set(a, inspectOf(a, fakeState{"n", "running", began, time.Time{}}))
	f.start()
	watch(t, WatcherOptions{Endpoint: f.endpoint(), Timeout: time.Second}, r)
	r.waitFor(t, "synced", 1)
	f.stop()
	r.waitFor(t, "disconnected", 1)
	ended := time.Now()
	f.set(a, inspectOf(a, fakeState{"n", "exited", began, ended}))
	f.on(path, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f.start()
	r.waitFor(t, "synced", 2)
	f.on(path, nil)
	started := time.Now()
	f.set(a, inspectOf(a, fakeState{"n", "running", started, ended}))
	f.event(started.Add(time.Millisecond), "start", a, "")
	r.waitFor(t, "start "+a, 1)
	require.Equal(t, []string{"die", "start"}, r.actions(a))
	require.Equal(t, []bool{true, false}, []bool{r.of(a)[0].Recovered, r.of(a)[1].Recovered})
}

// A container that could not be read at first is read later. How it is then is
// no news, also not after the next gap.
func TestUnreadableAtFirst(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a := newFake(t), newTape(), id("a")
	path := "/containers/" + a + "/json"
	f.set(a, inspectOf(a, fakeState{"n", "paused", time.Now().Add(-time.Hour), time.Time{}}))
	f.on(path, func(w http.ResponseWriter, _ *http.Request) {
		if f.times(path) == 1 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprint(w, f.get(a))
	})
	f.start()
	watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "put "+a, 2) // from the list, and when asked again
	require.True(t, slices.Contains(r.all(), "synced"))
	f.stop()
	r.waitFor(t, "disconnected", 1)
	f.start()
	r.waitFor(t, "synced", 2)
	f.event(time.Now(), "unpause", a, "")
	r.waitFor(t, "unpause "+a, 1)
	require.Equal(t, []string{"unpause"}, r.actions(a))
	require.Equal(t, "paused", r.last(a).State.Status)
}

// What runs and what has ended are told apart by more than times, which an
// engine may have lost, or written with another clock.
func TestEndWithoutTime(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r := newFake(t), newTape()
	ended, restarted, removed := id("1"), id("2"), id("3")
	began := time.Now().Add(-time.Hour)
	for _, each := range []string{ended, restarted, removed} {
		f.set(each, inspectOf(each, fakeState{"n", "running", began, time.Time{}}))
	}
	f.start()
	watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "synced", 1)
	f.stop()
	r.waitFor(t, "disconnected", 1)
	f.set(ended, inspectOf(ended, fakeState{"n", "exited", began, time.Time{}}))
	f.set(restarted, inspectOf(restarted, fakeState{"n", "running", time.Now(), time.Time{}}))
	f.set(removed, "")
	f.event(time.Now(), "destroy", removed, "") // and no word of its end
	f.start()
	r.waitFor(t, "synced", 2)
	r.waitFor(t, "gone "+removed, 1)
	r.waitFor(t, "die "+ended, 1)
	r.waitFor(t, "start "+restarted, 1)
	require.Equal(t, []string{"die"}, r.actions(ended))
	require.Equal(t, 7, *r.of(ended)[0].ExitCode)
	require.Equal(t, []string{"die", "start"}, r.actions(restarted))
	require.Nil(t, r.of(restarted)[0].ExitCode)
	require.Equal(t, []string{"die", "destroy"}, r.actions(removed))
	f.event(time.Now(), "die", ended, `,"exitCode":"7"`) // late
	f.event(time.Now(), "rename", ended, `,"oldName":"x"`)
	r.waitFor(t, "rename "+ended, 1)
	require.Equal(t, []string{"die", "rename"}, r.actions(ended))
}

// The engine forgets a start, when it is killed. The end that it tells shows that
// there was one.
func TestStartForgotten(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r := newFake(t), newTape()
	died, removed, unused := id("1"), id("2"), id("3")
	f.start()
	watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "synced", 1)
	for _, each := range []string{died, removed, unused} {
		f.set(each, inspectOf(each, fakeState{"n", "created", time.Time{}, time.Time{}}))
		f.event(time.Now(), "create", each, "")
	}
	r.waitFor(t, "create "+unused, 1)
	began := time.Now()
	f.set(removed, inspectOf(removed, fakeState{"n", "running", began, time.Time{}}))
	f.event(time.Now(), "rename", removed, `,"oldName":"x"`) // and with it its state is known
	f.event(time.Now(), "die", died, `,"exitCode":"7"`)
	for _, each := range []string{died, removed, unused} {
		f.set(each, "")
		f.event(time.Now(), "destroy", each, "")
		r.waitFor(t, "gone "+each, 1)
	}
	require.Equal(t, []string{"create", "start", "die", "destroy"}, r.actions(died))
	require.Equal(t, []string{"create", "rename", "start", "die", "destroy"}, r.actions(removed))
	require.Equal(t, began.UnixNano(), r.of(removed)[2].Time.UnixNano())
	require.Equal(t, []string{"create", "destroy"}, r.actions(unused), "it never ran")
}

// What the watcher asks again by itself is no question of the handler's: it is
// not told that a container is absent of which it was told that it is gone.
func TestGoneBeforeAskedAgain(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a, b := newFake(t), newTape(), id("a"), id("b")
	path := "/containers/" + a + "/json"
	f.set(a, inspectOf(a, fakeState{"n", "exited", time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)}))
	f.start()
	w, _ := watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "synced", 1)
	f.stop()
	r.waitFor(t, "disconnected", 1)
	f.on(path, func(w http.ResponseWriter, _ *http.Request) {
		if f.times(path) == 2 { // it is listed, and just being removed
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	})
	f.event(time.Now(), "destroy", a, "")
	f.start()
	r.waitFor(t, "gone "+a, 1)
	testkit.Eventually(t, patience, func() error {
		if f.times(path) < 3 {
			return errNotYet
		}
		return nil
	})
	w.Want(b)
	r.waitFor(t, "absent "+b, 1)
	require.Zero(t, r.count("absent "+a))
	w.Want(a)
	r.waitFor(t, "absent "+a, 1)
	require.Equal(t, []string{"destroy"}, r.actions(a))
}
