package request

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/vectors"
)

// patience is how long a test waits for what has to happen; nothing takes so
// long unless it never happens.
const patience = 20 * time.Second

// gateServer is a real net/http.Server on a socket, with a gate in front of
// each connection and a witness between gate and server.
type gateServer struct {
	http.Server
	path string

	mu       sync.Mutex
	given    []byte          // all bytes that net/http read
	requests []*http.Request // all requests that it made of them
	ends     []error         // what ended the request of each blocking handler
}

type gateKey struct{}

// witness records what net/http reads.
type witness struct {
	*Gate
	server *gateServer
}

func (w witness) Read(p []byte) (int, error) {
	n, err := w.Gate.Read(p)
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	w.server.given = append(w.server.given, p[:n]...)
	return n, err
}

type witnessListener struct {
	net.Listener
	server *gateServer
	limits Limits
}

func (l witnessListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return witness{NewGate(conn, l.limits), l.server}, nil
}

// newServer starts a server that answers as answer says; when block is set,
// streams last until their context ends.
func newServer(t testing.TB, limits Limits, block bool, configure ...func(*gateServer)) *gateServer {
	t.Helper()
	s := &gateServer{path: filepath.Join(t.TempDir(), "docker.sock")}
	listener, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	s.ErrorLog = log.New(io.Discard, "", 0)
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, gateKey{}, conn.(witness).Gate)
	}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, block) })
	for _, f := range configure {
		f(s)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(witnessListener{listener, s, limits})
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return s
}

func (s *gateServer) serve(w http.ResponseWriter, r *http.Request, block bool) {
	request, refusal := r.Context().Value(gateKey{}).(*Gate).Pop()
	s.mu.Lock()
	s.requests = append(s.requests, r)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	status := answer(request, refusal)
	if block && refusal == nil && request.Stream() {
		w.WriteHeader(status)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		s.mu.Lock()
		s.ends = append(s.ends, r.Context().Err())
		s.mu.Unlock()
		return
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "%s %s", request.Operation, request.Ref)
}

// ended returns how many blocking handlers have ended.
func (s *gateServer) ended() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ends)
}

// check fails the test if net/http saw anything but want heads of our own.
func (s *gateServer) check(t testing.TB, want int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	given, heads := string(s.given), 0
	for given != "" {
		head, rest, ok := strings.Cut(given, "\r\n\r\n")
		if !ok || !isSynthetic(head+"\r\n\r\n") {
			t.Fatalf("net/http was given %q", given)
		}
		given, heads = rest, heads+1
	}
	if heads != want || len(s.requests) != want {
		t.Errorf("net/http was given %d heads and made %d requests, want %d", heads, len(s.requests), want)
	}
	for _, r := range s.requests {
		isPlain := r.RequestURI == "/" && r.Host == "docker" && r.ContentLength == 0 && r.Body == http.NoBody && r.UserAgent() == ""
		if !isPlain || r.Method != "GET" && r.Method != "HEAD" || len(r.Header)-len(r.Header["Connection"]) != 0 {
			t.Errorf("net/http saw %s %s %v", r.Method, r.RequestURI, r.Header)
		}
	}
}

func isSynthetic(head string) bool {
	for i := range 8 {
		if head == syntheticHead(&Request{Head: i&1 != 0, HTTP10: i&2 != 0, Close: i&4 != 0}) {
			return true
		}
	}
	return false
}

// client is the other end of a connection.
type client struct {
	*net.UnixConn
	t testing.TB
	r *bufio.Reader
}

func (s *gateServer) dial(t testing.TB) *client {
	t.Helper()
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{conn.(*net.UnixConn), t, bufio.NewReader(conn)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("send %.60q: %v", text, err)
	}
}

// answer reads one response and its body; method is that of the request.
func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	response, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read an answer: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("read a body: %v", err)
	}
	return response, string(body)
}

func (c *client) wantStatus(method string, status int) *http.Response {
	c.t.Helper()
	response, body := c.answer(method)
	if response.StatusCode != status {
		c.t.Errorf("status %d (%s), want %d", response.StatusCode, body, status)
	}
	return response
}

// wantEnd fails the test unless the server ends the connection in good order.
func (c *client) wantEnd() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Errorf("%q and %v, want the end of the connection", rest, err)
	}
}

// wantOpen fails the test unless another request on the connection is answered.
func (c *client) wantOpen() {
	c.t.Helper()
	c.send(vectors.PlainHead("GET", "/_ping"))
	c.wantStatus("GET", 200)
}

