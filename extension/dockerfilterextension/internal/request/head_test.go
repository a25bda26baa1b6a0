package request

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/vectors"
)

// refusalOf returns status and reason of what Parse says, "200" without a refusal.
func refusalOf(t *testing.T, head string) (*Request, int, Reason) {
	t.Helper()
	r, refusal, closeAfter := Parse([]byte(head))
	if r == nil {
		t.Fatalf("%.80q: no request", head)
	}
	if closeAfter != r.Close {
		t.Errorf("%.80q: close %v and %v", head, closeAfter, r.Close)
	}
	if refusal == nil {
		return r, http.StatusOK, ""
	}
	if refusal.Message == "" || refusal.Reason == "" || refusal.Status < 400 {
		t.Errorf("%.80q: empty refusal %+v", head, refusal)
	}
	return r, refusal.Status, refusal.Reason
}

// framing returns a check of one head: status, reason, and whether the
// connection ends.
func framing(t *testing.T) func(head string, status int, reason Reason, closes bool) {
	return func(head string, status int, reason Reason, closes bool) {
		t.Helper()
		r, gotStatus, gotReason := refusalOf(t, head)
		if gotStatus != status || gotReason != reason || r.Close != closes {
			t.Errorf("%.100q: %d %q close %v; want %d %q %v", head, gotStatus, gotReason, r.Close, status, reason, closes)
		}
	}
}

func TestFraming(t *testing.T) {
	f := framing(t)
	ok := func(headers ...string) {
		t.Helper()
		f(vectors.PlainHead("GET", "/version", headers...), 200, "", false)
	}
	bad := func(head string) { t.Helper(); f(head, 400, ReasonBadRequest, true) }

	ok()
	ok("X-Foo: bar", "Accept: */*", "Accept-Encoding: gzip", "Content-Type: text/plain")
	ok("Content-Length: 0")
	ok("X-Empty:", "X-Tab:\ta\tb\t", "x-latin: \xe9", "Authorization: Bearer x")
	ok("Connection: keep-alive")
	ok("Connection: keep-alive, X-Foo")

	// Lines and their ends.
	bad("")
	bad("\r\n")
	bad("\r\nGET /version HTTP/1.1\r\nHost: d\r\n\r\n")
	bad("GET /version HTTP/1.1\nHost: d\n\n")
	bad("GET /version HTTP/1.1\r\nHost: d\n\r\n")
	bad("GET /version HTTP/1.1\r\nHost: d\r\n\n")
	bad("GET /version HTTP/1.1\r\nHost: d\r\n")
	bad("GET /version HTTP/1.1\r\nHost: d\rX: y\r\n\r\n")
	bad(vectors.PlainHead("GET", "/version") + "x")
	bad(vectors.PlainHead("GET", "/version", "X: "+strings.Repeat("a", MaxHead)))
	ok("X: " + strings.Repeat("a", MaxHead-len(vectors.PlainHead("GET", "/version", "X: "))))

	// The request line.
	for _, line := range []string{
		"GET  /version HTTP/1.1", "GET /version  HTTP/1.1", "GET /version HTTP/1.1 ", " GET /version HTTP/1.1",
		"GET\t/version HTTP/1.1", "GET /version HTTP/1.2", "GET /version HTTP/2.0", "GET /version HTTP/0.9",
		"GET /version http/1.1", "GET /version", "GET", "get /version HTTP/1.1", "FETCH /version HTTP/1.1",
		"PRI * HTTP/2.0", "GET /a b HTTP/1.1",
	} {
		bad(line + "\r\nHost: d\r\n\r\n")
	}

	// Headers.
	for _, header := range []string{
		"no colon", ": no name", "X Y: z", " X: folded", "\tX: folded", "X : z", "X\x00: z", "X: a\x00b", "X: a\x1fb", "X: a\x7fb", "X\xe9: z",
		"Host: other", "host: docker", "Content-Length: +0", "Content-Length: -1", "Content-Length: 00", "Content-Length: 0, 0", "Content-Length:",
		"Content-Length: 0x0", "Content-Length: 9999999999999999999", "Content-Length: 0\r\nContent-Length: 0",
		"Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding:", "Transfer-Encoding: \x0bchunked",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 0",
	} {
		bad(vectors.PlainHead("GET", "/version", header))
	}
}

