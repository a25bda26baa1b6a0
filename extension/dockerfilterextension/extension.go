package dockerfilterextension

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/extension"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/metadata"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/policy"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/request"
	"github.com/tallymanhq/tallyman/internal/unixsocket"
)

const (
	// headWithin is how long a client may take to say what it wants.
	headWithin = 10 * time.Second
	// idleFor is how long a connection may wait for its next request; clients
	// that keep theirs ask every few seconds.
	idleFor = 2 * time.Minute
	// closeWithin bounds how long a shutdown waits for running answers.
	closeWithin = 3 * time.Second
)

// filter is the extension. Start and Shutdown are called once, by the
// Collector.
type filter struct {
	cfg *Config
	set extension.Settings
	log *zap.Logger

	path       string
	socket     *unixsocket.Listener
	engine     *engine.Engine
	policy     *policy.Policy
	identifier *policy.Identifier
	rules      projections
	telemetry  *metadata.TelemetryBuilder
	server     *http.Server
	release    func() // of the catalog
	serving    sync.WaitGroup
	// listening, if set, is called before the first connection is taken: for tests.
	listening func()
	// connections are those of clients.
	connections *connections
}

func newFilter(cfg *Config, set extension.Settings) (*filter, error) {
	path, err := socketPath(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	return &filter{cfg: cfg, set: set, log: set.Logger, path: path, release: func() {}, connections: newConnections()}, nil
}

// Start opens the socket. An engine that does not answer is no error: its
// clients are told until it does.
func (f *filter) Start(ctx context.Context, host component.Host) error {
	if err := f.start(ctx, host); err != nil {
		// The Collector's last words do not say which extension it was.
		return fmt.Errorf("%s: %w", f.set.ID, err)
	}
	return nil
}

func (f *filter) start(ctx context.Context, host component.Host) error {
	var err error
	if f.telemetry, err = metadata.NewTelemetryBuilder(f.set.TelemetrySettings); err != nil {
		return err
	}
	o := f.cfg.engineOptions()
	o.MaxAPI = maxAPI
	o.Observe = f.observeUpstream
	if f.engine, err = engine.New(o); err != nil {
		return err
	}
	if f.policy, err = policy.New(f.cfg.Config, policy.Options{Catalog: newDirectory(f.engine.Catalog())}); err != nil {
		return f.abandon(err)
	}
	if err = f.rules.compile(f.policy); err != nil {
		return f.abandon(err)
	}
	if len(f.cfg.Clients) > 0 {
		f.release = f.engine.Catalog().Hold()
	}
	f.identifier = policy.NewIdentifier()
	if f.socket, err = unixsocket.Listen(ctx, f.path, f.cfg.Socket.apply); err != nil {
		return f.abandon(fmt.Errorf("endpoint: %w", err))
	}
	if f.listening != nil {
		f.listening()
	}
	f.serve(host)
	f.logStart()
	return nil
}

// abandon gives back what a start that did not succeed has taken.
func (f *filter) abandon(err error) error {
	f.release()
	f.engine.Close()
	return err
}

func (f *filter) serve(host component.Host) {
	f.server = &http.Server{
		Handler:           http.HandlerFunc(f.handle),
		ReadHeaderTimeout: headWithin,
		IdleTimeout:       idleFor,
		ConnContext:       f.connected,
		ConnState:         f.connections.changed,
		ErrorLog:          stdLog(f.log),
	}
	f.serving.Go(func() {
		err := f.server.Serve(gated{f.socket.UnixListener, f.connections})
		if !errors.Is(err, http.ErrServerClosed) {
			f.log.Error("docker_filter no longer listens", zap.Error(err))
			componentstatus.ReportStatus(host, componentstatus.NewPermanentErrorEvent(err))
		}
	})
}

func (f *filter) logStart() {
	f.log.Info("serving the Docker API, read-only",
		zap.String("endpoint", f.cfg.Endpoint), zap.String("upstream", f.cfg.Upstream), zap.String("mode", f.cfg.Mode),
		zap.Int("rules", len(f.cfg.Clients)), zap.Uint32("policy.generation", f.policy.Generation()))
	err := f.identifier.Check()
	switch {
	case err == nil:
	case len(f.cfg.Clients) > 0:
		f.log.Warn("not every client can be identified", zap.Error(err))
	default: // no rule asks who it is
		f.log.Info("not every client can be identified", zap.Error(err))
	}
}

// Shutdown ends all streams and removes the socket, if it is still ours.
func (f *filter) Shutdown(ctx context.Context) error {
	if f.server == nil {
		return nil
	}
	err := f.socket.Remove() // first: it is still surely ours
	ctx, cancel := context.WithTimeout(ctx, closeWithin)
	defer cancel()
	f.release()
	f.engine.Close() // ends the streams, which Shutdown would wait for
	if f.server.Shutdown(ctx) != nil {
		err = errors.Join(err, f.server.Close())
	}
	f.serving.Wait()
	f.telemetry.Shutdown()
	f.server = nil
	return err
}

// stdLog is for what net/http has to say, such as a panic of a handler.
func stdLog(log *zap.Logger) *stdlog.Logger {
	std, err := zap.NewStdLogAt(log, zap.WarnLevel)
	if err != nil {
		return zap.NewStdLog(log) // warn is a level
	}
	return std
}

// gated puts a gate in front of each connection.
type gated struct {
	*net.UnixListener
	connections *connections
}

// Accept implements net.Listener.
func (l gated) Accept() (net.Conn, error) {
	conn, err := l.AcceptUnix()
	for ; err == nil && !l.connections.admit(); conn, err = l.AcceptUnix() {
		_ = conn.Close() // nobody has said anything yet
	}
	if err != nil {
		return nil, err
	}
	return request.NewGate(conn, request.Limits{HeadTimeout: headWithin}), nil
}