// Every row of the tables over a socket: the status codes, what becomes of the
// connection, and that net/http never sees a byte of the client.
func TestVectorsOverSocket(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	for _, v := range append(vectors.Endpoints(t), vectors.Attacks(t)...) {
		t.Run(v.ID, func(t *testing.T) {
			s := newServer(t, Limits{HeadTimeout: patience}, false)
			c := s.dial(t)
			c.send(v.Head)
			method, _, _ := strings.Cut(v.Head, " ")
			var status int
			if _, err := fmt.Sscan(decidedHere(v), &status); err != nil {
				t.Fatal(err)
			}
			response := c.wantStatus(method, status)
			if v.ID == "A063" {
				c.wantStatus(method, 403)
				c.wantOpen()
				s.check(t, 3)
				return
			}
			isForm := status == 400 && operationOf[v.ID] == ""
			if isForm && !response.Close {
				t.Error("the connection stays open after a refusal for the form")
			}
			if response.Close {
				c.wantEnd()
				s.check(t, 1)
				return
			}
			c.wantOpen()
			s.check(t, 2)
		})
	}
}

// How the bytes of a head arrive makes no difference, and requests that come
// at once are answered in their order.
func TestGatePipelining(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	heads := []string{
		vectors.PlainHead("GET", "/containers/one/json"), vectors.PlainHead("POST", "/containers/two/start"), vectors.PlainHead("GET", "/containers/three/json"),
		vectors.PlainHead("HEAD", "/_ping"), "GET /containers/four/json HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", vectors.PlainHead("GET", "/containers/five/json", "Connection: close"),
	}
	stream := strings.Join(heads, "") + vectors.PlainHead("GET", "/containers/never/json")
	for _, step := range []int{1, 3, 64, len(stream)} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			s := newServer(t, Limits{}, false)
			c := s.dial(t)
			for rest := []byte(stream); len(rest) > 0; {
				n := min(step, len(rest))
				if _, err := c.Write(rest[:n]); err != nil {
					break // the server ends the connection before the last request
				}
				rest = rest[n:]
			}
			want := []string{"container.inspect one", " ", "container.inspect three", "", "container.inspect four", "container.inspect five"}
			for i, head := range heads {
				method, _, _ := strings.Cut(head, " ")
				if _, body := c.answer(method); body != want[i] {
					t.Errorf("answer %d is %q, want %q", i, body, want[i])
				}
			}
			s.check(t, len(heads))
		})
	}
}

// HTTP/1.0 is answered as such, and HEAD without a body.
func TestGateProtocol(t *testing.T) {
	f := func(head string, wantClose bool, wantBody string) {
		t.Helper()
		s := newServer(t, Limits{}, false)
		c := s.dial(t)
		c.send(head)
		method, _, _ := strings.Cut(head, " ")
		response, body := c.answer(method)
		if response.Close != wantClose || body != wantBody {
			t.Errorf("%q: close %v, body %q", head, response.Close, body)
		}
		if wantClose {
			c.wantEnd()
		} else {
			c.wantOpen()
		}
	}
	f(vectors.PlainHead("GET", "/_ping"), false, "ping ")
	f(vectors.PlainHead("GET", "/_ping", "Connection: close"), true, "ping ")
	f(vectors.PlainHead("HEAD", "/_ping"), false, "")
	f(vectors.PlainHead("HEAD", "/_ping", "Connection: close"), true, "")
	f("GET /_ping HTTP/1.0\r\n\r\n", true, "ping ")
	f("GET /_ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, "ping ")
	f("HEAD /_ping HTTP/1.0\r\n\r\n", true, "")
	f("HEAD /_ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, "")
	f(vectors.PlainHead("HEAD", "/info"), false, "")
}

// A refused client that is still sending its body reads the answer, not a
// broken pipe: 1 MiB is more than the buffers of a socket hold.
func TestGateTakesTheRestOfARefusedRequest(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	s := newServer(t, Limits{}, false)
	c := s.dial(t)
	body := bytes.Repeat([]byte(vectors.Smuggled), (maxIgnored-10_000)/len(vectors.Smuggled))
	c.send(vectors.PlainHead("POST", "/containers/create", fmt.Sprintf("Content-Length: %d", len(body))))
	if _, err := c.Write(body); err != nil {
		t.Errorf("send the body: %v", err)
	}
	c.wantStatus("POST", 403)
	c.wantEnd()
	s.check(t, 1)
}
