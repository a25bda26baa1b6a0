package guard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/nginxreceiver"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/guard"
)

const (
	soon        = 20 * time.Second // a machine under load
	scrapeEvery = 50 * time.Millisecond
	statusPage  = "Active connections: 1 \nserver accepts handled requests\n 2 3 4 \nReading: 0 Writing: 1 Waiting: 0 \n"
)

// server is a container, or who it would like to have asked.
type server struct {
	*httptest.Server
	asked atomic.Int64
}

func serve(t *testing.T, answer http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func status(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, statusPage) }

func (s *server) address() string { return s.Listener.Addr().String() }

// scraped is what a running receiver has brought.
type scraped struct {
	consumertest.MetricsSink
	log *observer.ObservedLogs
}

// failures are the errors that the receiver has told.
func (s *scraped) failures() []string {
	var all []string
	for _, entry := range s.log.FilterMessage("Failed to fetch nginx stats").All() {
		all = append(all, fmt.Sprint(entry.ContextMap()["error"]))
	}
	return all
}

// scrape starts the real receiver for a container, in the way a label would have it.
func scrape(t *testing.T, at *server, settings map[string]any, isGuarded bool) *scraped {
	t.Helper()
	given := confmap.NewFromStringMap(map[string]any{
		"endpoint": at.URL + "/status", "collection_interval": scrapeEvery.String(), "initial_delay": "0s", "timeout": soon.String(),
	})
	if err := given.Merge(confmap.NewFromStringMap(settings)); err != nil {
		t.Fatal(err)
	}
	factory, host := nginxreceiver.NewFactory(), componenttest.NewNopHost()
	if isGuarded {
		if !guard.Configure(given, factory.CreateDefaultConfig()) {
			t.Fatal("the receiver is not known to be guarded")
		}
		host = guard.New(at.address()).Host(host)
	}
	cfg := factory.CreateDefaultConfig()
	if err := given.Unmarshal(cfg); err != nil {
		t.Fatal(err)
	}
	s := &scraped{}
	set := receivertest.NewNopSettings(factory.Type())
	var core zapcore.Core
	core, s.log = observer.New(zapcore.WarnLevel)
	set.Logger = zap.New(guard.ShortLog(core))
	r, err := factory.CreateMetrics(t.Context(), set, cfg, &s.MetricsSink)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// failsWith waits for two failed scrapes, so that what one of them began is done.
func (s *scraped) failsWith(t *testing.T, text string) {
	t.Helper()
	testkit.Eventually(t, soon, func() error {
		if all := s.failures(); len(all) < 2 {
			return fmt.Errorf("%d failures", len(all))
		}
		return nil
	})
	for _, failure := range s.failures() {
		if !strings.Contains(failure, text) {
			t.Errorf("it told %.300q, want %q in it", failure, text)
		}
	}
	if n := s.DataPointCount(); n != 0 {
		t.Errorf("%d points", n)
	}
}

func TestNginx(t *testing.T) {
	var encoding atomic.Value
	container := serve(t, func(w http.ResponseWriter, r *http.Request) {
		encoding.Store(strings.Join(r.Header.Values("Accept-Encoding"), "|"))
		status(w, r)
	})
	got := scrape(t, container, nil, true)
	testkit.Eventually(t, soon, func() error {
		if n := got.DataPointCount(); n < 14 { // 7 in each scrape
			return fmt.Errorf("%d points", n)
		}
		return nil
	})
	if failures := got.failures(); len(failures) != 0 {
		t.Errorf("it told %q", failures)
	}
	if encoding.Load() != "identity" {
		t.Errorf("asked for encodings %q", encoding.Load())
	}
}

// The container sends the receiver to somebody else, who is never asked. Without
// the guard it would be.
func TestRedirect(t *testing.T) {
	f := func(code int) {
		t.Helper()
		other := serve(t, status)
		container := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/latest/meta-data", code)
		})
		got := scrape(t, container, nil, true)
		got.failsWith(t, fmt.Sprintf("redirect to %q: not followed", other.URL+"/latest/meta-data"))
		if n := other.asked.Load(); n != 0 {
			t.Errorf("%d: the other server was asked %d times", code, n)
		}
		unguarded := scrape(t, container, nil, false)
		testkit.Eventually(t, soon, func() error {
			if unguarded.DataPointCount() == 0 || other.asked.Load() == 0 {
				return fmt.Errorf("without the guard nobody follows either: %q", unguarded.failures())
			}
			return nil
		})
	}
	for _, code := range []int{301, 302, 303, 307, 308} {
		f(code)
	}
}

