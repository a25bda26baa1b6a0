package request

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/vectors"
)

// What Parse accepts goes upstream in a form that Parse reads as the same and
// that goes upstream as the same again; what it says is fit to print.
func FuzzParse(f *testing.F) {
	for _, v := range append(vectors.Endpoints(f), vectors.Attacks(f)...) {
		f.Add([]byte(v.Head))
	}
	f.Add([]byte(vectors.PlainHead("GET", `/v1.41/containers/json?all=1&limit=3&size=true&filters={"label":["a=%C3%A9","b"],"status":{"running":true}}`)))
	f.Add([]byte(vectors.PlainHead("GET", "/networks/a%20b%C3%A9?scope=local")))
	f.Add([]byte("GET /system/df?type=image&type=volume HTTP/1.0\r\nConnection: keep-alive\r\nUser-Agent: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		r, refusal, closeAfter := Parse(head)
		if r == nil || closeAfter != r.Close || printable(r.Target) != r.Target || agent(r.UserAgent) != r.UserAgent {
			t.Fatalf("%q: %+v", head, r)
		}
		if refusal != nil {
			checkRefusal(t, r, refusal)
			return
		}
		if r.Operation == "" || r.spec == nil || len(head) > MaxHead {
			t.Fatalf("%q is accepted: %+v", head, r)
		}
		if !r.Spec().Local {
			checkUpstream(t, r)
		}
	})
}

func checkUpstream(t *testing.T, r *Request) {
	t.Helper()
	method, target := r.Upstream(r.Version, r.Ref)
	for i := range len(target) {
		if !isGraphic(target[i]) {
			t.Fatalf("%q goes upstream as %q", r.Target, target)
		}
	}
	// What the engine is given beyond the parameters of the client is refused
	// from a client.
	reparsed := strings.TrimSuffix(target, "?ps_args=-eo%20pid%2Cppid%2Cuid%2Ccomm")
	again, refusal, _ := Parse([]byte(method + " " + reparsed + " HTTP/1.1\r\nHost: d\r\n\r\n"))
	if refusal != nil {
		t.Fatalf("%q goes upstream as %q: %v", r.Target, target, refusal)
	}
	if diff := cmp.Diff(r.Query, again.Query, cmp.AllowUnexported(Query{}, value{})); diff != "" || again.Operation != r.Operation || again.Ref != r.Ref {
		t.Fatalf("%+v goes upstream as %q, and that is %+v", r, target, again)
	}
	if _, second := again.Upstream(again.Version, again.Ref); second != target {
		t.Fatalf("%q goes upstream as %q, and that as %q", r.Target, target, second)
	}
}

func checkRefusal(t *testing.T, r *Request, refusal *Refusal) {
	t.Helper()
	if refusal.Status != 400 && refusal.Status != 403 || refusal.Reason == "" || refusal.Message == "" || len(refusal.Message) > 400 {
		t.Fatalf("%+v", refusal)
	}
	if refusal.Early && r.Operation != "" || refusal.Status == 400 && refusal.Early && !r.Close {
		t.Fatalf("%+v with %+v", refusal, r)
	}
	for i := range len(refusal.Message) {
		if c := refusal.Message[i]; !isGraphic(c) && c != ' ' {
			t.Fatalf("message %q", refusal.Message)
		}
	}
}

// A gate makes the same of a stream however it arrives, gives net/http nothing
// but heads of its own, and looks at nothing after the end it decided on.
func FuzzGate(f *testing.F) {
	for _, v := range vectors.Attacks(f) {
		f.Add([]byte(v.Head), uint8(3))
	}
	f.Add([]byte(vectors.PlainHead("GET", "/info")+vectors.PlainHead("HEAD", "/_ping")+vectors.PlainHead("GET", "/a//")+vectors.Smuggled), uint8(100))
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		whole := drain(t, stream, len(stream)+1)
		parts := drain(t, stream, int(step)+1)
		if diff := cmp.Diff(whole, parts); diff != "" {
			t.Fatalf("%q in steps of %d: %s", stream, step+1, diff)
		}
	})
}

// drain returns what a gate makes of a stream, and fails the test if it goes
// on after the end that it decided on.
func drain(t *testing.T, stream []byte, step int) (outcomes []string) {
	t.Helper()
	g := NewGate(&feed{stream: stream, step: step}, Limits{})
	buffer := make([]byte, 4096)
	for ended := false; ; {
		n, err := g.Read(buffer)
		if err != nil {
			return outcomes
		}
		if ended || !isSynthetic(string(buffer[:n])) {
			t.Fatalf("%q gives %q, after the end: %v", stream, buffer[:n], ended)
		}
		r, refusal := g.Pop()
		status := 200
		if refusal != nil {
			status = refusal.Status
		}
		outcomes = append(outcomes, fmt.Sprint(r.Target, " ", r.Operation, " ", status, " ", r.Close))
		ended = r.Close
	}
}

// feed is a connection whose client sends a stream in steps of some bytes.
type feed struct {
	net.Conn
	stream []byte
	step   int
}

func (f *feed) Read(p []byte) (int, error) {
	if len(f.stream) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), f.step)], f.stream)
	f.stream = f.stream[n:]
	return n, nil
}
