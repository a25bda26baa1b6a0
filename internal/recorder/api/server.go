package api

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// idleFor is how long a connection may wait for its next request: longer than the
// poll of an open page, shorter than anything a firewall forgets.
const idleFor = 2 * time.Minute

// headWithin is how long a request's head may take. It is one packet, so that 10 s
// allow for it to be lost a few times; longer is somebody who keeps places.
const headWithin = 10 * time.Second

// Server is the recorder's HTTP server. Make it with New; Start it once, and Shut it
// down once.
type Server struct {
	o       Options
	parser  parser.Parser
	gate    *gate
	hub     *hub
	zips    *sync.Pool
	hosts   map[string]bool
	session string

	requests atomic.Uint64
	denied   denials

	// tcp and local are the servers of the two kinds of listeners.
	tcp, local *http.Server
	listeners  []*listener
	running    sync.WaitGroup
	cancel     context.CancelFunc
}

// New checks the options. Nothing is opened before Start.
func New(o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	s := &Server{
		o:       o,
		parser:  parser.NewParser(parser.Options{}),
		gate:    newGate(o.Limits.Queries, o.Limits.Waiting),
		zips:    newZipPool(),
		hosts:   map[string]bool{"localhost": true},
		session: rand.Text(),
	}
	for _, name := range o.AllowedHosts {
		s.hosts[hostName(name)] = true
	}
	s.hub = newHub(o)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	routes := s.routes()
	s.tcp = s.server(ctx, s.guard(routes, false))
	s.local = s.server(ctx, s.guard(routes, true))
	if o.TLS != nil {
		s.tcp.TLSConfig = o.TLS.Clone()
		s.tcp.TLSConfig.MinVersion = max(o.TLS.MinVersion, tls.VersionTLS12)
	}
	return s, nil
}

func (s *Server) server(ctx context.Context, handler http.Handler) *http.Server {
	// HTTP/2 would put hundreds of requests into one connection, which Connections
	// could not bound, for the sake of pages that need few.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: min(s.o.Limits.Stall, headWithin),
		IdleTimeout:       idleFor,
		MaxHeaderBytes:    s.o.Limits.HeaderBytes,
		ErrorLog:          log.New(&serverLog{to: s.o.Log}, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		// OPTIONS * gets to the guard like everything else.
		DisableGeneralOptionsHandler: true,
		// No ReadTimeout and no WriteTimeout: they would end every live view. The guard
		// and pacedWriter set deadlines instead.
	}
}

// EndpointError says which endpoint could not be opened.
type EndpointError struct {
	// Endpoint is as in [Options.Endpoints].
	Endpoint string
	Err      error
}

// Error returns what went wrong, which names the address.
func (e *EndpointError) Error() string { return e.Err.Error() }

// Unwrap returns what went wrong.
func (e *EndpointError) Unwrap() error { return e.Err }

// Start opens all endpoints, or none, and serves them. The context bounds opening only.
func (s *Server) Start(ctx context.Context) error {
	for _, endpoint := range s.o.Endpoints {
		l, err := s.listen(ctx, endpoint)
		if err != nil {
			s.closeListeners()
			return &EndpointError{Endpoint: endpoint, Err: err}
		}
		s.listeners = append(s.listeners, l)
	}
	s.running.Go(s.hub.run)
	for _, l := range s.listeners {
		s.running.Go(func() { s.serve(l) })
	}
	return nil
}

func (s *Server) serve(l *listener) {
	bounded := newBoundedListener(l, s.o.Limits.Connections, &s.denied.connections)
	var err error
	switch {
	case l.socket != nil:
		err = s.local.Serve(bounded)
	case s.o.TLS != nil: // not the server's own, which net/http fills in
		err = s.tcp.ServeTLS(bounded, "", "")
	default:
		err = s.tcp.Serve(bounded)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		s.o.Log.Error("recorder: listener ended", "address", l.Addr().String(), "error", err)
	}
}

// closeListeners is for listeners that nobody serves yet.
func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close()
		l.remove()
	}
	s.listeners = nil
}

// Addresses returns what is listened on, as URLs: http://127.0.0.1:9480, or unix://
// and a path. It is empty before Start.
func (s *Server) Addresses() []string {
	scheme := "http://"
	if s.o.TLS != nil {
		scheme = "https://"
	}
	var all []string
	for _, l := range s.listeners {
		if l.socket != nil {
			all = append(all, "unix://"+l.socket.Path())
			continue
		}
		all = append(all, scheme+l.Addr().String())
	}
	return all
}

// Warnings returns sentences about what works and should not stay so.
func (s *Server) Warnings() []string {
	if s.o.Token == "" || s.o.TLS != nil {
		return nil
	}
	var all []string
	for _, l := range s.listeners {
		if address, ok := l.Addr().(*net.TCPAddr); ok && !address.IP.IsLoopback() {
			all = append(all, fmt.Sprintf("the token for %s crosses the network in clear (configure tls)", address))
		}
	}
	return all
}

// Handler is what TCP listeners serve, for tests and other servers. Live views need
// Start.
func (s *Server) Handler() http.Handler { return s.tcp.Handler }

// Shutdown ends live views at once, lets other requests end until ctx does, and then
// cuts them off. It returns the error of ctx if that was necessary.
func (s *Server) Shutdown(ctx context.Context) error {
	s.hub.stop()
	var errs []error
	for _, server := range []*http.Server{s.tcp, s.local} {
		if err := server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("end requests: %w", err))
		}
	}
	s.cancel() // running queries end by this
	for _, server := range []*http.Server{s.tcp, s.local} {
		_ = server.Close() // whatever is left
	}
	s.running.Wait()
	for _, l := range s.listeners {
		l.remove()
	}
	return errors.Join(errs...)
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{Requests: s.requests.Load(), Denied: s.denied.counts(), Queries: s.gate.stats(), Live: s.hub.stats()}
}

// validID knows what the recorder makes as names of captures, and ids of containers:
// what is safe in a header, and as a file name.
func validID(id string) bool {
	const most = 128 // twice the id of a container
	if id == "" || len(id) > most || id[0] == '.' {
		return false
	}
	return strings.IndexFunc(id, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("._-", r)
	}) < 0
}
