package engine_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Sixteen clients that ask every 12 ms cost the engine one answer in 100 ms.
func TestSharedByMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		e := openPiped(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			<-time.After(2 * time.Millisecond)
			writeJSON(w, `[]`)
		})
		start := time.Now()
		const clients, rounds = 16, 50
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for range rounds {
					if _, err := text(e.Shared(t.Context(), get("/v1.41/containers/json"))); err != nil {
						t.Error(err)
					}
					<-time.After(10 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		t.Logf("%d lists for %d requests in %v of the fake clock", asked.Load(), clients*rounds, time.Since(start))
		require.LessOrEqual(t, asked.Load(), 1+int64(time.Since(start)/engine.ShareFor))
		require.Equal(t, clients*rounds-asked.Load(), int64(e.Stats().Shared))
	})
}

// The same over a real socket and as fast as it goes: everybody gets the whole.
func TestSharedLists(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	list := "[" + strings.Repeat(`{"Id":"x"},`, 5000) + "{}]"
	f.on("GET /v1.41/containers/json", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, list) })
	const clients, rounds = 16, 50
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range rounds {
				body, err := text(e.Shared(t.Context(), get("/v1.41/containers/json")))
				if err != nil || body != list {
					t.Errorf("%d bytes, %v", len(body), err)
				}
			}
		})
	}
	wg.Wait()
	asked := f.count("GET /v1.41/containers/json")
	t.Logf("%d lists for %d requests", asked, clients*rounds)
	require.Less(t, asked, clients*rounds)
	require.Equal(t, uint64(clients*rounds-asked), e.Stats().Shared)
	waitFor(t, func() bool { return e.Held() == 0 })
}

// The window, to the nanosecond: counted from when the engine is asked, also
// where the answer takes longer than the window.
func TestSharedWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		answerAfter := time.Duration(0)
		e := openPiped(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			<-time.After(answerAfter)
			writeJSON(w, `{}`)
		})
		ask := func() {
			_, err := text(e.Shared(t.Context(), get("/x")))
			require.NoError(t, err)
		}
		start := time.Now()
		at := func(d time.Duration) { <-time.After(d - time.Since(start)) }
		ask()
		at(engine.ShareFor - 1)
		ask()
		require.Equal(t, int64(1), asked.Load())
		at(engine.ShareFor)
		ask()
		require.Equal(t, int64(2), asked.Load())

		at(time.Second)
		answerAfter = 150 * time.Millisecond
		var wg sync.WaitGroup
		wg.Go(ask)
		at(time.Second + 50*time.Millisecond)
		wg.Go(ask)
		synctest.Wait()
		require.Equal(t, int64(3), asked.Load())
		at(time.Second + 100*time.Millisecond) // still unanswered, but asked too long ago
		wg.Go(ask)
		synctest.Wait()
		require.Equal(t, int64(4), asked.Load())
		wg.Wait()
		require.Equal(t, 1250*time.Millisecond, time.Since(start))
		at(2 * time.Second)
		require.Zero(t, e.Held())
	})
}

// openPiped connects a client with a server in memory, for use in a bubble.
func openPiped(t *testing.T, handler http.HandlerFunc) *engine.Engine {
	t.Helper()
	listener := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: handler}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	e, err := engine.New(engine.Options{Upstream: "unix:///nowhere"})
	require.NoError(t, err)
	e.DialWith(func(ctx context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case listener.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	t.Cleanup(func() {
		e.Close()
		_ = server.Close()
		wg.Wait()
	})
	return e
}

// pipes is a listener of connections in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// A request that still waits for its turn can be joined however long it waits.
func TestSharedWhileQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		proceed := make(chan struct{})
		e := openPiped(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/x" {
				asked.Add(1)
			} else {
				<-proceed
			}
			writeJSON(w, `{}`)
		})
		var wg sync.WaitGroup
		for range 16 { // all places
			wg.Go(func() { _, _ = text(e.Do(t.Context(), get("/full"))) })
		}
		synctest.Wait()
		for range 3 {
			wg.Go(func() {
				_, err := text(e.Shared(t.Context(), get("/x")))
				if err != nil {
					t.Error(err)
				}
			})
			<-time.After(time.Second)
		}
		close(proceed)
		wg.Wait()
		require.Equal(t, int64(1), asked.Load())
	})
}

