package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Engine is one Docker engine. Its methods are safe for concurrent use.
type Engine struct {
	o         Options
	scheme    string
	dialer    *dialer
	transport *http.Transport
	limiter   *limiter
	versions  *versions
	sharer    *sharer
	hub       *hub
	catalog   *Catalog
	counters  counters

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc
	mu     sync.Mutex // guards closed, against wg.Add after wg.Wait
	closed bool
	wg     sync.WaitGroup
}

type counters struct{ asked, shared, busy, slow, lists, skipped atomic.Uint64 }

// Stats are counts since New.
type Stats struct {
	// Asked went to the engine, those of the catalog and the hub included.
	Asked uint64
	// Shared were answered from another request's answer.
	Shared uint64
	// Busy were refused for a bound of this package.
	Busy uint64
	// Slow subscribers were cut off.
	Slow uint64
	// Skipped are events that were too long to be handed out.
	Skipped uint64
	// Lists is how often the catalog asked for all containers.
	Lists uint64
}

// New prepares the client; it asks nothing. Close it. Errors begin with the
// name of the setting.
func New(o Options) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	network, address, err := o.address()
	if err != nil {
		return nil, err
	}
	e := &Engine{o: o, scheme: "http", dialer: newDialer(network, address), limiter: newLimiter(o)}
	var config *tls.Config
	if network == "tcp" {
		e.scheme = "https"
		if config, err = o.TLS.config(address); err != nil {
			return nil, err
		}
	}
	only1 := new(http.Protocols)
	only1.SetHTTP1(true)
	e.transport = &http.Transport{
		DialContext:         e.dialer.dial,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: dialWithin,
		Protocols:           only1,
		DisableCompression:  true,
		MaxIdleConns:        o.Concurrency,
		MaxIdleConnsPerHost: o.Concurrency,
		IdleConnTimeout:     idleFor,
		// dockerd's heads are below 1 KiB.
		MaxResponseHeaderBytes: 16 << 10,
	}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	e.versions = newVersions(e)
	e.sharer = newSharer(e)
	e.hub = &hub{engine: e}
	e.catalog = newCatalog(e)
	return e, nil
}

// Close ends all requests, streams and subscriptions with ErrClosed and waits
// for the goroutines of this package. It may be called twice.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.cancel(ErrClosed)
	e.wg.Wait()
	e.sharer.close()
	e.dialer.close()
	e.transport.CloseIdleConnections()
}

// Stats returns the counts so far.
func (e *Engine) Stats() Stats {
	c := &e.counters
	return Stats{Asked: c.asked.Load(), Shared: c.shared.Load(), Busy: c.busy.Load(), Slow: c.slow.Load(), Skipped: c.skipped.Load(), Lists: c.lists.Load()}
}

// Catalog returns the directory of containers of this engine.
func (e *Engine) Catalog() *Catalog { return e.catalog }

// Request is one question to the engine.
type Request struct {
	// Op is the name of the operation, for Observe.
	Op string
	// Method is GET or HEAD.
	Method string
	// Target is path and query as they go out, such as "/v1.41/info".
	Target string
	// Content is what the answer must be.
	Content Content
	// Stream says that the answer may last: it does not count against the
	// concurrency and has no time-out after its head.
	Stream bool
	// Lasts says that the engine takes its time without working, as for one
	// sample of stats: it does not count against the concurrency either, but has
	// the time-out.
	Lasts bool
	// UserAgent replaces ours unless it is empty. Text that a header cannot
	// hold is ErrRequest.
	UserAgent string
}

// Response is an answer with status 200. Its body must be closed.
type Response struct {
	Header Header
	// Body ends with io.EOF only where the engine's answer ends. Other errors
	// are ErrUnavailable, ErrClosed or those of the request's context.
	Body io.ReadCloser
}

// Do asks the engine once. Errors are [ErrUnavailable], [ErrUnexpected],
// [StatusError], [BusyError], [ErrClosed], [ErrRequest] and those of ctx. The
// context also ends the body.
func (e *Engine) Do(ctx context.Context, r Request) (*Response, error) {
	return e.do(ctx, r, func() {})
}

