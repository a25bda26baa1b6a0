package request

import (
	"net/http"
	"slices"
	"strings"
)

// Sizes in bytes. The docker CLI's longest head with default settings is under
// 1 KiB; proxies in front of the engine commonly allow 8 KiB for a target.
const (
	MaxHead   = 16 << 10 // a request head with its empty line
	MaxTarget = 8 << 10  // a request target
)

// head is a request head with sound framing. In one that was refused the
// fields up to the fault are set.
type head struct {
	method  string
	target  string
	http10  bool
	headers headers
}

// parseHead reads the lines of a head:
//
//	METHOD SP target SP HTTP/1.x CRLF
//	name ":" OWS value OWS CRLF
//	CRLF
//
// RFC 9112 lets servers tolerate other line ends, folded lines and empty lines
// in front. Two parsers that tolerate different things see different requests,
// so none of it is tolerated here.
func parseHead(text string) (head, *Refusal) {
	var h head
	if len(text) > MaxHead {
		return h, headTooLarge()
	}
	line, rest, refusal := cutLine(text, len(text))
	if refusal != nil {
		return h, refusal
	}
	if refusal := h.parseRequestLine(line); refusal != nil {
		return h, refusal
	}
	for {
		line, rest, refusal = cutLine(rest, len(text))
		if refusal != nil {
			return h, refusal
		}
		if line == "" {
			break
		}
		if refusal := h.headers.add(line); refusal != nil {
			return h, refusal
		}
	}
	if rest != "" {
		return h, malformed(ReasonBadRequest, "bytes after the request head")
	}
	return h, h.headers.checkFraming(h.http10)
}

// ends tells whether the client wants the connection to end after the answer.
func (h *head) ends() bool {
	return h.headers.close || h.http10 && !h.headers.keepAlive
}

func (h *head) parseRequestLine(line string) *Refusal {
	method, rest, _ := strings.Cut(line, " ")
	if !slices.Contains(methods, method) {
		return malformed(ReasonBadRequest, "unknown method %s", quote(method))
	}
	target, protocol, ok := strings.Cut(rest, " ")
	h.method, h.target = method, target
	h.http10 = protocol == "HTTP/1.0"
	if !ok || !h.http10 && protocol != "HTTP/1.1" {
		return malformed(ReasonBadRequest, "the request line is not METHOD TARGET HTTP/1.1")
	}
	return nil
}

// methods are those of RFC 9110 and RFC 5789. Other tokens are malformed
// rather than forbidden: they are how other protocols begin (PRI, HELO).
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete,
	http.MethodOptions, http.MethodPatch, http.MethodTrace, http.MethodConnect,
}

// cutLine returns the text before the first CRLF and what follows it. size is
// that of the whole head.
func cutLine(text string, size int) (line, rest string, refusal *Refusal) {
	end := strings.IndexByte(text, '\n')
	switch {
	case end < 0 && size >= MaxHead:
		return "", "", headTooLarge()
	case end < 0:
		return "", "", malformed(ReasonBadRequest, "the request head is not complete")
	case end == 0 || text[end-1] != '\r':
		return "", "", malformed(ReasonBadRequest, "a line of the request head does not end in CRLF")
	}
	return text[:end-1], text[end+1:], nil
}

func headTooLarge() *Refusal {
	return malformed(ReasonBadRequest, "the request head is larger than %d bytes", MaxHead)
}

// headEnd looks for the end of the first head in stream. It is found too where
// Parse is sure to refuse what is there, so that a client that sends half a
// head of another protocol gets its answer now. scanned is how much of stream
// was looked at by earlier calls, at a line end; the call returns how much is
// now.
func headEnd(stream []byte, scanned int) (end, looked int, found bool) {
	for i := scanned; i < len(stream); i++ {
		if stream[i] != '\n' {
			continue
		}
		isFirst := scanned == 0
		line := stream[scanned:i]
		scanned = i + 1
		isEmpty := len(line) == 1 && line[0] == '\r'
		if isEmpty || len(line) == 0 || line[len(line)-1] != '\r' {
			return scanned, scanned, true
		}
		if isFirst && !likeRequestLine(line[:len(line)-1]) {
			return scanned, scanned, true
		}
	}
	if len(stream) >= MaxHead {
		return MaxHead, MaxHead, true
	}
	return 0, scanned, false
}

// likeRequestLine is false for what parseRequestLine is sure to refuse.
func likeRequestLine(line []byte) bool {
	const protocol = " HTTP/1.1" // as long as that of HTTP/1.0
	end := len(line) - len(protocol)
	if end < 0 || string(line[end:]) != protocol && string(line[end:]) != " HTTP/1.0" {
		return false
	}
	return slices.ContainsFunc(methods, func(method string) bool {
		return len(line) > len(method) && string(line[:len(method)]) == method && line[len(method)] == ' '
	})
}
