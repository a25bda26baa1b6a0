package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Every kind of answer, from a real engine.
func TestRealAnswers(t *testing.T) {
	docker := testkit.Docker(t)
	c := docker.RunContainer(t, testkit.ContainerSpec{Cmd: []string{"sh", "-c", "echo hello; exec sleep 1000"}, Labels: map[string]string{"l": "v"}})
	testkit.VerifyNoLeaks(t)
	e := openEngine(t, docker.Socket(), nil)
	said, err := docker.Client().ServerVersion(t.Context(), client.ServerVersionOptions{})
	require.NoError(t, err)
	api, err := e.API(t.Context())
	require.NoError(t, err)
	require.Equal(t, engine.API{Newest: said.APIVersion, Oldest: said.MinAPIVersion}, api)
	version, err := api.Pick("", "1.56")
	require.NoError(t, err)

	in := func(target string) engine.Request { return get("/v" + version + target) }
	for _, target := range []string{
		"/info", "/version", "/containers/json?all=1", "/containers/" + c.ID + "/json", "/containers/" + c.Name + "/top",
		"/containers/" + c.ID + "/stats?stream=0&one-shot=1", "/images/json", "/images/" + testkit.Busybox + "/json",
		"/images/" + testkit.Busybox + "/history", "/volumes", "/networks", "/networks/none", "/system/df",
	} {
		body, err := text(e.Shared(t.Context(), in(target)))
		require.NoError(t, err, target)
		require.True(t, json.Valid([]byte(body)), target)
	}
	ping := engine.Request{Op: "ping", Method: "HEAD", Target: "/_ping", Content: engine.Text}
	response, err := e.Do(t.Context(), ping)
	require.NoError(t, err)
	require.Equal(t, said.APIVersion, response.Header.APIVersion)
	require.Equal(t, "linux", response.Header.OSType)
	require.NoError(t, response.Body.Close())

	_, err = text(e.Do(t.Context(), in("/containers/nosuch/json")))
	var status *engine.StatusError
	require.ErrorAs(t, err, &status)
	require.Equal(t, engine.StatusError{Status: 404, Message: "No such container: nosuch"}, *status)

	stats := in("/containers/" + c.ID + "/stats?stream=1")
	stats.Content, stats.Stream = engine.JSONStream, true
	logs := in("/containers/" + c.ID + "/logs?stdout=1&follow=1")
	logs.Content, logs.Stream = engine.Raw, true
	for _, r := range []engine.Request{stats, logs} {
		response, err := e.Do(t.Context(), r)
		require.NoError(t, err, r.Target)
		part := make([]byte, 8)
		_, err = response.Body.Read(part)
		require.NoError(t, err, r.Target)
		require.NoError(t, response.Body.Close())
	}
}

// The catalog means what dockerd means, by every way to name a container.
func TestRealResolve(t *testing.T) {
	docker := testkit.Docker(t)
	first := docker.RunContainer(t, testkit.ContainerSpec{Name: "resolve", Labels: map[string]string{"l": "v"}})
	// Of 17 ids two begin with the same digit.
	var made []string
	for n := range 17 {
		name := fmt.Sprintf("resolve-%d-%s", n, first.ID[:12])
		if n == 0 {
			name = first.ID[:6] // a name that is a prefix as well
		}
		created, err := docker.Client().ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Name: name, Config: &container.Config{Image: testkit.Busybox, Labels: map[string]string{"dev.tallyman.test": "resolve"}},
		})
		require.NoError(t, err)
		t.Cleanup(func() {
			_, err := docker.Client().ContainerRemove(t.Context(), created.ID, client.ContainerRemoveOptions{Force: true})
			if err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		})
		made = append(made, created.ID)
	}
	testkit.VerifyNoLeaks(t)
	e := openEngine(t, docker.Socket(), nil)
	catalog := e.Catalog()
	defer catalog.Hold()()
	refs := []string{
		first.ID, first.Name, first.ID[:12], first.ID[:6], first.ID[:7], first.ID + "0", strings.ToUpper(first.ID[:12]),
		first.Name[:9], "nosuch", made[3], sharedDigit(made), "-", "_x",
	}
	for _, ref := range refs {
		body, directErr := text(e.Do(t.Context(), get("/v1.41/containers/"+url.PathEscape(ref)+"/json")))
		got, err := catalog.Resolve(t.Context(), ref, nil)
		if directErr != nil {
			var direct, ours *engine.StatusError
			require.ErrorAs(t, directErr, &direct, ref)
			require.ErrorAs(t, err, &ours, ref)
			require.Equal(t, *direct, *ours, ref)
			continue
		}
		require.NoError(t, err, ref)
		var seen container.InspectResponse
		require.NoError(t, json.Unmarshal([]byte(body), &seen))
		require.Equal(t, seen.ID, got.ID, ref)
		require.Equal(t, seen.Name, "/"+got.Name)
		require.Equal(t, seen.Config.Labels, got.Labels)
		require.Equal(t, seen.Config.Image, got.Image)
		require.Equal(t, seen.Image, got.ImageID)
		require.Equal(t, string(seen.State.Status), got.State)
	}
}

func sharedDigit(ids []string) string {
	seen := map[byte]bool{}
	for _, id := range ids {
		if seen[id[0]] {
			return id[:1]
		}
		seen[id[0]] = true
	}
	return ""
}

