package vectors

import (
	"embed"
	"strings"
	"testing"
)

//go:embed testdata/*.tsv
var tables embed.FS

// Vector is one row of a table in testdata.
type Vector struct {
	ID string
	// Head is what the client sends.
	Head string
	// Verdict is the first word of the expected answer.
	Verdict string
}

// Rows returns the columns of a table.
func Rows(t testing.TB, file string) [][]string {
	t.Helper()
	text, err := tables.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	return rows
}

// Endpoints has the rows of docker-endpoints.tsv.
func Endpoints(t testing.TB) []Vector {
	t.Helper()
	var vectors []Vector
	for _, row := range Rows(t, "docker-endpoints.tsv") {
		if len(row) != 6 {
			t.Fatalf("%q has not six columns", row)
		}
		verdict, _, _ := strings.Cut(row[4], "-")
		vectors = append(vectors, Vector{row[0], PlainHead(row[1], row[2]), verdict})
	}
	return vectors
}

// Attacks has the rows of docker-attacks.tsv. Most are request lines; what the
// others describe in words is spelled out below.
func Attacks(t testing.TB) []Vector {
	t.Helper()
	var vectors []Vector
	for _, row := range Rows(t, "docker-attacks.tsv") {
		if len(row) != 4 {
			t.Fatalf("%q has not four columns", row)
		}
		verdict, _, _ := strings.Cut(row[3], " ")
		verdict, _, _ = strings.Cut(strings.TrimSuffix(verdict, ","), "-")
		head, ok := described[row[0]]
		if !ok {
			line, isLine := strings.CutSuffix(row[2], " HTTP/1.1")
			if !isLine || strings.Count(line, " ") != 1 || strings.Contains(line, "<") {
				t.Fatalf("%s: %q is no request line and not among the described", row[0], row[2])
			}
			method, target, _ := strings.Cut(line, " ")
			head = PlainHead(method, target)
		}
		vectors = append(vectors, Vector{row[0], head, verdict})
	}
	return vectors
}

// PlainHead is a request head with a Host line.
func PlainHead(method, target string, headers ...string) string {
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: docker"}, headers...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// Smuggled is the request that attacks on the framing hide behind another.
const (
	Smuggled  = "GET /v1.41/secrets HTTP/1.1\r\nHost: docker\r\n\r\n"
	websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)

// described spells out the attacks that the table tells in words. Those about
// answers, clients and visibility are here with the request they begin with.
var described = map[string]string{
	"A003": PlainHead("GET", "/v1.41/containers/web/attach/%77s?stream=1&stdin=1", websocket),
	"A004": PlainHead("GET", "/v1.41/containers/web/attach%2fws?stream=1", websocket),
	"A046": PlainHead("GET", "/v1.41/containers/web/stop", "X-HTTP-Method-Override: POST"),
	"A055": PlainHead("GET", "/v1.41/containers/"+strings.Repeat("a", 66000)+"/json"),
	"A056": PlainHead("GET", "/version", "Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\n" + Smuggled,
	"A058": PlainHead("GET", "/version", "Transfer-Encoding: xchunked") + "0\r\n\r\n" + Smuggled,
	"A059": PlainHead("GET", "/version", "Transfer-Encoding : chunked") + "0\r\n\r\n" + Smuggled,
	"A062": PlainHead("GET", "/containers/json", "Transfer-Encoding: chunked") + "5;\n\r\nhello\r\n0\r\n\r\n" + Smuggled,
	"A063": PlainHead("GET", "/version") + PlainHead("GET", "/secrets"),
	"A064": PlainHead("GET", "/version", "X-Long: a\r\n b"),
	"A065": "GET /version HTTP/1.1\r\n\r\n",
	"A066": PlainHead("GET", "/version", "Host: other"),
	"A067": "GET /secrets\r\n",
	"A070": PlainHead("GET", "/v1.41/version", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"),
	"A073": PlainHead("GET", "/v1.41/containers/web/attach/ws", websocket),
	"A075": PlainHead("GET", "/events"),
	"A085": PlainHead("GET", "/v1.41/images/json", "X-Registry-Auth: e30="),
	"A086": PlainHead("GET", "/v1.41/version", "Connection: close, X-Foo"),
	"A087": PlainHead("GET", "/v1.41/version", "X-Forwarded-For: 10.0.0.1"),
	"A089": PlainHead("GET", "/v1.41/containers/4f0c/json"),
	"A095": PlainHead("GET", "/v1.41/containers/web/json"),
	"A097": PlainHead("GET", "/v1.41/events"),
	"A098": PlainHead("GET", "/v1.41/containers/json"),
	"A099": PlainHead("GET", "/v1.41/containers/web/json"),
	"A102": PlainHead("GET", "/v1.41/containers/json"),
	"A103": PlainHead("GET", "/v1.41/containers/json"),
	"A104": PlainHead("GET", "/v1.41/containers/json"),
	"A105": PlainHead("GET", "/v1.41/containers/json"),
	"A107": PlainHead("GET", "/v1.41/events"),
}
