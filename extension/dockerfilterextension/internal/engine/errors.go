package engine

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

var (
	// ErrUnavailable says that the engine does not answer, not in time, or not
	// to the end: 502 for the client.
	ErrUnavailable = errors.New("docker engine is not available")
	// ErrUnexpected says that the engine answered something else than an answer
	// of the expected kind: 502 for the client.
	ErrUnexpected = errors.New("unexpected answer of the docker engine")
	// ErrSlow ends a subscription that fell further behind than events are kept.
	ErrSlow = errors.New("client reads events too slowly")
	// ErrBusy is what every [BusyError] is.
	ErrBusy = errors.New("too many requests to the docker engine")
	// ErrClosed says that the engine or the subscription was closed on our side.
	ErrClosed = errors.New("closed")
	// ErrRequest says that the request is none that this package sends: a
	// mistake of the caller.
	ErrRequest = errors.New("invalid upstream request")

	errTimeout = errors.New("no answer in time")
)

// retryAfter is the shortest time that the header Retry-After can say. A full
// queue of 64 is worked off in less.
const retryAfter = time.Second

// BusyError says that a bound of this package is reached: 429 for the client.
type BusyError struct {
	// What is the bound: "queue", "wait", "streams", "subscribers".
	What string
	// RetryAfter is the hint for the client, whole seconds.
	RetryAfter time.Duration
}

// Error is the text for people.
func (e *BusyError) Error() string { return fmt.Sprintf("%v (%s)", ErrBusy, e.What) }

// Is makes every BusyError match [ErrBusy].
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

func busy(what string) error { return &BusyError{What: what, RetryAfter: retryAfter} }

// StatusError is an answer of the engine with a status of 400 or more, or the
// answer that the engine would have given.
type StatusError struct {
	// Status is the HTTP status.
	Status int
	// Message is the engine's. It may name what the client must not see.
	Message string
}

// Error is the engine's own text.
func (e *StatusError) Error() string { return e.Message }

// noSuchContainer is dockerd's answer to an unknown reference.
func noSuchContainer(ref string) error {
	return &StatusError{Status: http.StatusNotFound, Message: "No such container: " + ref}
}

// NotFound tells whether the error is a 404, the engine's or the catalog's.
func NotFound(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Status == http.StatusNotFound
}
