package request

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/vectors"
)

// What the docker CLI 28 and the moby client send.
var (
	listHead = vectors.PlainHead("GET", "/v1.47/containers/json?all=1&limit=10", "User-Agent: Docker-Client/28.0.1 (linux)")
	findHead = vectors.PlainHead("GET", "/v1.47/containers/json?all=1&filters=%7B%22label%22%3A%7B%22com.docker.compose.project%3Dweb%22%3Atrue%7D%7D",
		"User-Agent: Docker-Client/28.0.1 (linux)")
	inspectHead = vectors.PlainHead("GET", "/v1.47/containers/4f0c1d2e3a4b5c6d7e8f9a0b1c2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f/json",
		"User-Agent: Docker-Client/28.0.1 (linux)")
)

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, head string }{{"list", listHead}, {"filters", findHead}, {"inspect", inspectHead}} {
		b.Run(c.name, func(b *testing.B) {
			head := []byte(c.head)
			b.ReportAllocs()
			for b.Loop() {
				if _, refusal, _ := Parse(head); refusal != nil {
					b.Fatal(refusal)
				}
			}
		})
	}
}

func BenchmarkUpstream(b *testing.B) {
	for _, c := range []struct{ name, head string }{{"list", listHead}, {"filters", findHead}, {"inspect", inspectHead}} {
		b.Run(c.name, func(b *testing.B) {
			r, _, _ := Parse([]byte(c.head))
			b.ReportAllocs()
			for b.Loop() {
				if _, target := r.Upstream("1.47", r.Ref); target == "" {
					b.Fatal("no target")
				}
			}
		})
	}
}

// endless is a connection that sends the same head again and again.
type endless struct {
	net.Conn
	head []byte
}

func (e endless) Read(p []byte) (int, error) { return copy(p, e.head), nil }

// BenchmarkGate is the gate alone, with parsing, per request.
func BenchmarkGate(b *testing.B) {
	g := NewGate(endless{head: []byte(inspectHead)}, Limits{})
	buffer := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Read(buffer); err != nil {
			b.Fatal(err)
		}
		if _, refusal := g.Pop(); refusal != nil {
			b.Fatal(refusal)
		}
	}
}

// BenchmarkServer is one request on a kept connection over a socket, with
// net/http reading the client and with the gate between.
func BenchmarkServer(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g, ok := r.Context().Value(gateKey{}).(*Gate); ok {
			g.Pop()
		}
		_, _ = io.WriteString(w, "{}")
	})
	b.Run("plain", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "s")
		listener, err := net.Listen("unix", path)
		if err != nil {
			b.Fatal(err)
		}
		server := &http.Server{Handler: handler}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(listener) }()
		defer func() { _ = server.Close(); <-done }()
		roundTrips(b, (&gateServer{path: path}).dial(b))
	})
	b.Run("gate", func(b *testing.B) {
		s := newServer(b, Limits{HeadTimeout: patience}, false, func(s *gateServer) { s.Handler = handler })
		roundTrips(b, s.dial(b))
	})
}

func roundTrips(b *testing.B, c *client) {
	b.Helper()
	r := bufio.NewReader(c)
	b.ReportAllocs()
	for b.Loop() {
		c.send(inspectHead)
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			b.Fatal(err)
		}
	}
}

// The budget of a request without filters: the text of the head, the Request,
// and its parameters; the gate adds nothing.
func TestAllocations(t *testing.T) {
	f := func(name string, budget float64, run func()) {
		t.Helper()
		if got := testing.AllocsPerRun(200, run); got > budget {
			t.Errorf("%s: %v allocations, budget %v", name, got, budget)
		}
	}
	f("list", 3, func() { Parse([]byte(listHead)) })
	f("inspect", 2, func() { Parse([]byte(inspectHead)) })
	// Half of these are the JSON decoder's, which is not kept: pools are state.
	f("filters", 22, func() { Parse([]byte(findHead)) })
	g := NewGate(endless{head: []byte(inspectHead)}, Limits{})
	buffer := make([]byte, 4096)
	f("gate", 2, func() {
		_, _ = g.Read(buffer)
		g.Pop()
	})
}
