package request

import "strings"

// headers is what the header lines of a head say about framing and the
// connection. All other headers are checked for their form and ignored.
type headers struct {
	hosts     int
	lengths   int // Content-Length lines
	length    string
	encodings int // Transfer-Encoding lines
	encoding  string
	close     bool
	keepAlive bool
	// refused is the first header, or option of Connection, that no read
	// needs; refusedFor is why.
	refused    string
	refusedFor Reason
	userAgent  string
}

// headerRule is what a header does to a request.
type headerRule uint8

const (
	ignoredHeader headerRule = iota
	hostHeader
	lengthHeader
	encodingHeader
	connectionHeader
	agentHeader
	bodyHeader    // refused: it is about a body
	upgradeHeader // refused: it leads to another protocol
)

// headerRules lists the headers that matter, in lower case.
var headerRules = map[string]headerRule{
	"host":              hostHeader,
	"content-length":    lengthHeader,
	"transfer-encoding": encodingHeader,
	"connection":        connectionHeader,
	"user-agent":        agentHeader,
	"expect":            bodyHeader,
	"trailer":           bodyHeader,
	"te":                bodyHeader,
	"upgrade":           upgradeHeader,
	"http2-settings":    upgradeHeader,
}

// maxRuleName is the longest key of headerRules.
const maxRuleName = len("transfer-encoding")

// add takes one header line without its line end.
func (h *headers) add(line string) *Refusal {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		// This is also where a folded line, which begins with a space, and a
		// space before the colon end up.
		return malformed(ReasonBadRequest, "a header line does not begin with a name and a colon")
	}
	value = strings.Trim(value, " \t")
	if !isFieldValue(value) {
		return malformed(ReasonBadRequest, "a header value has control characters in it")
	}
	switch ruleOf(name) {
	case hostHeader:
		h.hosts++
	case lengthHeader:
		h.lengths++
		h.length = value
	case encodingHeader:
		h.encodings++
		h.encoding = value
	case connectionHeader:
		h.addConnection(value)
	case agentHeader:
		h.userAgent = agent(value)
	case bodyHeader:
		h.refuse(name, ReasonBody)
	case upgradeHeader:
		h.refuse(name, ReasonUpgrade)
	}
	return nil
}

// addConnection reads the options of the connection. One that names a header
// this package acts on asks for more than to drop that header; any other names
// a header that goes nowhere anyway.
func (h *headers) addConnection(value string) {
	for option := range strings.SplitSeq(value, ",") {
		option = strings.Trim(option, " \t")
		switch {
		case strings.EqualFold(option, "close"):
			h.close = true
		case strings.EqualFold(option, "keep-alive"):
			h.keepAlive = true
		case !isToken(option) || ruleOf(option) != ignoredHeader:
			h.refuse("Connection: "+option, ReasonUpgrade)
		}
	}
}

func (h *headers) refuse(what string, why Reason) {
	if h.refused == "" {
		h.refused, h.refusedFor = what, why
	}
}

// checkFraming makes sure that there is only one way to tell where the request
// ends.
func (h *headers) checkFraming(http10 bool) *Refusal {
	switch {
	case h.hosts > 1:
		return malformed(ReasonBadRequest, "more than one Host header")
	case h.hosts == 0 && !http10:
		return malformed(ReasonBadRequest, "no Host header")
	case h.lengths > 1:
		return malformed(ReasonBadRequest, "more than one Content-Length header")
	case h.lengths == 1 && !isDecimal(h.length):
		return malformed(ReasonBadRequest, "Content-Length is not a number")
	case h.encodings > 0 && h.lengths > 0:
		return malformed(ReasonBadRequest, "both Content-Length and Transfer-Encoding")
	case h.encodings > 1 || h.encodings == 1 && !strings.EqualFold(h.encoding, "chunked"):
		return malformed(ReasonBadRequest, "Transfer-Encoding is not chunked")
	case h.encodings > 0 && http10:
		return malformed(ReasonBadRequest, "Transfer-Encoding in HTTP/1.0")
	}
	return nil
}

// hasBody tells whether a body follows the head.
func (h *headers) hasBody() bool {
	return h.encodings > 0 || h.lengths > 0 && h.length != "0"
}

// checkPlain refuses what no read needs.
func (h *headers) checkPlain() *Refusal {
	if h.hasBody() {
		return malformed(ReasonBody, "a request that only reads has no body")
	}
	if h.refused != "" {
		return malformed(h.refusedFor, "header %s is not allowed on this socket", quote(h.refused))
	}
	return nil
}

// ruleOf looks a name up without regard to case, and without allocating.
func ruleOf(name string) headerRule {
	if len(name) > maxRuleName {
		return ignoredHeader
	}
	var lower [maxRuleName]byte
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return headerRules[string(lower[:len(name)])]
}

// isToken follows RFC 9110, 5.6.2.
func isToken(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}

// isFieldValue follows RFC 9110, 5.5: anything but control characters, of
// which a tab is none here.
func isFieldValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isDecimal accepts a number in the one form that every parser reads alike: no
// sign, no leading zero, less than 2^63.
func isDecimal(number string) bool {
	const maxDigits = 18
	if number == "" || len(number) > maxDigits || number[0] == '0' && number != "0" {
		return false
	}
	return strings.Trim(number, "0123456789") == ""
}

// maxAgent is the part of a User-Agent that is worth a place in the audit: the
// docker CLI's has about 100 bytes.
const maxAgent = 256

// agent returns a User-Agent that may be copied: printable ASCII and short. It
// is empty for any other.
func agent(value string) string {
	if len(value) > maxAgent {
		return ""
	}
	for i := range len(value) {
		if !isGraphic(value[i]) && value[i] != ' ' {
			return ""
		}
	}
	return value
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
