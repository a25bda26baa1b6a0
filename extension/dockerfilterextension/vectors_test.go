package dockerfilterextension

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/policy"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/vectors"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	hiddenID  = "4f0c1d2e3a4b4f0c1d2e3a4b4f0c1d2e3a4b4f0c1d2e3a4b4f0c1d2e3a4b0001"
	visibleID = "bbbb1d2e3a4b4f0c1d2e3a4b4f0c1d2e3a4b4f0c1d2e3a4b4f0c1d2e3a4b0002"
)

// canonical are the only requests that an engine may ever see: the lines that
// this package's own table makes, and a handful of headers of its own.
var canonical = regexp.MustCompile(`^(GET|HEAD) (/v1\.[0-9]{2})?/(_ping|version|info|events|containers/json|containers/[a-zA-Z0-9_.-]+/(json|stats|top|logs)|` +
	`images/json|images/[a-zA-Z0-9_.:/@-]+/(json|history)|volumes(/[^/?]+)?|networks(/[^/?]+)?)(\?[A-Za-z0-9_.=&%-]*)? HTTP/1\.1$`)

// fakeEngine records what comes and answers what the test wants.
type fakeEngine struct {
	t        testing.TB
	upstream string
	listener net.Listener

	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	wrong    []string
	open     int // streams
	flood    int // events to send at once
	poured   bool
	gen      int // of the engine, as /info says it
	override map[string]string
}

func newFakeEngine(t testing.TB) *fakeEngine {
	t.Helper()
	return newFakeEngineAt(t, filepath.Join(t.TempDir(), "engine.sock"))
}

func newFakeEngineAt(t testing.TB, path string) *fakeEngine {
	t.Helper()
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	e := &fakeEngine{t: t, upstream: "unix://" + path, listener: listener, override: map[string]string{}, conns: map[net.Conn]struct{}{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go e.serve(conn)
		}
	})
	t.Cleanup(func() {
		e.close()
		serving.Wait()
		e.mu.Lock()
		defer e.mu.Unlock()
		require.Empty(t, e.wrong, "not canonical")
	})
	return e
}

// close ends the engine, and its connections with it.
func (e *fakeEngine) close() {
	_ = e.listener.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	for conn := range e.conns {
		_ = conn.Close()
	}
}

// serve reads raw lines: what net/http would repair must not pass unseen.
func (e *fakeEngine) serve(conn net.Conn) {
	defer conn.Close()
	e.mu.Lock()
	e.conns[conn] = struct{}{}
	e.mu.Unlock()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		e.check(canonical.MatchString(line), line)
		for {
			header, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if header == "\r\n" {
				break
			}
			name, _, _ := strings.Cut(header, ":")
			switch name {
			case "Host", "User-Agent", "Accept", "Connection":
			default:
				e.check(false, header)
			}
		}
		if !e.answer(conn, strings.Fields(line)[1]) {
			return
		}
	}
}

func (e *fakeEngine) check(ok bool, what string) {
	if !ok {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.wrong = append(e.wrong, what)
	}
}

func (e *fakeEngine) answer(conn net.Conn, target string) (goOn bool) {
	path := target
	if strings.HasPrefix(path, "/v1.") {
		path = path[len("/v1.41"):]
	}
	path, _, _ = strings.Cut(path, "?")
	e.mu.Lock()
	raw, ok := e.override[path]
	e.mu.Unlock()
	if ok {
		_, _ = io.WriteString(conn, raw)
		return false
	}
	if path == "/events" || strings.HasSuffix(path, "/stats") {
		e.stream(conn, path, strings.Contains(target, "until="))
		return false
	}
	contentType, body := "application/json", bodyOf(path)
	if strings.Contains(target, "limit=") { // as an engine does: the newest, whoever may see it
		body = "[" + body[strings.LastIndex(body, `{"Id"`):]
	}
	if path == "/info" {
		e.mu.Lock()
		body = strings.Replace(body, `"Name":"host"`, fmt.Sprintf(`"Name":"host-%d"`, e.gen), 1)
		e.mu.Unlock()
	}
	if path == "/_ping" {
		contentType = "text/plain; charset=utf-8"
	}
	status := "200 OK"
	if body == "" {
		status, body = "404 Not Found", `{"message":"no such thing"}`
	}
	_, err := fmt.Fprintf(conn, "HTTP/1.1 %s\r\nApi-Version: 1.41\r\nOstype: linux\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		status, contentType, len(body), body)
	return err == nil
}

// stream sends one object and then waits for the other side to go.
func (e *fakeEngine) stream(conn net.Conn, path string, ends bool) {
	e.mu.Lock()
	e.open++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.open--
	}()
	event := func(kind, id string) string {
		return fmt.Sprintf(`{"Type":%q,"Action":"create","scope":"local","time":1795202043,"timeNano":1795202043123456789,"Actor":{"ID":%q,"Attributes":{"name":"web"}}}`, kind, id)
	}
	if path == "/events" && e.flood > 0 {
		e.pour(conn, event("container", visibleID))
		return
	}
	object := event("container", visibleID) + "\n" + event("container", hiddenID) + "\n" + event("volume", "secret-volume")
	if path != "/events" {
		object = fmt.Sprintf(`{"id":%q,"read":"2026-11-21T00:00:00Z","pids_stats":{"current":1}}`, visibleID)
	}
	_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\n\r\n", len(object)+1, object)
	if err == nil && ends {
		_, err = io.WriteString(conn, "0\r\n\r\n")
	}
	if err == nil && !ends {
		_, _ = io.Copy(io.Discard, conn)
	}
}

