package ebpfconntrackreceiver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// server is what the metrics and the logs instance of one configuration share: the
// kernel's word about connections, and what has been made of it.
type server struct {
	cfg   *Config
	log   *zap.Logger
	roots hostfs.Roots

	view    *hostview.View // nil without cgroups
	places  *hostview.Places
	tracker *netns.Tracker
	peers   *peers.Table
	nat     *translator
	stream  *connstream.Stream // nil where BPF is refused
	refused error              // why
	table   *edges.Table
	looks   *looks
	pipe    *pipeline
	ended   *endings
	// processes tell of programs, if somebody asked; refusedEvents are log records
	// that the next component did not take.
	processes     atomic.Pointer[hostview.Subscription]
	refusedEvents atomic.Uint64
	adds          bool // somebody takes metrics
	// looked has a value after each look.
	looked chan struct{}
	// For the goroutine that looks.
	due time.Time // of the next look

	book  *responseBook // for the goroutine that makes metrics
	host  hostNumbers
	began time.Time

	cancel  context.CancelFunc
	running sync.WaitGroup
	closed  bool // guarded by shared.mu
}

func newServer(cfg *Config, log *zap.Logger) *server {
	return &server{
		cfg: cfg, log: log, roots: hostfs.NewRoots(cfg.RootPath),
		table: edges.New(edges.Options{Limits: edges.Limits{
			ContainerEdges: cfg.Limits.ContainerEdges, Edges: cfg.Limits.Edges, Containers: cfg.Limits.Containers,
		}, Expiry: cfg.edgeExpiry()}),
		book: newResponseBook(), looks: newLooks(log, cfg.Limits.Connections), looked: make(chan struct{}, 1), cancel: func() {},
	}
}

// start begins to watch. An error leaves nothing behind.
func (s *server) start() error {
	for _, step := range []func() error{s.openView, s.openPeers, s.openNAT} {
		if err := step(); err != nil {
			return errors.Join(err, s.close())
		}
	}
	s.began = time.Now()
	all := s.tracker.Refresh()
	s.host.home = all[0].Inode
	s.peers.Refresh(all, s.tracker.Open)
	s.join()
	s.openStream()
	s.looks.alone = s.stream == nil
	if s.stream != nil {
		s.seed(all)
	}
	s.looks.look(all, s.tracker.Open)
	s.host.read(s.tracker, all[0])
	s.due = time.Now().Add(s.cfg.CollectionInterval)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.running.Go(func() { s.peers.Run(ctx, s.tracker) })
	s.running.Go(func() { s.pipe.run(ctx) })
	s.logStart()
	return nil
}

// openView takes the shared view. Without cgroups no container is known.
func (s *server) openView() error {
	o := netns.Options{Roots: s.roots, Boot: procstream.NewReader(s.roots).StartTime(0)}
	wish := hostview.Options{Roots: s.roots} // how processes are watched is the others' to say
	if s.cfg.ProcessEvents {
		wish.ProcessStream = hostview.ProcessStreamAuto
	}
	view, err := hostview.Acquire(wish)
	switch {
	case errors.Is(err, hostview.ErrConflict):
		return fmt.Errorf("process_events: %w", err)
	case errors.Is(err, hostfs.ErrNotSupported):
		s.log.Info("no containers are known; connections are the host's", zap.Error(err))
	case err != nil:
		return err
	default:
		s.view = view
		o.Index, o.ProcsFile, o.CPUTime = view.Index(), view.ProcsFile, view.NewMeter().CPUTime
		if s.places, err = hostview.OpenPlaces(view, s.roots); err != nil {
			s.log.Info("sockets are not matched to containers by their cgroups; processes and namespaces are asked", zap.Error(err))
		}
	}
	s.tracker = netns.NewTracker(o)
	return nil
}

