package request

import "net/http"

// Request is one request of a client as far as it is understood. Its strings
// share the memory of the head, at most [MaxHead] bytes.
type Request struct {
	// Operation is empty if the request was refused before it was known, or
	// is none of the table.
	Operation Operation
	// Head is set for HEAD, whose answer has no body.
	Head bool
	// Version is the API version of the path such as "1.41", or empty.
	Version string
	// Ref names the container, image and so on, decoded: as the client gave
	// it, in the form that its kind has. Empty where the operation takes none.
	Ref string
	// Query holds the parameters that the operation knows.
	Query Query
	// NeedsSizes says that size=1 was asked for, which makes the engine walk
	// file systems: a 403 without the opt-in [OptInSizes].
	NeedsSizes bool
	// UserAgent is printable ASCII, or empty.
	UserAgent string
	// HTTP10 says that the client speaks HTTP/1.0.
	HTTP10 bool
	// Close says that the connection ends with the answer.
	Close bool
	// Target is the request target for the audit, safe to print: printable
	// ASCII, cut to [maxTargetShown] bytes.
	Target string

	spec *Spec
}

// Parse reads one whole request head, from the request line through the empty
// line. The Request is never nil: beside a refusal it holds what is known of
// the request, for the audit; its Operation is set if the refusal is about the
// query. closeAfter repeats Request.Close: after a refusal for the form, and
// after a body that nobody reads, there is no telling where a next request
// would begin.
func Parse(head []byte) (request *Request, refusal *Refusal, closeAfter bool) {
	r := &Request{Close: true}
	refusal = r.parse(string(head))
	return r, refusal, r.Close
}

func (r *Request) parse(text string) *Refusal {
	h, refusal := parseHead(text)
	r.Head = h.method == http.MethodHead
	r.HTTP10 = h.http10
	r.UserAgent = h.headers.userAgent
	r.Target = printable(h.target)
	if refusal != nil {
		return refusal
	}
	t, refusal := parseTarget(h.target)
	if refusal != nil {
		return refusal
	}
	r.Version = t.version
	if h.method != http.MethodGet && h.method != http.MethodHead {
		r.Close = h.ends() || h.headers.hasBody() || h.headers.refused != ""
		return badMethod(h.method)
	}
	if refusal := h.headers.checkPlain(); refusal != nil {
		return refusal
	}
	r.Close = h.ends()

	spec, ref := t.route()
	if spec == nil || r.Head && !spec.Head {
		return notAllowed()
	}
	r.spec, r.Operation, r.Ref = spec, spec.Operation, ref
	if refusal := r.parseQuery(t.query); refusal != nil {
		return refusal
	}
	return r.checkSize(len(t.query))
}

// Spec returns the row of the operation table; it is zero without an
// operation.
func (r *Request) Spec() Spec {
	if r.spec == nil {
		return Spec{}
	}
	return *r.spec
}

// Stream tells whether the answer lasts until one side ends it.
func (r *Request) Stream() bool {
	switch {
	case r.spec == nil || r.Head:
		return false
	case r.spec.stream.param == "":
		return r.spec.stream.otherwise
	}
	return r.Query.Bool(r.spec.stream.param, r.spec.stream.otherwise)
}

// maxTargetShown bounds a log line; the longest ordinary target, a list with
// a few filters, is half of it.
const maxTargetShown = 512

// printable returns target as it is if that is short, printable ASCII.
func printable(target string) string {
	clean := len(target) <= maxTargetShown
	for i := 0; clean && i < len(target); i++ {
		clean = isGraphic(target[i])
	}
	if clean {
		return target
	}
	shown := make([]byte, 0, maxTargetShown)
	for i := 0; i < len(target) && i < maxTargetShown; i++ {
		c := target[i]
		if !isGraphic(c) {
			c = '.'
		}
		shown = append(shown, c)
	}
	return string(shown)
}

// isGraphic is true for ASCII that is neither a space nor a control character.
func isGraphic(c byte) bool { return c >= 0x21 && c <= 0x7e }