func (e *fakeEngine) setGeneration(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gen = n
}

// pour sends more events than a client is waited for.
func (e *fakeEngine) pour(conn net.Conn, event string) {
	line := event + strings.Repeat(" ", 4<<10) + "\n"
	_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
	for i := 0; err == nil && i < e.flood; i++ {
		_, err = fmt.Fprintf(conn, "%x\r\n%s\r\n", len(line), line)
	}
	e.mu.Lock()
	e.poured = true
	e.mu.Unlock()
	_, _ = io.Copy(io.Discard, conn)
}

func (e *fakeEngine) streams() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open
}

func bodyOf(path string) string {
	container := func(id, name, label string) string {
		return fmt.Sprintf(`{"Id":%q,"Names":["/%s"],"Image":"bb","ImageID":"sha256:%s","State":"running","Status":"Up 2 hours","Labels":{"seen":%q},"Mounts":[]}`,
			id, name, strings.Repeat("a", 64), label)
	}
	inspect := fmt.Sprintf(`{"Id":%q,"Name":"/web","Created":"2026-11-21T00:00:00Z","State":{"Status":"running"},"Config":{"Env":["A=secret"]}}`, visibleID)
	switch path {
	case "/_ping":
		return "OK"
	case "/version":
		return `{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux"}`
	case "/info":
		return `{"ID":"x","Containers":2,"NCPU":2,"Name":"host"}`
	case "/containers/json":
		return "[" + container(visibleID, "web", "yes") + "," + container(hiddenID, "hidden", "no") + "]"
	case "/images/json":
		return `[{"Id":"sha256:` + strings.Repeat("a", 64) + `","RepoTags":["bb:latest"],"Created":1,"Size":1}]`
	case "/volumes":
		return `{"Volumes":[{"Name":"web","Driver":"local","Scope":"local"}],"Warnings":null}`
	case "/volumes/web":
		return `{"Name":"web","Driver":"local","Scope":"local"}`
	case "/networks":
		return `[{"Id":"` + strings.Repeat("c", 64) + `","Name":"bridge","Driver":"bridge","Scope":"local"}]`
	}
	switch {
	case strings.HasPrefix(path, "/containers/") && strings.HasSuffix(path, "/json"):
		return inspect
	case strings.HasPrefix(path, "/images/"):
		return `{"Id":"sha256:` + strings.Repeat("a", 64) + `","RepoTags":["bb:latest"],"Created":"2026-11-21T00:00:00Z","Architecture":"amd64","Os":"linux","Size":1}`
	case strings.HasPrefix(path, "/networks/"):
		return fmt.Sprintf(`{"Id":"%s","Name":"bridge","Driver":"bridge","Scope":"local","Containers":{%q:{"Name":"web","IPv4Address":"172.17.0.2/16"},%q:{"Name":"hidden","IPv4Address":"172.17.0.3/16"}}}`,
			strings.Repeat("c", 64), visibleID, hiddenID)
	}
	return ""
}

// needsMore are rows that begin with something else than the plain client and
// engine of this test; each has a test of its own below.
var needsMore = map[string]bool{
	"A075": true, "A080": true, "A088": true, "A089": true, "A092": true, "A095": true, "A097": true, "A098": true, "A099": true,
	"A102": true, "A103": true, "A104": true, "A105": true, "A107": true,
}

// Every row of the tables on a raw socket, against an engine that sees nothing
// but canonical requests.
func TestVectors(t *testing.T) {
	e := newFakeEngine(t)
	r := start(t, e.upstream, func(c *Config) { c.Limits.RPS, c.Limits.Burst = 1e6, 1e6 })
	for _, v := range append(vectors.Endpoints(t), vectors.Attacks(t)...) {
		if needsMore[v.ID] {
			continue
		}
		t.Run(v.ID, func(t *testing.T) {
			var want int
			_, err := fmt.Sscan(v.Verdict, &want)
			require.NoError(t, err)
			codes, expected := 1, []int{want}
			if v.ID == "A063" {
				codes, expected = 2, []int{200, 403}
			}
			require.Equal(t, expected, r.send(v.Head, codes), v.Head[:min(len(v.Head), 100)])
		})
	}
}

// limited lets the agent's own profile be, and shows only what is labelled.
func limited(c *Config) {
	c.Clients = []policy.ClientConfig{{
		Match: policy.MatchConfig{HostUID: []int64{0}}, Profile: "monitoring", Visible: policy.VisibleConfig{Label: "seen=yes"},
	}}
	c.DefaultProfile = "none"
}