// A held catalog follows a real container through its life.
func TestRealCatalogFollows(t *testing.T) {
	docker := testkit.Docker(t)
	_, err := docker.BusyboxImage(t.Context())
	require.NoError(t, err)
	testkit.VerifyNoLeaks(t)
	e := openEngine(t, docker.Socket(), nil)
	catalog := e.Catalog()
	defer catalog.Hold()()
	waitFor(t, catalog.IsLive)
	lists := e.Stats().Lists
	c := docker.RunContainer(t, testkit.ContainerSpec{Name: "follow", Labels: map[string]string{"name": "a lie", "image": "another"}})
	until := func(name, state string) {
		t.Helper()
		testkit.Eventually(t, patience, func() error {
			for _, got := range all(t, catalog) { // never a miss, thus never a list
				switch {
				case got.ID != c.ID:
				case got.Name == name && got.State == state && got.Image == testkit.Busybox && got.Labels["name"] == "a lie":
					return nil
				default:
					return fmt.Errorf("%w: %+v, live %t", errNotYet, got, catalog.IsLive())
				}
			}
			if state == "" {
				return nil
			}
			return errNotYet
		})
	}
	until(c.Name, "running")
	_, err = docker.Client().ContainerRename(t.Context(), c.ID, client.ContainerRenameOptions{NewName: c.Name + "-b"})
	require.NoError(t, err)
	until(c.Name+"-b", "running")
	require.NoError(t, c.Stop(t.Context()))
	until(c.Name+"-b", "exited")
	require.NoError(t, c.Remove(t.Context()))
	until("", "")
	require.LessOrEqual(t, e.Stats().Lists, lists+1, "beyond the one a minute")
}

func all(t *testing.T, catalog *engine.Catalog) []engine.Container {
	t.Helper()
	list, err := catalog.All(t.Context())
	require.NoError(t, err)
	return list
}

// privateEngine is one that no other test listens to and that may be stopped.
func privateEngine(t *testing.T) (docker *testkit.Engine, restart func() func()) {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "dockerd", "ip")
	dir := t.TempDir()
	docker, err := testkit.StartEngine(t.Context(), dir, t.Logf)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := docker.Stop(); err != nil {
			t.Error(err)
		}
	})
	return docker, func() func() {
		require.NoError(t, docker.Stop())
		return func() {
			docker, err = testkit.StartEngine(t.Context(), dir, t.Logf)
			require.NoError(t, err)
		}
	}
}

// The engine itself counts who listens: one for all of ours, none when the
// last has left an idle stream, whichever way it left.
func TestRealListenersEnd(t *testing.T) {
	docker, _ := privateEngine(t)
	testkit.VerifyNoLeaks(t)
	e := openEngine(t, docker.Socket(), nil)
	listeners := func(want int) {
		t.Helper()
		testkit.Eventually(t, patience, func() error {
			info, err := docker.Client().Info(t.Context(), client.InfoOptions{})
			if err == nil && info.Info.NEventsListener != want {
				err = fmt.Errorf("%w: %d listeners", errNotYet, info.Info.NEventsListener)
			}
			return err
		})
	}
	listeners(0)
	var subs []*engine.Subscription
	for range 10 {
		subs = append(subs, subscribe(t, e))
	}
	listeners(1)
	for _, sub := range subs {
		sub.Close()
	}
	listeners(0)

	own, err := e.Do(t.Context(), engine.Request{Op: "events", Method: "GET", Target: "/v1.41/events?since=1", Content: engine.JSONStream, Stream: true})
	require.NoError(t, err)
	listeners(1)
	require.NoError(t, own.Body.Close())
	listeners(0)

	release := e.Catalog().Hold()
	listeners(1)
	release()
	listeners(0)

	subscribe(t, e)
	listeners(1)
	e.Close()
	listeners(0)
}

// dockerd ends and comes back while 16 clients ask all the time: they are told
// that it is away, then are answered again, and never with something old.
func TestRealRestart(t *testing.T) {
	docker, restart := privateEngine(t)
	testkit.VerifyNoLeaks(t)
	e := openEngine(t, docker.Socket(), nil)
	before, err := e.API(t.Context())
	require.NoError(t, err)
	defer e.Catalog().Hold()()
	waitFor(t, e.Catalog().IsLive)
	sub := subscribe(t, e)

	const clients = 16
	var served, refused [clients]atomic.Uint64
	done := make(chan struct{})
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := askTime(t, e); err == nil {
					served[n].Add(1)
				} else if errors.Is(err, engine.ErrUnavailable) {
					refused[n].Add(1)
				} else {
					t.Errorf("client %d: %v", n, err)
					return
				}
			}
		})
	}
	moved := func(counts *[clients]atomic.Uint64) {
		t.Helper()
		var from [clients]uint64
		for n := range counts {
			from[n] = counts[n].Load()
		}
		waitFor(t, func() bool {
			for n := range counts {
				if t.Failed() || counts[n].Load() > from[n] {
					continue
				}
				return false
			}
			return true
		})
	}
	moved(&served)
	start := restart()
	moved(&refused)
	_, err = e.API(t.Context())
	require.ErrorIs(t, err, engine.ErrUnavailable)
	for err = nil; err == nil; {
		_, err = sub.Next(t.Context())
	}
	require.ErrorIs(t, err, engine.ErrUnavailable)
	start()
	moved(&served)
	close(done)
	wg.Wait()
	after, err := e.API(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
	subscribe(t, e)
	waitFor(t, e.Catalog().IsLive)
}

// askTime asks for the engine's clock and checks that the answer is not older
// than what may be shared; the clock is this machine's.
func askTime(t *testing.T, e *engine.Engine) error {
	begin := time.Now()
	body, err := text(e.Shared(t.Context(), get("/v1.41/info")))
	if err != nil {
		return err
	}
	var info struct{ SystemTime time.Time }
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		return err
	}
	if age := begin.Sub(info.SystemTime); age > 5*time.Second {
		t.Errorf("answer is %v older than the question", age)
	}
	return nil
}
