package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

func (s *Server) captures(w http.ResponseWriter, _ *http.Request) *failure {
	var list []Capture
	switch {
	case s.o.Captures != nil:
		list = s.o.Captures.List()
	case s.o.Opened != nil:
		list = []Capture{*s.o.Opened}
	default:
		return notFound("there are no captures here")
	}
	return writeJSON(w, http.StatusOK, map[string][]Capture{"captures": wholeCaptures(list)})
}

func (s *Server) capture(w http.ResponseWriter, r *http.Request) *failure {
	id := r.PathValue("id")
	if s.o.Opened != nil && s.o.Opened.ID == id {
		return writeCapture(w, http.StatusOK, *s.o.Opened)
	}
	if f := s.hasCaptures(id); f != nil {
		return f
	}
	c, ok := s.o.Captures.Get(id)
	if !ok {
		return notFound("there is no such capture")
	}
	return writeCapture(w, http.StatusOK, c)
}

func (s *Server) hasCaptures(id string) *failure {
	if s.o.Captures == nil || !validID(id) {
		return notFound("there is no such capture")
	}
	return nil
}

func writeCapture(w http.ResponseWriter, code int, c Capture) *failure {
	return writeJSON(w, code, wholeCaptures([]Capture{c})[0])
}

// wholeCaptures copies the list with no list missing.
func wholeCaptures(list []Capture) []Capture {
	out := make([]Capture, len(list))
	for i, c := range list {
		c.Containers, c.Triggers = notNil(c.Containers), notNil(c.Triggers)
		out[i] = c
	}
	return out
}

// captureBody is what POST takes.
type captureBody struct {
	Reason     string   `json:"reason"`
	Containers []string `json:"containers"`
	Scope      string   `json:"scope"`
	Last       string   `json:"last"`
	From       *Moment  `json:"from"`
	To         *Moment  `json:"to"`
}

// maxReason bounds what a request for a capture says: a sentence. What time it may be
// about knows who makes it.
const maxReason = 500

// ErrFull says that the disk, or what may be used of it, is full.
var ErrFull = errors.New("the disk is full")

// captureFailure maps what making and changing captures returns.
func captureFailure(err error) *failure {
	if errors.Is(err, ErrFull) {
		return &failure{http.StatusInsufficientStorage, "full", err}
	}
	return sourceFailure(err)
}

func (s *Server) startCapture(w http.ResponseWriter, r *http.Request) *failure {
	if s.o.Captures == nil {
		return notFound("there are no captures here")
	}
	var body captureBody
	if f := s.body(w, r, &body); f != nil {
		return f
	}
	request, err := body.request(s.o.Now())
	if err != nil {
		return badData("ask for a capture: %w", err)
	}
	c, err := s.o.Captures.Start(r.Context(), request)
	if err != nil {
		return captureFailure(err)
	}
	w.Header().Set("Location", "/api/captures/"+c.ID)
	return writeCapture(w, http.StatusAccepted, c)
}

func (b *captureBody) request(now time.Time) (CaptureRequest, error) {
	request := CaptureRequest{Reason: b.Reason, Containers: b.Containers, Scope: b.Scope}
	if request.Scope == "" {
		request.Scope = "default"
	}
	if request.Scope != "default" && request.Scope != "host" {
		return request, fmt.Errorf("scope %q is neither default nor host", b.Scope)
	}
	if len(b.Reason) > maxReason || len(b.Containers) > maxList {
		return request, fmt.Errorf("more than %d bytes of reason, or %d containers", maxReason, maxList)
	}
	for _, id := range b.Containers {
		if !validID(id) {
			return request, fmt.Errorf("%q is no name and no id of a container", id)
		}
	}
	var err error
	request.From, request.To, err = b.window(now)
	return request, err
}

func (b *captureBody) window(now time.Time) (from, to time.Time, err error) {
	if b.Last != "" {
		last, err := parseDuration(b.Last)
		switch {
		case err != nil:
			return from, to, fmt.Errorf("last: %w", err)
		case b.From != nil || b.To != nil:
			return from, to, errors.New("last excludes from and to")
		case last <= 0:
			return from, to, fmt.Errorf("last is %v", last)
		}
		return now.Add(-last), now, nil
	}
	if b.From != nil {
		from = b.From.Time
	}
	if b.To != nil {
		to = b.To.Time
	}
	if !from.IsZero() && !to.IsZero() && !to.After(from) {
		return from, to, errors.New("to is not after from")
	}
	return from, to, nil
}

func (s *Server) deleteCapture(w http.ResponseWriter, r *http.Request) *failure {
	id := r.PathValue("id")
	if f := s.hasCaptures(id); f != nil {
		return f
	}
	if err := s.o.Captures.Delete(id); err != nil {
		return captureFailure(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) pin(pinned bool) endpoint {
	return func(w http.ResponseWriter, r *http.Request) *failure {
		id := r.PathValue("id")
		if f := s.hasCaptures(id); f != nil {
			return f
		}
		c, err := s.o.Captures.Pin(id, pinned)
		if err != nil {
			return captureFailure(err)
		}
		return writeCapture(w, http.StatusOK, c)
	}
}

// download sends the bundle as a file, with ranges, so that a broken download can go
// on.
func (s *Server) download(w http.ResponseWriter, r *http.Request) *failure {
	id := r.PathValue("id")
	if f := s.hasCaptures(id); f != nil {
		return f
	}
	bundle, err := s.o.Captures.Open(id)
	if err != nil {
		return sourceFailure(err)
	}
	defer func() { _ = bundle.Close() }() // it was only read
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", `attachment; filename="`+id+`.tmcap"`)
	if validID(bundle.Tag) {
		h.Set("ETag", `"`+bundle.Tag+`"`)
	}
	http.ServeContent(w, r, "", bundle.ModTime, contextSeeker{bundle, r.Context()})
	return nil
}

// contextSeeker ends a download when the request does.
type contextSeeker struct {
	Bundle
	ctx context.Context
}

func (c contextSeeker) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Bundle.Read(b)
}
