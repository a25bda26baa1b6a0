package request

import (
	"fmt"
	"net/http"
)

// Reason is a stable word for metrics and the audit.
type Reason string

// The reasons this package refuses for. Reasons of the policy are its own.
const (
	ReasonBadRequest Reason = "bad_request" // framing, request line, header syntax
	ReasonTarget     Reason = "target"      // form of the target or of a reference in it
	ReasonVersion    Reason = "version"     // API version that is not served
	ReasonMethod     Reason = "method"      // anything but GET and HEAD
	ReasonBody       Reason = "body"        // a body, or a header that is about one
	ReasonUpgrade    Reason = "upgrade"     // another protocol on this connection
	ReasonNotAllowed Reason = "not_allowed" // no operation of the table
	ReasonQuery      Reason = "query"       // a parameter
	ReasonCost       Reason = "cost"        // a parameter that makes the engine work hard
	ReasonInternal   Reason = "internal"    // a defect of ours
)

// Refusal is the answer to a request that does not go upstream.
type Refusal struct {
	// Status is the HTTP status code.
	Status int
	// Message is what the user of the client reads, for {"message": ...}. It
	// is printable, and what it quotes of the request is cut to a short piece.
	Message string
	// Reason is for metrics and the audit.
	Reason Reason
	// Early says that the request is refused whoever asks: it comes before
	// the question who the client is. Otherwise the policy is asked first, and
	// its refusal is the one to answer with.
	Early bool
}

// Error returns the reason and the message. A nil *Refusal is no refusal; do
// not store one in an error.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Message }

// malformed refuses for the form of a request.
func malformed(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...), Reason: reason, Early: true}
}

// badQuery refuses for a parameter of a known operation.
func badQuery(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...), Reason: reason}
}

func badMethod(method string) *Refusal {
	message := fmt.Sprintf("%s is not allowed on this socket: it only reads", method)
	return &Refusal{Status: http.StatusForbidden, Message: message, Reason: ReasonMethod, Early: true}
}

func notAllowed() *Refusal {
	return &Refusal{Status: http.StatusForbidden, Message: "this API endpoint is not allowed on this socket", Reason: ReasonNotAllowed}
}

// maxQuoted is what an answer repeats of a request: enough to recognise a
// name or a value.
const maxQuoted = 64

// quote makes foreign text fit for a message.
func quote(text string) string {
	if len(text) > maxQuoted {
		return fmt.Sprintf("%+q...", text[:maxQuoted])
	}
	return fmt.Sprintf("%+q", text)
}
