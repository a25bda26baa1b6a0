package docker

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// The engine stays, the connection goes: what happened meanwhile comes twice
// from its memory, and once from us.
func TestReplayIsToldOnce(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a := newFake(t), newTape(), id("a")
	now := time.Now()
	f.set(a, inspectOf(a, fakeState{"n", "running", now.Add(-time.Hour), time.Time{}}))
	f.start()
	w, _ := watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "synced", 1)
	f.event(time.Now(), "pause", a, "")
	r.waitFor(t, "pause "+a, 1)

	f.stop()
	r.waitFor(t, "disconnected", 1)
	f.event(time.Now(), "unpause", a, "")
	died := time.Now()
	f.event(died.Add(time.Millisecond), "die", a, `,"exitCode":"7"`)
	f.set(a, inspectOf(a, fakeState{"n", "exited", now.Add(-time.Hour), died}))
	f.start()
	r.waitFor(t, "synced", 2)
	f.event(time.Now(), "start", a, "")
	r.waitFor(t, "start "+a, 1)

	require.Equal(t, []string{"pause", "unpause", "die", "start"}, r.actions(a))
	require.Equal(t, 7, *r.of(a)[2].ExitCode)
	for _, e := range r.of(a) {
		require.False(t, e.Recovered, e)
	}
	require.Positive(t, w.Stats().Repeated, "the engine told something twice")
	f.mu.Lock()
	defer f.mu.Unlock()
	require.NotContains(t, f.queries[0], "since=")
	require.Len(t, f.queries, 3)
	for _, q := range f.queries[1:] {
		require.Contains(t, q, "since=")
	}
}

// The engine restarts and remembers nothing: the containers say what happened.
// Its own word may come late, and is not told again.
func TestMemoryLost(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r := newFake(t), newTape()
	began := time.Now()
	died, started, stays, removed, added := id("1"), id("2"), id("3"), id("4"), id("5")
	for _, c := range []string{died, started, stays, removed} {
		f.set(c, inspectOf(c, fakeState{"n", "running", began.Add(-time.Hour), time.Time{}}))
	}
	f.start()
	w, _ := watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "synced", 1)
	f.stop()
	r.waitFor(t, "disconnected", 1)
	f.forget()
	end := time.Now()
	f.set(died, inspectOf(died, fakeState{"n", "exited", began.Add(-time.Hour), end}))
	f.set(started, inspectOf(started, fakeState{"other", "running", end.Add(time.Millisecond), end}))
	f.set(removed, "")
	f.set(added, inspectOf(added, fakeState{"n", "paused", end, time.Time{}}))
	f.start()
	r.waitFor(t, "gone "+removed, 1)

	require.Equal(t, []string{"die"}, r.actions(died))
	require.Equal(t, []string{"die", "start", "rename"}, r.actions(started))
	require.Equal(t, []string{"die", "destroy"}, r.actions(removed))
	require.Equal(t, []string{"create", "start", "pause"}, r.actions(added))
	require.Empty(t, r.actions(stays))
	require.Equal(t, 7, *r.of(died)[0].ExitCode)
	require.Nil(t, r.of(started)[0].ExitCode, "the state is that of the next run")
	require.Equal(t, "n", r.of(started)[2].OldName)
	require.True(t, r.before("synced", "die "+died))
	require.True(t, r.before("destroy "+removed, "gone "+removed))
	require.Equal(t, uint64(9), w.Stats().Recovered)

	late := end.Add(2 * time.Millisecond)
	f.event(late, "die", died, `,"exitCode":"7"`)
	f.event(late, "start", started, "")
	f.event(late, "rename", started, `,"oldName":"n"`)
	f.event(late, "die", removed, "")
	f.event(late, "destroy", removed, "")
	f.event(late, "create", added, "")
	f.event(late, "pause", added, "")
	f.event(time.Now(), "start", died, "")
	f.event(time.Now().Add(time.Millisecond), "die", died, `,"exitCode":"3"`)
	testkit.Eventually(t, patience, func() error {
		if len(r.of(died)) < 3 {
			return errNotYet
		}
		return nil
	})
	require.Equal(t, []string{"die", "start", "die"}, r.actions(died))
	require.Equal(t, 3, *r.of(died)[2].ExitCode)
	require.Equal(t, uint64(7), w.Stats().Repeated)
	require.Equal(t, 1, r.count("gone "+removed))
}

