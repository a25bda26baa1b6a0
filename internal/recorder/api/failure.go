package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/prometheus/promql"
)

// statusClientClosed is what nginx and Prometheus log when the client went away.
const statusClientClosed = 499

// failure is an answer that is not the one asked for.
type failure struct {
	code int
	// kind is the errorType of the answer: Prometheus' words where it has one.
	kind string
	err  error
}

func badData(format string, args ...any) *failure {
	return &failure{http.StatusBadRequest, "bad_data", fmt.Errorf(format, args...)}
}

func badParam(name string, err error) *failure {
	return badData("invalid parameter %q: %w", name, err)
}

func forbidden(reason string) *failure {
	return &failure{http.StatusForbidden, "forbidden", errors.New(reason)}
}

func notFound(what string) *failure {
	return &failure{http.StatusNotFound, "not_found", errors.New(what)}
}

func unavailable(reason string) *failure {
	return &failure{http.StatusServiceUnavailable, "unavailable", errors.New(reason)}
}

func internal(err error) *failure {
	return &failure{http.StatusInternalServerError, "internal", err}
}

// queryFailure maps what the engine and the storage return as Prometheus does,
// except that a deadline outside of the engine is a timeout, too.
func queryFailure(err error) *failure {
	var canceled promql.ErrQueryCanceled
	var timeout promql.ErrQueryTimeout
	var broken promql.ErrStorage
	switch {
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		return &failure{statusClientClosed, "canceled", err}
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		return &failure{http.StatusServiceUnavailable, "timeout", err}
	case errors.As(err, &broken):
		return internal(err)
	}
	return &failure{http.StatusUnprocessableEntity, "execution", err}
}

// sourceFailure maps what the other sources return.
func sourceFailure(err error) *failure {
	switch {
	case errors.Is(err, ErrNotFound):
		return &failure{http.StatusNotFound, "not_found", err}
	case errors.Is(err, ErrConflict):
		return &failure{http.StatusConflict, "conflict", err}
	case errors.Is(err, ErrInvalid):
		return badData("%w", err)
	case errors.Is(err, ErrBusy):
		return &failure{http.StatusServiceUnavailable, "unavailable", err}
	case errors.Is(err, context.Canceled):
		return &failure{statusClientClosed, "canceled", err}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{http.StatusServiceUnavailable, "timeout", err}
	}
	return internal(err)
}

// bodyFailure maps what reading a request's body returns.
func bodyFailure(err error) *failure {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &failure{http.StatusRequestEntityTooLarge, "too_large", fmt.Errorf("read the body: %w", err)}
	}
	return badData("read the body: %w", err)
}

func (f *failure) write(w http.ResponseWriter) {
	text, err := json.Marshal(struct {
		Status string `json:"status"`
		Kind   string `json:"errorType"`
		Error  string `json:"error"`
	}{"error", f.kind, f.err.Error()})
	if err != nil { // three strings cannot fail
		panic(err)
	}
	if f.kind == "unavailable" {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.code)
	_, _ = w.Write(text) // who left does not read it
}
