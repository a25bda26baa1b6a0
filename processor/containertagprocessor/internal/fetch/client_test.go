package fetch_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/fetch"
)

const limit = 1 << 10

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	testkit.VerifyNoLeaks(t)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// A proxy of the environment must not see link-local requests. It is the first
// test because Go looks at the environment once in a process: a client that does
// would otherwise have done so before the proxy was set.
func TestNoProxy(t *testing.T) {
	proxy := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("proxy")) })
	t.Setenv("HTTP_PROXY", proxy)
	t.Setenv("http_proxy", proxy)
	// Of this host, as 127.0.0.1 is, but not exempt from proxies as that is.
	// Nobody listens at port 1.
	_, err := fetch.New(10*time.Second, limit).Do(t.Context(), fetch.Request{URL: "http://0.0.0.0:1/"})
	if err == nil {
		t.Error("the proxy has answered")
	}
}

func TestAnswer(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "PUT" || r.Header.Get("Metadata") != "true" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		w.Header().Set("Kind", "small")
		_, _ = w.Write([]byte(strings.Repeat("x", limit)))
	})
	answer, err := fetch.New(10*time.Second, limit).Do(t.Context(), fetch.Request{
		Method: "PUT", URL: url, Header: map[string]string{"Metadata": "true"},
	})
	if err != nil || len(answer.Body) != limit || answer.Header.Get("Kind") != "small" {
		t.Fatalf("%d bytes, %v, %v", len(answer.Body), answer.Header, err)
	}
}

// refusals is a service none of whose answers is one.
func refusals(asked chan<- string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		switch r.URL.Path {
		case "/elsewhere":
			http.Redirect(w, r, "/target", http.StatusFound)
		case "/large":
			_, _ = w.Write([]byte(strings.Repeat("x", limit+1)))
		case "/header":
			w.Header().Set("Large", strings.Repeat("x", 64<<10))
		case "/slow":
			<-r.Context().Done()
		case "/dripping":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}
}

func TestRefusals(t *testing.T) {
	asked := make(chan string, 8) // more than are asked below
	url := serve(t, refusals(asked))
	client := fetch.New(200*time.Millisecond, limit)
	f := func(path string, want func(error) bool) {
		t.Helper()
		answer, err := client.Do(t.Context(), fetch.Request{URL: url + path})
		if err == nil {
			t.Fatalf("%s: %d bytes", path, len(answer.Body))
		}
		if !want(err) || strings.Count(err.Error(), url+path) != 1 {
			t.Errorf("%s: %v", path, err)
		}
	}
	hasCode := func(code int) func(error) bool {
		return func(err error) bool {
			var status *fetch.StatusError
			return errors.As(err, &status) && status.Code == code
		}
	}
	isSlow := func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }
	f("/nothing", hasCode(http.StatusNotFound))
	f("/elsewhere", hasCode(http.StatusFound))
	f("/large", func(err error) bool { return errors.Is(err, fetch.ErrTooLarge) })
	f("/header", func(err error) bool { return strings.Contains(err.Error(), "header") })
	f("/slow", isSlow)
	f("/dripping", isSlow)
	close(asked)
	for path := range asked {
		if path == "/target" {
			t.Error("followed a redirect")
		}
	}
}

func TestNobodyThere(t *testing.T) {
	url := serve(t, func(http.ResponseWriter, *http.Request) {})
	f := func(bad string) {
		t.Helper()
		if _, err := fetch.New(10*time.Second, limit).Do(t.Context(), fetch.Request{URL: bad}); err == nil {
			t.Errorf("%s has answered", bad)
		}
	}
	f("http://127.0.0.1:1/")
	f("://")
	f(strings.Replace(url, "http", "gopher", 1))
}