// Back to its own address is no way out either: it could go on for ever.
func TestRedirectToItself(t *testing.T) {
	container := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/status?again", http.StatusFound)
	})
	scrape(t, container, nil, true).failsWith(t, `redirect to "/status?again": not followed`)
}

// Settings that lead elsewhere lead nowhere: another address is refused, a proxy is
// not used.
func TestSettings(t *testing.T) {
	container, other := serve(t, status), serve(t, status)
	scrape(t, container, map[string]any{"endpoint": other.URL}, true).failsWith(t,
		fmt.Sprintf("send request to %q: this receiver was asked for by a label and may ask its own container only (%s)", other.address(), container.address()))
	got := scrape(t, container, map[string]any{"proxy_url": other.URL}, true)
	testkit.Eventually(t, soon, func() error {
		if got.DataPointCount() == 0 {
			return fmt.Errorf("no points, but %q", got.failures())
		}
		return nil
	})
	if n := other.asked.Load(); n != 0 {
		t.Errorf("the other server was asked %d times", n)
	}
}

const (
	// most is what of an answer may be read.
	most = 1 << 20
	// endless is much more, and little enough for a test that fails.
	endless = 512 << 20
)

// write writes as much, or until nobody reads any more, and returns how much it was.
func write(w http.ResponseWriter, total int64) (written int64) {
	chunk := make([]byte, 64<<10)
	for written < total {
		n, err := w.Write(chunk)
		written += int64(n)
		if err != nil {
			break
		}
	}
	return written
}

// A page without an end is read as far as the guard lets it. What is written is
// more by what sockets hold, and what is allocated by what io.ReadAll adds as it grows.
func TestEndless(t *testing.T) {
	var written atomic.Int64
	container := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := write(w, endless)
		written.Store(max(written.Load(), n))
	})
	allocated := allocates(t, container, "read answer: it is longer than 1 MiB")
	if allocated > 16*most {
		t.Errorf("a scrape allocates %d MiB", allocated>>20)
	}
	if written.Load() > 64*most {
		t.Errorf("%d MiB were written", written.Load()>>20)
	}
}

// The worst that just fits: the receiver quotes all of it, four bytes for one, several
// times. This is what the limit is so low for (31 MiB are allocated, November 2026).
func TestGarbage(t *testing.T) {
	container := serve(t, func(w http.ResponseWriter, _ *http.Request) { write(w, most) })
	allocated := allocates(t, container, "failed to parse response body")
	if allocated > 128*most {
		t.Errorf("a scrape allocates %d MiB", allocated>>20)
	}
}

// allocates returns how many bytes a scrape of the container allocates, in all. The
// heap cannot grow by more.
func allocates(t *testing.T, container *server, failure string) uint64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	scrape(t, container, nil, true).failsWith(t, failure)
	runtime.ReadMemStats(&after)
	scrapes := uint64(container.asked.Load())
	allocated := (after.TotalAlloc - before.TotalAlloc) / scrapes
	t.Logf("%d scrapes, each allocates %.1f MiB; heap %d MiB", scrapes, float64(allocated)/(1<<20), after.HeapSys>>20)
	return allocated
}

// What announces its length is not read at all.
func TestAnnounced(t *testing.T) {
	container := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(endless))
		w.(http.Flusher).Flush()
	})
	scrape(t, container, nil, true).failsWith(t, "read answer: it is longer than")
}

// A compressed answer would unfold behind the guard's back.
func TestEncoded(t *testing.T) {
	container := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		fmt.Fprint(w, statusPage)
	})
	scrape(t, container, nil, true).failsWith(t, `read answer encoded as "gzip": nobody asked for that`)
}

func TestHeaders(t *testing.T) {
	container := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Filler", strings.Repeat("x", 128<<10))
		status(w, r)
	})
	scrape(t, container, nil, true).failsWith(t, "server response headers exceeded 65536 bytes")
}