// do calls begin when the request has its turn, just before it goes out.
func (e *Engine) do(ctx context.Context, r Request, begin func()) (*Response, error) {
	acquire, release := e.limiter.acquire, e.limiter.release
	if r.Stream || r.Lasts {
		acquire = func(context.Context) error { return e.limiter.acquireStream() }
		release = e.limiter.releaseStream
	}
	if err := acquire(ctx); err != nil {
		if errors.Is(err, ErrBusy) {
			e.counters.busy.Add(1)
		}
		return nil, fmt.Errorf("ask engine for %s: %w", r.Op, err)
	}
	begin()
	response, err := e.ask(ctx, r)
	if err != nil {
		release()
		return nil, err
	}
	response.Body.(*body).onClose(release)
	return response, nil
}

// ask is Do without the limits, for what this package asks by itself: one list
// of the catalog, one stream of events, one question for the version.
func (e *Engine) ask(ctx context.Context, r Request) (*Response, error) {
	begin := time.Now()
	e.counters.asked.Add(1)
	response, err := e.exchange(ctx, r)
	if err != nil {
		err = fmt.Errorf("ask engine for %s: %w", r.Op, err)
	}
	e.o.Observe(r.Op, time.Since(begin), err)
	return response, err
}

// exchange sends the request and checks the head of the answer.
func (e *Engine) exchange(ctx context.Context, r Request) (*Response, error) {
	if err := e.ctx.Err(); err != nil {
		return nil, context.Cause(e.ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(e.ctx, func() { cancel(ErrClosed) })
	timer := time.AfterFunc(e.o.Timeout, func() { cancel(errTimeout) })
	b := &body{ctx: ctx, engine: e.ctx, end: func() {
		timer.Stop()
		stop()
		cancel(ErrClosed)
	}}
	request, err := e.build(ctx, r)
	if err != nil {
		b.end()
		return nil, err
	}
	answer, err := e.transport.RoundTrip(request)
	if err != nil {
		err = b.explain(err)
		b.end()
		return nil, err
	}
	b.src = answer.Body
	if err := check(r, answer); err != nil {
		var status *StatusError
		if !errors.As(err, &status) {
			// What else is on this connection cannot be trusted either.
			cancel(err)
		}
		_ = b.Close()
		return nil, err
	}
	if r.Stream {
		timer.Stop()
	}
	return &Response{Header: headerOf(answer.Header), Body: b}, nil
}

// build makes the request that goes out, byte for byte from r.
func (e *Engine) build(ctx context.Context, r Request) (*http.Request, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, fmt.Errorf("%w: method %q", ErrRequest, r.Method)
	}
	if !isTarget(r.Target) {
		return nil, fmt.Errorf("%w: target %q", ErrRequest, r.Target)
	}
	agent := r.UserAgent
	if agent == "" {
		agent = e.o.UserAgent
	}
	if strings.ContainsFunc(agent, func(c rune) bool { return c < ' ' || c > '~' }) {
		return nil, fmt.Errorf("%w: user agent %q", ErrRequest, agent)
	}
	path, query, _ := strings.Cut(r.Target, "?")
	request := &http.Request{
		Method: r.Method,
		// Opaque goes out as it is; a path would be encoded once more.
		URL:    &url.URL{Scheme: e.scheme, Host: "docker", Opaque: path, RawQuery: query},
		Host:   "docker",
		Header: http.Header{"User-Agent": {agent}},
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	return request.WithContext(ctx), nil
}

// isTarget accepts the origin form in printable ASCII only. It repeats what
// the parser of the clients' requests promises, because nothing else stands
// between a mistake there and the engine.
func isTarget(target string) bool {
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || strings.HasSuffix(target, "?") {
		return false
	}
	return !strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' || c == '\\' })
}

// spawn runs f in a goroutine that Close waits for. It is false after Close.
func (e *Engine) spawn(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.wg.Go(f)
	return true
}