// What an engine says wrongly never looks like an answer.
func TestWrongAnswers(t *testing.T) {
	e := newFakeEngine(t)
	r := start(t, e.upstream, nil)
	set := func(path, raw string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.override[path] = raw
	}
	head := "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n"
	body := func(text string) string { return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(text), text) }

	set("/events", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
	require.Equal(t, []int{502}, r.send(vectors.PlainHead("GET", "/events"), 1), "A075")
	set("/containers/web/json", body(`{"Id":"`+visibleID+`","Config":{"Env":"A=secret"}}`))
	status, text := r.get("/containers/web/json")
	require.Equal(t, 502, status, "A095: %s", text)
	set("/containers/web/json", strings.Replace(body(`{"Id":"`+visibleID+`"}`), "Content-Length: ", "Content-Length: 1", 1))
	conn := r.raw()
	_, err := io.WriteString(conn, vectors.PlainHead("GET", "/containers/web/json"))
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil { // A099: an error, or a connection that breaks, but no whole answer
		require.Equal(t, 502, answer.StatusCode)
	}
	set("/version", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi")
	status, _ = r.get("/version")
	require.Equal(t, 502, status)
}

// Numbers pass as they are (A097), and who leaves frees the engine (A107).
func TestEventsStream(t *testing.T) {
	e := newFakeEngine(t)
	r := start(t, e.upstream, nil)
	conn := r.raw()
	_, err := io.WriteString(conn, vectors.PlainHead("GET", "/v1.41/events?since=1"))
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	line, err := bufio.NewReader(response.Body).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, `"timeNano":1795202043123456789`)
	require.Equal(t, 1, e.streams())
	require.NoError(t, conn.Close())
	r.eventually(func() error {
		if n := e.streams(); n != 0 {
			return fmt.Errorf("%d streams: %w", n, errNotYet)
		}
		return nil
	})
}

var errNotYet = errors.New("not yet")

// A list of 32 MiB passes through without being held (A098).
func TestHugeList(t *testing.T) {
	e := newFakeEngine(t)
	r := start(t, e.upstream, nil)
	one := fmt.Sprintf(`{"Id":%q,"Names":["/web"],"Labels":{"filler":%q}}`, visibleID, strings.Repeat("x ", 3000))
	const n = 5200
	text := "[" + strings.Repeat(one+",", n-1) + one + "]"
	e.mu.Lock()
	e.override["/containers/json"] = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	e.mu.Unlock()
	require.Greater(t, len(text), 30<<20)
	status, body := r.get("/containers/json")
	require.Equal(t, 200, status)
	require.Equal(t, n, strings.Count(body, visibleID))
	require.NotContains(t, body, "x x x x")
}

// This process is the agent, whom no rule limits: a client of its own is needed
// for those. testkit runs this test again as that client.
func TestHiddenContainers(t *testing.T) {
	if target := clientTarget(); target != "" {
		actAsClient(t, target)
		return
	}
	testkit.NeedRoot(t)
	e := newFakeEngine(t)
	r := start(t, e.upstream, limited)
	for _, c := range []struct {
		path   string
		status int
		has    string
		hasNot string
	}{
		{"/v1.41/containers/hidden/json", 404, "No such container: hidden", hiddenID},                              // A088
		{"/v1.41/containers/4f0c/json", 404, "No such container: 4f0c", hiddenID},                                  // A089
		{"/v1.41/containers/web/json", 200, visibleID, "secret"},                                                   //
		{"/v1.41/containers/json", 200, visibleID, hiddenID},                                                       //
		{"/v1.41/containers/json?filters=%7B%22before%22%3A%5B%22hidden%22%5D%7D", 200, "[]", hiddenID},            // A080
		{"/v1.41/containers/json?limit=1", 200, visibleID, hiddenID},                                               //
		{"/v1.41/networks/bridge", 200, visibleID, hiddenID},                                                       // A092
		{"/v1.41/volumes", 200, `"Volumes":[]`, "web"},                                                             // nobody visible uses it
		{"/v1.41/info", 200, `"Containers":1`, hiddenID},                                                           //
		{"/v1.41/containers/" + hiddenID + "/stats?stream=0", 404, "No such container: " + hiddenID, "pids_stats"}, //
	} {
		status, body := r.getAs(c.path, nil)
		require.Equal(t, c.status, status, "%s: %s", c.path, body)
		require.Contains(t, body, c.has, c.path)
		if c.hasNot != "" && !strings.Contains(c.path, c.hasNot) {
			require.NotContains(t, body, c.hasNot, c.path)
		}
	}
	_, events := r.getAs("/v1.41/events?since=1&until=2", nil)
	require.Contains(t, events, visibleID)
	require.NotContains(t, events, hiddenID)
	require.NotContains(t, events, "secret-volume")
	// A102: somebody no rule is for.
	status, body := r.getAs("/v1.41/containers/json", plainUser())
	require.Equal(t, 403, status, body)
	require.Contains(t, body, `{"message":`)
	reasons := map[string]int{}
	for _, entry := range r.logs.FilterMessage("docker.api.access").All() {
		reasons[entry.ContextMap()["reason"].(string)]++
	}
	require.Equal(t, map[string]int{"client": 1, "hidden": 3}, reasons)
}