// An engine that is not there is told once, found when it comes, and found again
// on a socket that was removed and made anew.
func TestEngineComesLate(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a := newFake(t), newTape(), id("a")
	f.set(a, inspectOf(a, fakeState{"n", "running", time.Now(), time.Time{}}))
	w, _ := watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "disconnected", 1)
	w.Want(id("b")) // nothing is known by now, and nothing is said
	require.Equal(t, []string{"disconnected"}, r.all())
	fastest := patience
	for n := 1; n <= 2; n++ {
		begun := time.Now()
		f.start()
		r.waitFor(t, "synced", n)
		fastest = min(fastest, time.Since(begun))
		f.stop()
		r.waitFor(t, "disconnected", n+1)
	}
	require.Less(t, fastest, 2*time.Second, "longestPause and some; the better one, because a busy machine may hold up either")
	require.Equal(t, 1, r.count("absent "+id("b")), "the question was kept")
	require.Empty(t, r.actions(a), "what was there before is no event")
	require.False(t, w.Stats().Connected)
}

// Each of these is about one container. The other one is told as ever.
func TestBrokenInspect(t *testing.T) {
	whole := inspectOf(id("a"), fakeState{"n", "running", time.Now(), time.Time{}})
	for name, answer := range map[string]http.HandlerFunc{
		"no JSON":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"wrong type": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"Id":5,"State":[]}`) },
		"empty":      func(http.ResponseWriter, *http.Request) {},
		"null":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "null") },
		"other one": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(whole, id("a"), id("c"), 1))
		},
		"error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"busy":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"truncated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
			_, _ = io.WriteString(w, whole[:100])
		},
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"Name":"`)
			for part := strings.Repeat("x", 1<<20); ; {
				if _, err := io.WriteString(w, part); err != nil {
					return
				}
			}
		},
		"slow": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.VerifyNoLeaks(t)
			f, r := newFake(t), newTape()
			f.set(id("a"), whole)
			f.set(id("b"), inspectOf(id("b"), fakeState{"fine", "running", time.Now(), time.Time{}}))
			f.on("/containers/"+id("a")+"/json", answer)
			f.start()
			options := WatcherOptions{Endpoint: f.endpoint()}
			if name == "slow" {
				options.Timeout = time.Second
			}
			w, _ := watch(t, options, r)
			r.waitFor(t, "synced", 1)
			require.Equal(t, "fine", r.last(id("b")).Name)
			require.Equal(t, "/bin/app", r.last(id("b")).Command)
			require.Equal(t, &Container{ID: id("a"), Name: "brief", ImageRef: "img", Labels: map[string]string{"l": "v"}}, r.last(id("a")))
			require.Positive(t, w.Stats().Errors)

			f.on("/containers/"+id("a")+"/json", nil)
			f.event(time.Now(), "update", id("a"), "")
			testkit.Eventually(t, patience, func() error {
				if r.last(id("a")).Name != "n" {
					return errNotYet
				}
				return nil
			})
			require.Empty(t, r.of(id("a")), "an update is not told")
		})
	}
}

