package udsstatsdreceiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/limit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

const directoryMode = 0o755

// server is what the metrics and the logs instance of one configuration share:
// the sockets, and all that was sent since the last flush.
type server struct {
	cfg       *Config
	log       *zap.Logger
	inSeconds bool // timers
	adds      bool // somebody takes metrics
	status    func(error)

	table *aggregate.Table
	// book, limiter and the accounts in it are guarded by the table's lock.
	book    *book
	limiter *limit.Limiter[*origin.Origin]
	nobody  *origin.Origin
	records *records

	view     *hostview.View   // nil without origin detection
	resolver *origin.Resolver // likewise
	claims   *origin.Claims   // likewise; guarded by the table's lock
	sockets  []*transport.Socket
	stream   *transport.Listener
	places   places // of the stream's connections

	explained bool // of the goroutine that flushes

	cancel  context.CancelFunc
	running sync.WaitGroup
	closed  bool // guarded by shared.mu
}

func newServer(cfg *Config, log *zap.Logger) (*server, error) {
	policy, err := cfg.policy()
	if err != nil {
		return nil, err
	}
	nobody := &origin.Origin{}
	s := &server{
		cfg: cfg, log: log, inSeconds: cfg.TimerUnit == timerSeconds,
		nobody: nobody, records: newRecords(time.Now),
		table: aggregate.New(aggregate.Settings{
			Cumulative: cfg.Temporality == temporalityCumulative, Policy: policy, Expiry: cfg.Expiry,
			Limits: aggregate.Limits{
				OriginContexts: cfg.Limits.OriginContexts, Contexts: cfg.Limits.Contexts, Bytes: cfg.Limits.MemoryMiB << 20,
				OriginBytes: cfg.Limits.OriginMemoryMiB << 20,
			},
		}),
		limiter: limit.New[*origin.Origin](limit.Options{
			Origin: limit.Rate{PerSecond: cfg.Limits.OriginRate}, Global: limit.Rate{PerSecond: cfg.Limits.Rate},
		}, origin.Clock()),
		places: places{most: cfg.Limits.Connections, taken: map[*origin.Origin]int{}},
		cancel: func() {}, status: func(error) {},
	}
	s.book = newBook(nobody, s.table)
	return s, nil
}