// Which answers end the connection.
func TestClose(t *testing.T) {
	f := framing(t)
	// HTTP/1.0 ends the connection unless it is asked not to.
	f("GET /version HTTP/1.0\r\n\r\n", 200, "", true)
	f("GET /version HTTP/1.0\r\nHost: d\r\n\r\n", 200, "", true)
	f("GET /version HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 200, "", false)
	f("GET /version HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", 200, "", true)
	f("POST /version HTTP/1.0\r\n\r\n", 403, ReasonMethod, true)
	f("GET /version HTTP/1.0\r\nHost: d\r\nHost: d\r\n\r\n", 400, ReasonBadRequest, true)
	f("POST /version HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, ReasonBadRequest, true)
	f("GET /version HTTP/1.1\r\n\r\n", 400, ReasonBadRequest, true)
	f(vectors.PlainHead("GET", "/version", "Connection: close", "X-Foo: bar"), 200, "", true)
	f(vectors.PlainHead("GET", "/version", "Connection: CLOSE, X-Foo"), 200, "", true)

	// A refusal that leaves no doubt where the next request begins does not
	// end the connection.
	f(vectors.PlainHead("POST", "/version"), 403, ReasonMethod, false)
	f(vectors.PlainHead("POST", "/version", "Content-Length: 0"), 403, ReasonMethod, false)
	f(vectors.PlainHead("POST", "/version", "Content-Length: 5"), 403, ReasonMethod, true)
	f(vectors.PlainHead("PUT", "/version", "Transfer-Encoding: Chunked"), 403, ReasonMethod, true)
	f(vectors.PlainHead("POST", "/exec/x/start", "Connection: Upgrade", "Upgrade: tcp"), 403, ReasonMethod, true)
	f(vectors.PlainHead("GET", "/secrets"), 403, ReasonNotAllowed, false)
	f(vectors.PlainHead("GET", "/secrets", "Connection: close"), 403, ReasonNotAllowed, true)
	f(vectors.PlainHead("GET", "/containers/json?all=x"), 400, ReasonQuery, false)
	f(vectors.PlainHead("GET", "/a//b"), 400, ReasonTarget, true)
}

func TestPlainRequest(t *testing.T) {
	f := func(header string, reason Reason) {
		t.Helper()
		r, status, got := refusalOf(t, vectors.PlainHead("GET", "/version", header))
		if status != 400 || got != reason || !r.Close {
			t.Errorf("%q: %d %q close %v", header, status, got, r.Close)
		}
	}
	f("Content-Length: 1", ReasonBody)
	f("Transfer-Encoding: chunked", ReasonBody)
	f("Transfer-Encoding: CHUNKED", ReasonBody)
	f("Expect: 100-continue", ReasonBody)
	f("Trailer: X", ReasonBody)
	f("TE: trailers", ReasonBody)
	f("Upgrade: h2c", ReasonUpgrade)
	f("uPgRaDe: websocket", ReasonUpgrade)
	f("HTTP2-Settings: AAMAAABkAAQAAP__", ReasonUpgrade)
	f("Connection: Upgrade", ReasonUpgrade)
	f("Connection: close, upgrade", ReasonUpgrade)
	f("Connection: TE", ReasonUpgrade)
	f("Connection: host", ReasonUpgrade)
	f("Connection: close,", ReasonUpgrade)
	f("Connection: a b", ReasonUpgrade)
	f("Connection:", ReasonUpgrade)
}

// The first check that does not hold answers.
func TestOrderOfChecks(t *testing.T) {
	f := func(head string, reason Reason) {
		t.Helper()
		if _, _, got := refusalOf(t, head); got != reason {
			t.Errorf("%.100q: %q, want %q", head, got, reason)
		}
	}
	f(vectors.PlainHead("POST", "//", "Content-Length: 1", "Content-Length: 1"), ReasonBadRequest)
	f(vectors.PlainHead("POST", "//", "Content-Length: 1"), ReasonTarget)
	f(vectors.PlainHead("POST", "/v1.20/x", "Content-Length: 1"), ReasonVersion)
	f(vectors.PlainHead("POST", "/secrets?all=x", "Content-Length: 1", "Upgrade: h2c"), ReasonMethod)
	f(vectors.PlainHead("GET", "/secrets", "Content-Length: 1", "Upgrade: h2c"), ReasonBody)
	f(vectors.PlainHead("GET", "/secrets", "Upgrade: h2c"), ReasonUpgrade)
	f(vectors.PlainHead("GET", "/secrets?all=x"), ReasonNotAllowed)
	f(vectors.PlainHead("GET", "/containers/json?all=x"), ReasonQuery)

	early := map[Reason]bool{
		ReasonBadRequest: true, ReasonTarget: true, ReasonVersion: true, ReasonMethod: true, ReasonBody: true, ReasonUpgrade: true,
	}
	for _, head := range []string{
		"x", vectors.PlainHead("GET", "//"), vectors.PlainHead("GET", "/v1.20/x"), vectors.PlainHead("PUT", "/x"), vectors.PlainHead("GET", "/x", "TE: x"),
		vectors.PlainHead("GET", "/x", "Upgrade: x"), vectors.PlainHead("GET", "/x"), vectors.PlainHead("GET", "/info"), vectors.PlainHead("GET", "/images/json?manifests=1"),
		vectors.PlainHead("GET", "/containers/x/top?ps_args=x"),
	} {
		r, refusal, _ := Parse([]byte(head))
		if refusal == nil {
			continue
		}
		if refusal.Early != early[refusal.Reason] {
			t.Errorf("%q: %+v", head, refusal)
		}
		if refusal.Early && r.Operation != "" {
			t.Errorf("%q: refused early as %s", head, r.Operation)
		}
	}
}

func TestRequestFields(t *testing.T) {
	f := func(head string, check func(*Request) bool) {
		t.Helper()
		if r, _, _ := Parse([]byte(head)); !check(r) {
			t.Errorf("%.100q: %+v", head, r)
		}
	}
	f(vectors.PlainHead("GET", "/version", "User-Agent: Docker-Client/28.0.1 (linux)"), func(r *Request) bool {
		return r.UserAgent == "Docker-Client/28.0.1 (linux)" && r.Target == "/version" && !r.Head && !r.HTTP10
	})
	f(vectors.PlainHead("GET", "/version", "User-Agent: \xe9"), func(r *Request) bool { return r.UserAgent == "" })
	f(vectors.PlainHead("GET", "/version", "User-Agent: "+strings.Repeat("a", 257)), func(r *Request) bool { return r.UserAgent == "" })
	f(vectors.PlainHead("HEAD", "/_ping"), func(r *Request) bool { return r.Head && r.Operation == Ping && !r.Stream() })
	f(vectors.PlainHead("HEAD", "/v1.41/_ping"), func(r *Request) bool { return r.Head && r.Version == "1.41" })
	f(vectors.PlainHead("HEAD", "/info"), func(r *Request) bool { return r.Head && r.Operation == "" && r.Spec().Operation == "" })
	f("HEAD /info HTTP/1.0\r\n\r\n", func(r *Request) bool { return r.Head && r.HTTP10 && r.Close })
	f(vectors.PlainHead("GET", "/a\x1b[31m\xff"), func(r *Request) bool { return r.Target == "/a.[31m." })
	f(vectors.PlainHead("GET", "/"+strings.Repeat("a", 9000)), func(r *Request) bool { return len(r.Target) == maxTargetShown })
	f(vectors.PlainHead("GET", "/events"), (*Request).Stream)
	f(vectors.PlainHead("GET", "/containers/x/stats"), (*Request).Stream)
	f(vectors.PlainHead("GET", "/containers/x/stats?stream=true"), (*Request).Stream)
	f(vectors.PlainHead("GET", "/containers/x/stats?stream=False"), func(r *Request) bool { return !r.Stream() && r.Operation == ContainerStats })
	f(vectors.PlainHead("GET", "/containers/x/logs"), func(r *Request) bool { return !r.Stream() })
	f(vectors.PlainHead("GET", "/containers/x/logs?follow=1"), (*Request).Stream)
	f(vectors.PlainHead("GET", "/containers/json"), func(r *Request) bool { return !r.Stream() })
}

// What is quoted of a request is short and printable.
func TestMessages(t *testing.T) {
	for _, head := range []string{
		"\x00\x01\x1b[0m" + strings.Repeat("x", 200) + " / HTTP/1.1\r\n\r\n",
		vectors.PlainHead("GET", "/v1\x7f/x"),
		vectors.PlainHead("GET", "/v1"+strings.Repeat("%", 500)+"/x"),
		vectors.PlainHead("GET", "/version", "Connection: \xff\xfe"+strings.Repeat("y", 300)),
		vectors.PlainHead("GET", "/containers/json?all=%00%1b"+strings.Repeat("z", 300)),
		vectors.PlainHead("GET", "/containers/json?%00=1"),
		vectors.PlainHead("GET", `/containers/json?filters={"`+strings.Repeat("k", 300)+`":[]}`),
		vectors.PlainHead("GET", "/containers/"+strings.Repeat("@", 300)+"/json"),
	} {
		_, refusal, _ := Parse([]byte(head))
		if refusal == nil {
			t.Errorf("%.80q is accepted", head)
			continue
		}
		if text := refusal.Error(); len(text) > 400 || printable(strings.ReplaceAll(text, " ", "")) != strings.ReplaceAll(text, " ", "") {
			t.Errorf("%.80q: %q", head, text)
		}
	}
}

func TestHeadEnd(t *testing.T) {
	f := func(stream string, want int) {
		t.Helper()
		// However the bytes arrive, the end is the same.
		for _, step := range []int{1, 2, 7, len(stream)} {
			scanned, got := 0, 0
			for have := min(step, len(stream)); ; have = min(have+step, len(stream)) {
				end, looked, found := headEnd([]byte(stream[:have]), scanned)
				scanned = looked
				if found {
					got = end
					break
				}
				if have == len(stream) {
					break
				}
			}
			if got != want {
				t.Errorf("%.60q in steps of %d: end %d, want %d", stream, step, got, want)
			}
		}
	}
	whole := vectors.PlainHead("GET", "/version")
	f(whole, len(whole))
	f(whole[:len(whole)-1], 0)
	f(whole+"GET /", len(whole))
	f("GET /version HTTP/1.1\r\nHost", 0)
	f("GET /secrets\r\nHost: d", len("GET /secrets\r\n"))
	f("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", len("PRI * HTTP/2.0\r\n"))
	f("GET /version HTTP/1.1\nHost: d\r\n", len("GET /version HTTP/1.1\n"))
	f("GET /version HTTP/1.1\r\nHost: d\nX: y", len("GET /version HTTP/1.1\r\nHost: d\n"))
	f("\r\n", 2)
	f("\n", 1)
	f("GET /"+strings.Repeat("a", 2*MaxHead), MaxHead)
}