// An answer that is no list ends the attempt, and a hanging engine does.
func TestBrokenList(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[{") },
		"object":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"message":"x"}`) },
		"slow":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.VerifyNoLeaks(t)
			f, r := newFake(t), newTape()
			f.on("/containers/json", answer)
			f.start()
			watch(t, WatcherOptions{Endpoint: f.endpoint(), Timeout: time.Second}, r)
			r.waitFor(t, "disconnected", 1)
			require.ErrorContains(t, r.why(), "list containers")
			f.on("/containers/json", nil)
			r.waitFor(t, "synced", 1)
			require.Equal(t, []string{"disconnected", "connected", "synced"}, r.all())
		})
	}
}

// What is no event is passed over, and the stream goes on.
func TestBrokenEvents(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a := newFake(t), newTape(), id("a")
	f.set(a, inspectOf(a, fakeState{"n", "running", time.Now(), time.Time{}}))
	f.start()
	w, _ := watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "synced", 1)
	broken := []string{
		"garbage", "{", "null", `{"Type":5}`, `{"Type":"container","Action":"start","Actor":{"ID":"../x"}}`,
		`{"Type":"container","Action":"start","Actor":{"ID":"` + strings.Repeat("a", maxEvent) + `"}}`,
		`{"Type":"network","Action":"connect","Actor":{"ID":"x","Attributes":{"container":"short"}}}`,
	}
	for _, line := range broken {
		f.tell(time.Now(), line)
	}
	f.event(time.Now(), "exec_create: sh -c secret", a, "")
	f.event(time.Now(), "top", a, "")
	f.event(time.Now(), "health_status: unhealthy", a, "")
	r.waitFor(t, "health_status "+a, 1)
	require.Equal(t, []string{"health_status"}, r.actions(a))
	require.Equal(t, "unhealthy", r.of(a)[0].Health)
	require.Equal(t, uint64(len(broken)), w.Stats().Malformed)
	require.Equal(t, uint64(1), w.Stats().Connections)
}

// Many events of one container that wait need one inspect.
func TestBurstNeedsOneInspect(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a, b := newFake(t), newTape(), id("a"), id("b")
	f.set(a, inspectOf(a, fakeState{"n", "running", time.Now(), time.Time{}}))
	f.set(b, inspectOf(b, fakeState{"n", "running", time.Now(), time.Time{}}))
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	r.block = func(e Event) {
		if e.ID == b {
			<-gate
		}
	}
	f.start()
	w, _ := watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "synced", 1)
	f.event(time.Now(), "kill", b, `,"signal":"15"`)
	for range 100 {
		f.event(time.Now(), "kill", a, `,"signal":"1"`)
	}
	f.tell(time.Now(), "the end") // when it was read, all before it was
	testkit.Eventually(t, patience, func() error {
		if w.Stats().Malformed == 0 {
			return errNotYet
		}
		return nil
	})
	open()
	r.waitFor(t, "kill "+a, 100)
	require.Equal(t, 2, f.times("/containers/"+a+"/json"), "one for the list, one for the burst")
	require.Equal(t, "15", r.of(b)[0].Signal)
}

// Questions are answered, once, and not faster than the engine can bear.
func TestWant(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f, r, a := newFake(t), newTape(), id("a")
	f.start()
	w, _ := watch(t, WatcherOptions{Endpoint: f.endpoint()}, r)
	r.waitFor(t, "synced", 1)
	f.set(a, inspectOf(a, fakeState{"n", "running", time.Now(), time.Time{}})) // without an event
	w.Want(a)
	r.waitFor(t, "put "+a, 1)
	w.Want("short")
	w.Want("../" + a)
	const strangers = 2 * wantsBurst
	begun := time.Now()
	for i := range strangers {
		w.Want(id(fmt.Sprintf("f%02d", i)))
	}
	for i := range strangers {
		r.waitFor(t, "absent "+id(fmt.Sprintf("f%02d", i)), 1)
	}
	require.GreaterOrEqual(t, time.Since(begun), time.Second*(strangers-wantsBurst)/wantsPerSecond)
	require.Equal(t, strangers, strings.Count(strings.Join(r.all(), "\n"), "absent"))
	f.event(time.Now(), "pause", a, "")
	r.waitFor(t, "pause "+a, 1)
}

func TestWantsAreBounded(t *testing.T) {
	w := newWants()
	for i := range maxWants {
		require.True(t, w.add(id(fmt.Sprint(i))))
	}
	require.True(t, w.add(id("0")), "is there already")
	require.False(t, w.add(id("ffff")))
}

func TestOptions(t *testing.T) {
	_, err := NewWatcher(WatcherOptions{Endpoint: "ftp://x"})
	require.ErrorContains(t, err, "make docker client")
	_, err = NewWatcher(WatcherOptions{Endpoint: DefaultEndpoint, EventTypes: []string{"volume"}})
	require.ErrorContains(t, err, `"volume"`)
	w, err := NewWatcher(WatcherOptions{Endpoint: "http://127.0.0.1:2375", EventTypes: []string{"image"}})
	require.NoError(t, err)
	require.Equal(t, []string{"container", "image"}, w.options.EventTypes)
}