// One who leaves does not take the answer from the others; the last one ends
// the request.
func TestSharedLeaving(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	proceed, gone := make(chan struct{}), make(chan struct{})
	f.on("GET /x", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-proceed:
			writeJSON(w, `{}`)
		case <-r.Context().Done():
			close(gone)
		}
	})
	first, leaveFirst := context.WithCancel(t.Context())
	second, leaveSecond := context.WithCancel(t.Context())
	defer leaveSecond()
	results := make(chan error, 2)
	ask := func(ctx context.Context) {
		_, err := text(e.Shared(ctx, get("/x")))
		results <- err
	}
	// Held up before the engine is asked, thus joined no matter how slow this is.
	go ask(first)
	waitFor(t, func() bool { return f.count("GET /x") == 1 })
	go ask(second)
	waitFor(t, func() bool { return e.Stats().Shared == 1 || f.count("GET /x") == 2 })
	leaveFirst()
	require.ErrorIs(t, <-results, context.Canceled)
	close(proceed)
	require.NoError(t, <-results)

	proceed = make(chan struct{})
	third, leaveThird := context.WithCancel(t.Context())
	before := f.count("GET /x")
	// The window of the answer above must have passed.
	waitFor(t, func() bool { return e.Held() == 0 })
	go ask(third)
	waitFor(t, func() bool { return f.count("GET /x") == before+1 })
	leaveThird()
	require.ErrorIs(t, <-results, context.Canceled)
	<-gone
	waitFor(t, func() bool { requests, _ := e.Busy(); return requests == 0 })
}

// A long answer goes to one as it comes; the others ask for themselves, and
// nothing of it is kept.
func TestSharedLongAnswer(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	long := "[" + strings.Repeat(" ", engine.MaxShared) + "]"
	f.on("GET /long", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, long) })
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			body, err := text(e.Shared(t.Context(), get("/long")))
			if err != nil || body != long {
				t.Errorf("%d of %d bytes, %v", len(body), len(long), err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 3, f.count("GET /long"))
	require.Zero(t, e.Held())

	// Closed before its end, the request ends too.
	gone := make(chan struct{})
	f.on("GET /endless", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, strings.Repeat(" ", 64<<10))
		}
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	response, err := e.Shared(ctx, get("/endless"))
	require.NoError(t, err)
	cancel()
	_, err = io.Copy(io.Discard, response.Body)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, response.Body.Close())
	require.NoError(t, response.Body.Close())
	<-gone
	waitFor(t, func() bool { requests, _ := e.Busy(); return requests == 0 && e.Held() == 0 })
}

// Bytes that slow readers hold are bounded all together; beyond that answers
// are not kept, but come nevertheless.
func TestSharedBytesAreBounded(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := startFake(t)
	e := f.open(nil)
	body := "[" + strings.Repeat(" ", engine.MaxShared/2) + "]"
	var open []*engine.Response
	const answers = 2*engine.MaxHeld/(engine.MaxShared/2) - 2 // more than fit, in fewer than the places
	for i := range answers {
		target := "/" + strings.Repeat("x", i+1)
		f.on("GET "+target, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, body) })
		response, err := e.Shared(t.Context(), get(target))
		require.NoError(t, err)
		require.LessOrEqual(t, e.Held(), int64(engine.MaxHeld))
		open = append(open, response)
	}
	requests, _ := e.Busy()
	require.Positive(t, requests, "the last ones come straight from the engine")
	require.Positive(t, e.Held())
	for _, response := range open {
		got, err := text(response, nil)
		require.NoError(t, err)
		require.Equal(t, len(body), len(got))
	}
	waitFor(t, func() bool { requests, _ := e.Busy(); return requests == 0 && e.Held() == 0 })
}