// start opens the sockets and begins to read. An error leaves nothing behind.
func (s *server) start(store *transport.Store) error {
	if s.cfg.OriginDetection {
		if err := s.openOrigins(); err != nil {
			return err
		}
	}
	opened := origin.Clock()
	if err := s.listen(store); err != nil {
		return errors.Join(err, s.close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, socket := range s.sockets {
		since := opened
		if r := socket.Report(); r.Restored {
			since = r.Empty // older datagrams may be in its queue
		}
		if err := s.read(ctx, socket, since); err != nil {
			return errors.Join(err, s.close())
		}
	}
	if s.stream != nil {
		s.running.Go(func() { s.ended("stream_endpoint", s.stream.Run(ctx, s.admit)) })
	}
	s.logStart()
	return nil
}

func (s *server) openOrigins() error {
	view, err := hostview.Acquire(hostview.Options{
		Roots: hostfs.NewRoots(s.cfg.RootPath), ProcessStream: hostview.ProcessStream(s.cfg.ProcessStream),
	})
	if errors.Is(err, hostfs.ErrNotSupported) {
		s.log.Info("senders are not matched to containers", zap.Error(err))
		return nil
	}
	if err != nil {
		return err
	}
	s.view = view
	modes := map[string]origin.ClientMode{clientOff: origin.ClientOff, clientFallback: origin.ClientFallback, clientFirst: origin.ClientFirst}
	s.resolver = origin.Open(origin.Options{
		View: view, Roots: hostfs.NewRoots(s.cfg.RootPath), Client: modes[s.cfg.ClientOrigin],
	})
	s.claims = s.resolver.Claims()
	return nil
}

func (s *server) listen(store *transport.Store) error {
	mode, err := s.cfg.mode()
	if err != nil {
		return fmt.Errorf("socket_permissions: %w", err)
	}
	if err := s.makeDirectories(); err != nil {
		return err
	}
	wantPIDFD := s.resolver != nil && s.resolver.WantPIDFD()
	if s.cfg.Endpoint != "" {
		socket, err := transport.ListenUnix(transport.UnixOptions{
			Path: s.cfg.Endpoint, Mode: mode, Depth: s.cfg.QueueDepth, BufferBytes: s.cfg.BufferSize,
			PidFDs: wantPIDFD, Store: store, Name: "uds_statsd" + s.cfg.Endpoint,
		})
		if err != nil {
			return fmt.Errorf("endpoint: %w", err)
		}
		s.sockets = append(s.sockets, socket)
	}
	if s.cfg.UDPEndpoint != "" {
		socket, err := transport.ListenUDP(transport.UDPOptions{Address: s.cfg.UDPEndpoint, BufferBytes: s.cfg.BufferSize})
		if err != nil {
			return fmt.Errorf("udp_endpoint: %w", err)
		}
		s.sockets = append(s.sockets, socket)
	}
	if s.cfg.StreamEndpoint == "" {
		return nil
	}
	if s.stream, err = transport.ListenStream(transport.StreamOptions{
		Path: s.cfg.StreamEndpoint, Mode: mode, PidFDs: s.resolver != nil, Store: store, Name: "uds_statsd" + s.cfg.StreamEndpoint,
	}); err != nil {
		return fmt.Errorf("stream_endpoint: %w", err)
	}
	return nil
}

// makeDirectories is for who asks for it. Everybody may enter, whatever our umask
// says, and only we may change what is in them.
func (s *server) makeDirectories() error {
	if !s.cfg.CreateDirectory {
		return nil
	}
	for _, place := range []struct{ field, path string }{
		{"endpoint", s.cfg.Endpoint}, {"stream_endpoint", s.cfg.StreamEndpoint},
	} {
		dir := filepath.Dir(place.path)
		if _, err := os.Stat(dir); place.path == "" || !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		err := os.MkdirAll(dir, directoryMode)
		if err == nil {
			err = os.Chmod(dir, directoryMode)
		}
		if err != nil {
			return fmt.Errorf("%s: make directory: %w", place.field, err)
		}
	}
	return nil
}

// read starts a reader of one socket.
func (s *server) read(ctx context.Context, socket *transport.Socket, since time.Duration) error {
	in := &intake{s: s}
	if s.resolver != nil && socket.Addr() == nil {
		var err error
		if in.senders, err = s.resolver.Senders(since); err != nil {
			return err
		}
	}
	s.running.Go(func() {
		s.ended("endpoint", socket.Run(ctx, in))
		if in.senders != nil {
			s.ended("endpoint", errors.Join(in.senders.Close(), socket.MarkEmpty(in.empty)))
		}
	})
	return nil
}

func (s *server) ended(field string, err error) {
	if err != nil {
		s.log.Error("a socket is no longer read", zap.String("field", field), zap.Error(err))
		s.status(fmt.Errorf("%s: %w", field, err))
	}
}

// admit resolves the peer of a connection once.
func (s *server) admit(peer *transport.Peer) (transport.Session, bool) {
	from := s.nobody
	in := &intake{s: s}
	if s.resolver != nil {
		from = s.resolver.Peer(peer.PID, peer.PidFD)
	}
	if !s.places.take(from) {
		s.table.Lock()
		defer s.table.Unlock()
		s.book.account(from).dropped.add("connections", 1)
		return transport.Session{}, false
	}
	return transport.Session{
		Frame:  func(payload []byte) { in.frame(from, payload) },
		Counts: &in.parser.Counts,
		End: func(error) {
			s.places.give(from)
			s.table.Lock()
			defer s.table.Unlock()
			in.parser.Counts.MoveTo(&s.book.account(from).parse)
		},
	}, true
}

// close ends the readers, which take what is in the queues, and gives all back.
// Whose the last of it is can be asked still. A second call does nothing.
func (s *server) close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.cancel()
	s.running.Wait()
	if s.resolver != nil {
		s.resolver.CatchUp() // who has just ended is not known yet
	}
	var errs []error
	for _, socket := range s.sockets {
		errs = append(errs, socket.Close())
	}
	if s.stream != nil {
		errs = append(errs, s.stream.Close())
	}
	if s.resolver != nil {
		s.resolver.Close()
		s.view.Release()
	}
	return errors.Join(errs...)
}

// explain says once why senders are not found, if that is because of how this
// agent is run: nothing else would tell, but a number.
func (s *server) explain() {
	if s.resolver == nil || s.explained {
		return
	}
	if n := s.resolver.Stats().Unresolved[origin.ReasonNamespace]; n > 0 {
		s.explained = true
		s.log.Warn("senders are outside of this agent's pid namespace, so nobody knows their containers: run the agent with "+
			"the host's (docker run --pid host, hostPID: true), or trust what clients say of themselves (client_origin: fallback)",
			zap.Uint64("senders", n))
	}
}

// logStart says once what was obtained, and what it means if that is less than
// was asked for.
func (s *server) logStart() {
	for _, socket := range s.sockets {
		r := socket.Report()
		fields := []zap.Field{zap.Int("queue_depth", r.Depth), zap.Bool("restored", r.Restored)}
		if socket.Addr() != nil {
			s.log.Info("taking DogStatsD over UDP; its senders are unknown", append(fields, zap.Stringer("address", socket.Addr()))...)
			continue
		}
		s.log.Info("taking DogStatsD", append(fields, zap.String("endpoint", s.cfg.Endpoint))...)
		if r.Shallow != nil && r.Depth < transport.AmpleDepth {
			s.log.Info("the queue is only as deep as the host makes it: senders are refused when they burst; "+
				"run with CAP_SYS_ADMIN, or raise net.unix.max_dgram_qlen", zap.Int("queue_depth", r.Depth), zap.Error(r.Shallow))
		}
		s.logKept("endpoint", r)
		s.logDirectory("endpoint", s.cfg.Endpoint)
	}
	if s.stream != nil {
		s.log.Info("taking DogStatsD by connections", zap.String("stream_endpoint", s.cfg.StreamEndpoint))
		s.logKept("stream_endpoint", s.stream.Report())
		s.logDirectory("stream_endpoint", s.cfg.StreamEndpoint)
	}
	if s.resolver == nil {
		return
	}
	fields := []zap.Field{zap.String("tier", string(s.resolver.Tier()))}
	if err := s.resolver.Check(); err != nil {
		fields = append(fields, zap.Error(err))
	}
	s.log.Info("finding senders by the kernel's word", fields...)
}

// logKept tells what of the store's help was not to be had, where there is one.
func (s *server) logKept(field string, r transport.Report) {
	if r.NotRestored != nil {
		s.log.Warn("the socket of before the restart is not used; what was in its queue is lost", zap.String("field", field), zap.Error(r.NotRestored))
	}
	if r.NotKept != nil && !errors.Is(r.NotKept, transport.ErrNoStore) {
		s.log.Warn("the socket will not outlive a restart", zap.String("field", field), zap.Error(r.NotKept))
	}
}

// logDirectory warns of a directory in which anybody may put another socket in
// the place of ours, and take what is sent to it. Not of one with the sticky bit,
// such as /tmp.
func (s *server) logDirectory(field, path string) {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		s.log.Warn("every user may replace the socket", zap.String("field", field), zap.String("directory", dir))
	}
}
