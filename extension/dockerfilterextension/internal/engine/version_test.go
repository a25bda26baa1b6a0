package engine_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// The version is asked once in the life of an engine, and again in its next
// one, though nobody tells that it was restarted.
func TestVersionIsRenewed(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			api, err := e.API(t.Context())
			if err != nil || api != (engine.API{Newest: "1.41", Oldest: "1.12"}) {
				t.Errorf("%+v, %v", api, err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, f.count("GET /_ping"))
	require.Equal(t, 1, f.count("GET /version"))

	f.stop()
	f.setVersion("1.44")
	f.start()
	f.on("GET /v1.44/events", f.serveEvents)
	waitFor(t, func() bool { api, err := e.API(t.Context()); return err == nil && api.Newest == "1.44" })
	require.Equal(t, 2, f.count("GET /_ping"))
	subscribe(t, e)
	require.Equal(t, 1, f.count("GET /v1.44/events"))
	require.Zero(t, f.count("GET /v1.41/events"))
}

// Newer engines are asked in the newest version that we know.
func TestVersionIsLimited(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	f.setVersion("1.99")
	e := f.open(func(o *engine.Options) { o.MaxAPI = "1.41" })
	subscribe(t, e)
	require.Equal(t, 1, f.count("GET /v1.41/events"))
}

// An engine that does not say what it speaks, or nothing sensible, is not used.
func TestVersionIsRefused(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	for _, version := range []string{"", "2.0", "1.5", "1.4a"} {
		f.setVersion(version)
		_, err := e.API(t.Context())
		require.ErrorIs(t, err, engine.ErrUnexpected, version)
		_, err = e.Catalog().All(t.Context())
		require.ErrorIs(t, err, engine.ErrUnexpected, version)
	}
}

// The engine is killed and comes back again and again while clients list: who
// is answered has an answer of now, who is not is told that it is away.
func TestRestartsUnderLoad(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	const target = "/v1.41/containers/json"
	f.on("GET "+target, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		now := time.Now().UnixNano()
		_, _ = fmt.Fprint(w, now)
		w.(http.Flusher).Flush() // so that a kill may come in between
		_, _ = io.WriteString(w, " ")
	})
	var mu sync.Mutex
	served, refused := 0, 0
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				begin := time.Now()
				body, err := text(e.Shared(t.Context(), get(target)))
				var at int64
				if err == nil {
					_, err = fmt.Sscan(body, &at)
				}
				mu.Lock()
				switch age := begin.UnixNano() - at; {
				case err == nil && time.Duration(age) <= engine.ShareFor:
					served++
				case err == nil:
					t.Errorf("answer is %v older than the question", time.Duration(age))
				default:
					refused++
					if !isUnavailable(err) {
						t.Error(err)
					}
				}
				mu.Unlock()
			}
		})
	}
	more := func(count *int) {
		t.Helper()
		mu.Lock()
		from := *count
		mu.Unlock()
		waitFor(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return *count > from+16
		})
	}
	for range 10 {
		more(&served)
		f.stop()
		more(&refused)
		f.start()
	}
	more(&served)
	close(done)
	wg.Wait()
}