func (s *server) openPeers() error {
	groups, err := s.cfg.groups()
	if err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	s.peers, err = peers.New(peers.Options{
		Groups: groups, Interval: s.cfg.CollectionInterval, Listener: s.looks.listener, Refreshed: s.refreshed,
		Activity: s.tracker.Activity,
	})
	return err
}

// join connects the parts.
func (s *server) join() {
	who := &owners{view: s.view, places: s.places, peers: s.peers}
	l := s.looks
	l.owners, l.peers, l.resolver, l.home, l.table = who, s.peers, s.nat, s.host.home, s.table
	l.activity = s.tracker.Activity
	l.proxies = &proxies{proc: s.roots.Proc, reader: procstream.NewReader(s.roots)}
	s.pipe = &pipeline{
		owners: who, peers: s.peers, resolver: s.nat, home: s.host.home, table: s.table, looks: l, ended: s.ended,
		joiner: join.New[flight](join.Options{}), came: make(chan struct{}, 1),
	}
}

// openStream asks the kernel to tell of connections that end. Where it refuses,
// open connections are looked at.
func (s *server) openStream() {
	s.stream, s.refused = connstream.Open(connstream.Options{
		RingBytes: uint32(s.cfg.Limits.RingMiB) << 20, MaxConnections: uint32(s.cfg.Limits.Connections),
		ResponseTimes: s.cfg.ResponseTimes == responseTimesAuto,
		Handle:        s.pipe.handle, Lost: s.pipe.lost,
	})
	if s.refused != nil {
		s.stream = nil
	}
}

// refreshed is called with all namespaces, more often than there is a look. It
// returns how long it is until the next one.
func (s *server) refreshed(all []*netns.Namespace, open peers.Opener) time.Duration {
	if wait := time.Until(s.due); wait > 0 {
		return wait
	}
	s.due = time.Now().Add(s.cfg.CollectionInterval)
	s.ended.nextInterval()
	s.retryNAT(all[0])
	s.looks.look(all, open)
	s.host.read(s.tracker, all[0])
	select {
	case s.looked <- struct{}{}:
	default: // nobody took the last one's figures yet
	}
	return time.Until(s.due)
}

// eachLook calls f after each look until ctx ends.
func (s *server) eachLook(ctx context.Context, f func()) {
	for {
		select {
		case <-s.looked:
			f()
		case <-ctx.Done():
			return
		}
	}
}

// close ends everything, and hands out what waits to the table and the log records.
// A second call does nothing.
func (s *server) close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.cancel()
	s.running.Wait()
	s.lookLast()
	if s.stream != nil {
		s.stream.Close()
	}
	if s.pipe != nil {
		s.pipe.flush()
	}
	var err error
	if s.nat != nil {
		err = s.nat.Close()
	}
	if s.tracker != nil {
		s.tracker.Close()
	}
	s.places.Close()
	return err
}

// lookLast takes what came since the last look, if there was one.
func (s *server) lookLast() {
	if s.due.IsZero() {
		return
	}
	s.looks.look(s.tracker.Refresh(), s.tracker.Open)
	if s.stream != nil {
		s.book.read(s)
	}
}

// release gives the view back, which may be asked until then.
func (s *server) release() {
	if s.view != nil {
		s.view.Release()
		s.view = nil
	}
}

// logStart says once how connections are watched, and what is missing.
func (s *server) logStart() {
	choice := s.nat.chosen()
	fields := []zap.Field{zap.String("nat", string(choice.Mode))}
	for _, mode := range slices.Sorted(maps.Keys(choice.Refused)) {
		fields = append(fields, zap.NamedError("nat_"+string(mode), choice.Refused[mode]))
	}
	if s.stream == nil {
		s.log.Info("connections are seen only while they are open, every collection_interval; short ones, failed ones and "+
			"their names are missed: BPF is refused", append(fields, zap.Error(s.refused))...)
		return
	}
	programs := s.stream.Programs()
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		if err := programs[name]; err != nil {
			fields = append(fields, zap.NamedError(name, err))
		}
	}
	s.log.Info("watching connections", fields...)
}
