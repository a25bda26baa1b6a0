package cri

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/rounds"
)

const (
	// defaultInterval is for what no event and no want has told, so it may be
	// as slow as the kubelet is with a dead container.
	defaultInterval = 10 * time.Second
	// listSpacing is the least time between two listings. With it a container
	// is known within what the processor waits by default (500 ms), and a
	// runtime that starts hundreds of containers is asked four times a second.
	listSpacing = 250 * time.Millisecond
	// reconnectAfter is the wait before the socket is tried again. A refused
	// connect to a Unix socket costs microseconds.
	reconnectAfter = 500 * time.Millisecond
)

// Options are what New needs. Zero values mean the defaults.
type Options struct {
	// Name is the configuration key of the source, "containerd" by default.
	Name string
	// Endpoint is the runtime's socket, "unix:///run/containerd/containerd.sock"
	// by default.
	Endpoint string
	// Interval is the longest time between two listings, 10 s by default.
	Interval time.Duration
	// KeepEnv tells which environment variables of containers are kept, by
	// name. The runtime hands out all of them, secrets included, and nil keeps
	// none. It is called by the goroutine of Run.
	KeepEnv func(name string) bool
}

// Source is an [entity.Source] over one runtime's socket.
type Source struct {
	options Options
	view    view
	up      bool // Up was told after the last Down
	down    bool // Down was told after the last Up

	wants *rounds.Queue
}

var errEndpoint = errors.New("it is no unix:///absolute/path")

// New checks the options. It connects to nothing.
func New(options Options) (*Source, error) {
	if options.Name == "" {
		options.Name = "containerd"
	}
	if options.Endpoint == "" {
		options.Endpoint = "unix:///run/containerd/containerd.sock"
	}
	if options.Interval <= 0 {
		options.Interval = defaultInterval
	}
	if options.KeepEnv == nil {
		options.KeepEnv = func(string) bool { return false }
	}
	u, err := url.Parse(options.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("parse endpoint: %w", err)
	}
	if u.Scheme != "unix" || u.Host != "" || len(u.Path) < 2 {
		return nil, fmt.Errorf("use endpoint %q: %w", options.Endpoint, errEndpoint)
	}
	return &Source{
		options: options,
		view:    newView(),
		wants:   rounds.NewQueue(),
	}, nil
}

// Name is the configuration key of the source.
func (s *Source) Name() string { return s.options.Name }

// Want makes a listing due. It does not block; what exceeds the bound of
// waiting ids is forgotten, and comes with the next listing if it exists.
func (s *Source) Want(id, podUID string) { s.wants.Add(rounds.Want{ID: id, PodUID: podUID}) }

// Run tells the sink what the runtime has until ctx is done. It must not run
// twice at the same time.
func (s *Source) Run(ctx context.Context, sink entity.Sink) {
	for {
		err := s.serve(ctx, sink)
		if ctx.Err() != nil {
			return
		}
		s.up = false
		if !s.down {
			s.down = true
			sink.Down(s.Name(), err)
		}
		if !rounds.Pause(ctx, s.retryAfter(err)) {
			return
		}
	}
}

// retryAfter is short for a runtime that is away or starting. One that answers
// what we cannot use would answer the same again, and asking costs it as much
// as a listing.
func (s *Source) retryAfter(err error) time.Duration {
	switch status.Code(err) {
	case codes.ResourceExhausted, codes.Internal, codes.Unimplemented, codes.PermissionDenied:
		return max(s.options.Interval, reconnectAfter)
	}
	return reconnectAfter
}
