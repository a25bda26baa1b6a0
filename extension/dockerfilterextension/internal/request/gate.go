package request

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bounds what one connection may cost. The sizes are constants:
// [MaxHead], [MaxTarget].
type Limits struct {
	// HeadTimeout is how long a head may take from its first byte to its last;
	// 0 is no limit of the gate's own. The server's ReadHeaderTimeout bounds
	// only the first head of a connection: later ones come to net/http in one
	// piece, so that the server's clock begins when they are complete.
	HeadTimeout time.Duration
}

// ErrPipelined ends a connection whose client sent more than [MaxHead] bytes
// behind a request that was not answered yet.
var ErrPipelined = errors.New("too much behind an unanswered request")

// Gate is the connection that net/http.Server gets in place of the client's.
// Writes go to the client. Reads yield, for each head of the client and
// whether or not it is refused, one head written here; the outcome of [Parse]
// waits in a queue for [Gate.Pop]. After a refusal that ends the connection
// nothing of the client is looked at any more.
//
// While a handler runs the gate looks for the end of the connection only: a
// request that is already behind the running one does not hide that the client
// has left, as it would with a plain connection.
//
// Like with any net.Conn, methods may be called at the same time; but there is
// one reader, and the server is it.
type Gate struct {
	net.Conn

	headTimeout time.Duration

	// Of the reader alone:
	in      []byte // from the client, not yet parsed
	scanned int    // bytes of in that headEnd has looked at
	out     string // of the synthetic head, not yet read by net/http
	ended   bool   // no further head is parsed
	ignored int    // bytes thrown away since
	broken  error  // ErrPipelined, once that was found

	// lingers is set when Close has to take what the client still sends.
	lingers atomic.Bool

	mu    sync.Mutex
	queue []outcome // at most two: the server reads ahead by one byte
	outer time.Time // the server's read deadline
	inner time.Time // the head's; zero while none has begun
}

type outcome struct {
	request *Request
	refusal *Refusal
}

// NewGate puts a gate in front of conn, which it then owns.
func NewGate(conn net.Conn, limits Limits) *Gate {
	return &Gate{Conn: conn, headTimeout: limits.HeadTimeout}
}

// NetConn returns the connection behind the gate, for questions about its
// peer. Reading from it breaks the gate.
func (g *Gate) NetConn() net.Conn { return g.Conn }

// Pop returns what came of the request that the caller handles: handlers of a
// connection run one after the other and each has to call it once. The Request
// is never nil. Without a request in the queue, which would be a defect, it
// returns a refusal.
func (g *Gate) Pop() (*Request, *Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		return &Request{Close: true}, &Refusal{
			Status: http.StatusInternalServerError, Message: "no request to answer", Reason: ReasonInternal, Early: true,
		}
	}
	next := g.queue[0]
	g.queue = slices.Delete(g.queue, 0, 1)
	return next.request, next.refusal
}

// Read gives net/http the next head. A buffer of one byte is its wait for the
// end of the connection beside a running handler: that gets no head, only
// errors.
func (g *Gate) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case g.out != "":
	case len(p) == 1:
		return 0, g.watch()
	default:
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.out)
	g.out = g.out[n:]
	return n, nil
}

// next waits for one whole head and parses it.
func (g *Gate) next() error {
	for {
		if g.broken != nil {
			return g.broken
		}
		if g.ended {
			return io.EOF
		}
		end, looked, found := headEnd(g.in, g.scanned)
		g.scanned = looked
		if found {
			g.disarm()
			g.take(end)
			return nil
		}
		if len(g.in) > 0 {
			g.arm()
		}
		if err := g.fill(); err != nil {
			return err
		}
	}
}

// take parses the first bytes of the input and puts a head for net/http in
// their place.
func (g *Gate) take(end int) {
	request, refusal, closeAfter := Parse(g.in[:end])
	g.in = g.in[:copy(g.in, g.in[end:])]
	g.scanned = 0
	if cap(g.in) > minBuffer && len(g.in) == 0 {
		g.in = nil
	}
	if closeAfter {
		g.ended = true
		g.in = nil
		g.lingers.Store(refusal != nil)
	}
	g.out = syntheticHead(request)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue = append(g.queue, outcome{request, refusal})
}

// minBuffer holds the ordinary head: 100 to 500 bytes.
const minBuffer = 1 << 10

// fill reads once from the client. There is always room: a full buffer is a
// head that was found to be too large, or the end of the connection.
func (g *Gate) fill() error {
	if len(g.in) == cap(g.in) {
		grown := make([]byte, len(g.in), min(max(minBuffer, 2*cap(g.in)), MaxHead))
		copy(grown, g.in)
		g.in = grown
	}
	n, err := g.Conn.Read(g.in[len(g.in):cap(g.in)])
	g.in = g.in[:len(g.in)+n]
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// watch waits for the connection to end and keeps what comes meanwhile.
func (g *Gate) watch() error {
	for {
		wait := g.fill
		if g.ended {
			wait = g.ignore
		} else if len(g.in) == MaxHead {
			g.broken = ErrPipelined
			return g.broken
		}
		if err := wait(); err != nil {
			return err
		}
	}
}
