package api

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
	"time"
)

// pieceBytes is how much a client gets per deadline; see Limits.Stall.
const pieceBytes = 64 << 10

// pacedWriter gives every piece of the answer a deadline of its own, so that a long
// answer may take its time while a client that stopped reading is cut off.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	// whole bounds the answer as a whole, from its first piece on, if it is not 0.
	whole time.Duration
	until time.Time
}

func newPacedWriter(w http.ResponseWriter, stall time.Duration) *pacedWriter {
	return &pacedWriter{ResponseWriter: w, control: http.NewResponseController(w), stall: stall}
}

// Unwrap is how http.ResponseController finds the connection.
func (p *pacedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// deadline has no error worth reading: a writer without deadlines is one of a test.
func (p *pacedWriter) deadline() {
	now := time.Now()
	next := now.Add(p.stall)
	if p.whole > 0 {
		if p.until.IsZero() {
			p.until = now.Add(p.whole)
		}
		if p.until.Before(next) {
			next = p.until
		}
	}
	_ = p.control.SetWriteDeadline(next)
}

// WriteHeader sends the head with the first piece.
func (p *pacedWriter) WriteHeader(code int) {
	p.deadline()
	p.ResponseWriter.WriteHeader(code)
}

// Write sends piece by piece.
func (p *pacedWriter) Write(text []byte) (int, error) {
	written := 0
	for {
		p.deadline()
		piece := text[written:min(len(text), written+pieceBytes)]
		n, err := p.ResponseWriter.Write(piece)
		written += n
		if err != nil || written == len(text) {
			return written, err
		}
	}
}

// zipFrom is the size below which packing saves no packet.
const zipFrom = 1 << 10

// zipWriter packs an answer if it grows beyond zipFrom.
type zipWriter struct {
	http.ResponseWriter
	pool *sync.Pool
	held []byte
	code int
	zip  *gzip.Writer
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			return !refusedWeight(weight)
		}
	}
	return false
}

// refusedWeight knows q=0 in the forms that HTTP allows.
func refusedWeight(weight string) bool {
	value, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(weight)), "q=")
	return ok && strings.Trim(value, "0.") == ""
}

// Unwrap is how http.ResponseController finds the connection.
func (z *zipWriter) Unwrap() http.ResponseWriter { return z.ResponseWriter }

// WriteHeader waits for the decision.
func (z *zipWriter) WriteHeader(code int) {
	if z.code == 0 {
		z.code = code
	}
}

// Write packs, or holds what is too short for that yet.
func (z *zipWriter) Write(text []byte) (int, error) {
	if z.zip != nil {
		return z.zip.Write(text)
	}
	if len(z.held)+len(text) < zipFrom {
		z.held = append(z.held, text...)
		return len(text), nil
	}
	z.Header().Set("Content-Encoding", "gzip")
	z.head()
	z.zip = z.pool.Get().(*gzip.Writer)
	z.zip.Reset(z.ResponseWriter)
	if _, err := z.zip.Write(z.held); err != nil {
		return 0, err
	}
	return z.zip.Write(text)
}

func (z *zipWriter) head() {
	if z.code != 0 {
		z.ResponseWriter.WriteHeader(z.code)
	}
}

// finish sends what is held. Without it, after a panic, the client sees that the
// answer is not whole.
func (z *zipWriter) finish() {
	if z.zip == nil {
		z.head()
		if len(z.held) > 0 {
			_, _ = z.ResponseWriter.Write(z.held)
		}
		return
	}
	_ = z.zip.Close() // who left does not read it
	z.pool.Put(z.zip)
}

func newZipPool() *sync.Pool {
	return &sync.Pool{New: func() any {
		// The fastest level: JSON shrinks tenfold at any, and the host has better to do.
		w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		if err != nil { // the level is a constant
			panic(err)
		}
		return w
	}}
}
