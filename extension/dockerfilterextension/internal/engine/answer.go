package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Content is a kind of answer.
type Content uint8

const (
	// JSON is one document, application/json.
	JSON Content = iota
	// JSONStream is a sequence of documents, one on each line.
	JSONStream
	// Text is the OK of /_ping.
	Text
	// Raw is the bytes of a container's log.
	Raw
)

// mediaTypes are the content types of an answer; "" stands for none. dockerd
// 20.10 names none for streams, because it sends the head before it knows the
// first byte. Newer ones name the multiplexed and the raw log stream.
var mediaTypes = map[Content][]string{
	JSON:       {"application/json"},
	JSONStream: {"application/json", "application/x-ndjson", "application/jsonl", ""},
	Text:       {"text/plain"},
	Raw: {
		"application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream",
		"application/octet-stream", "text/plain", "",
	},
}

// maxErrorBody is far more than any message of dockerd.
const maxErrorBody = 64 << 10

// Header is what may be known of an answer's head.
type Header struct {
	// ContentType is as the engine said it, and of the expected kind.
	ContentType string
	// The following are of /_ping.
	APIVersion, OSType, Experimental, BuilderVersion, Swarm, Server string
}

func headerOf(h http.Header) Header {
	return Header{
		ContentType: h.Get("Content-Type"), APIVersion: h.Get("Api-Version"), OSType: h.Get("Ostype"),
		Experimental: h.Get("Docker-Experimental"), BuilderVersion: h.Get("Builder-Version"),
		Swarm: h.Get("Swarm"), Server: h.Get("Server"),
	}
}

// check refuses every head that is not that of a complete answer of the
// expected kind. For a status of 400 and more it reads the message.
func check(r Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK && answer.StatusCode < http.StatusBadRequest || answer.StatusCode > 599 {
		return fmt.Errorf("%w: status %d", ErrUnexpected, answer.StatusCode)
	}
	if encodings := answer.Header.Values("Content-Encoding"); len(encodings) > 0 {
		return fmt.Errorf("%w: content encoding %q", ErrUnexpected, encodings)
	}
	if answer.Header.Get("Upgrade") != "" {
		return fmt.Errorf("%w: upgrade to %q", ErrUnexpected, answer.Header.Get("Upgrade"))
	}
	// Without a length and without chunks, a cut cannot be told from the end.
	if answer.ContentLength < 0 && len(answer.TransferEncoding) == 0 && r.Method != http.MethodHead {
		return fmt.Errorf("%w: neither length nor chunks", ErrUnexpected)
	}
	if answer.StatusCode != http.StatusOK {
		return statusError(r, answer)
	}
	return checkType(answer.Header, r.Content)
}

func checkType(h http.Header, content Content) error {
	values := h.Values("Content-Type")
	if len(values) > 1 {
		return fmt.Errorf("%w: content types %q", ErrUnexpected, values)
	}
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if !slices.Contains(mediaTypes[content], strings.ToLower(strings.TrimSpace(media))) {
		return fmt.Errorf("%w: content type %q", ErrUnexpected, h.Get("Content-Type"))
	}
	return nil
}

// statusError reads `{"message":"No such container: x"}`.
func statusError(r Request, answer *http.Response) error {
	if r.Method == http.MethodHead {
		return &StatusError{Status: answer.StatusCode, Message: http.StatusText(answer.StatusCode)}
	}
	if err := checkType(answer.Header, JSON); err != nil {
		return fmt.Errorf("status %d: %w", answer.StatusCode, err)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxErrorBody+1))
	if err != nil {
		return fmt.Errorf("read message of status %d: %w: %w", answer.StatusCode, ErrUnavailable, err)
	}
	var said struct {
		Message string `json:"message"`
	}
	if len(text) > maxErrorBody || json.Unmarshal(text, &said) != nil || said.Message == "" {
		return fmt.Errorf("%w: status %d without a message", ErrUnexpected, answer.StatusCode)
	}
	return &StatusError{Status: answer.StatusCode, Message: said.Message}
}

// body is the body of an answer together with what its request holds.
type body struct {
	ctx    context.Context // of the request
	engine context.Context
	src    io.ReadCloser
	end    func() // ends the request
	after  func() // gives its place back; nil without limits
	once   sync.Once
}

func (b *body) onClose(f func()) { b.after = f }

// Read reads the engine's bytes.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read answer of engine: %w", b.explain(err))
	}
	return n, err
}

// explain says whose doing an error is.
func (b *body) explain(err error) error {
	cause := context.Cause(b.ctx)
	if cause == nil {
		// Close reaches the connection and the request at the same time.
		cause = context.Cause(b.engine)
	}
	switch {
	case cause == nil || errors.Is(cause, errTimeout):
		return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(err, cause))
	case errors.Is(cause, ErrClosed):
		return ErrClosed
	}
	return cause
}

// Close ends the request if it has not ended. The engine notices at once.
func (b *body) Close() error {
	b.once.Do(func() {
		_ = b.src.Close() // the end of an answer that nobody wants
		b.end()
		if b.after != nil {
			b.after()
		}
	})
	return nil
}
