package cri

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/rounds"
)

const (
	// callWithin bounds one call. A listing of a full node takes milliseconds;
	// a runtime that needs seconds hangs.
	callWithin = 5 * time.Second
	// maxAnswer is what the kubelet accepts of a runtime (16 MiB).
	maxAnswer = 16 << 20
)

var errLost = errors.New("the runtime closed the connection")

// session is one connection and what it needs to ask.
type session struct {
	source  *Source
	sink    entity.Sink
	runtime runtimev1.RuntimeServiceClient
	images  runtimev1.ImageServiceClient
	// name and version of the runtime, as told with each container.
	name, version string
}

// serve works on one connection until it breaks, and says why it did.
//
// The connection sends no pings: on a Unix socket the kernel tells at once when
// the peer is gone, a peer that hangs is noticed by the deadlines of listings,
// and containerd, like every gRPC server by default, hangs up on clients that
// ping more often than every five minutes.
func (s *Source) serve(ctx context.Context, sink entity.Sink) error {
	conn, err := grpc.NewClient(s.options.Endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return fmt.Errorf("use endpoint %s: %w", s.options.Endpoint, err)
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		cancel(nil)
		_ = conn.Close() // nothing is waiting to be sent
		running.Wait()
	}()
	p := &session{
		source: s, sink: sink,
		runtime: runtimev1.NewRuntimeServiceClient(conn),
		images:  runtimev1.NewImageServiceClient(conn),
	}
	if err := p.hello(ctx); err != nil {
		return err
	}
	running.Go(func() {
		conn.WaitForStateChange(ctx, connectivity.Ready)
		cancel(errLost)
	})
	running.Go(func() { p.follow(ctx) })
	s.view.forgetTold()
	for {
		started := time.Now()
		if err := p.list(ctx); err != nil {
			return reason(ctx, err)
		}
		if !s.up {
			s.up, s.down = true, false
			sink.Up(s.Name())
		}
		if !s.untilNext(ctx, started) {
			return reason(ctx, ctx.Err())
		}
	}
}

// reason prefers why the connection ended to what that did to a call.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// hello learns what the runtime is.
func (p *session) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	answer, err := p.runtime.Version(ctx, &runtimev1.VersionRequest{})
	if status.Code(err) == codes.Unimplemented {
		return fmt.Errorf("ask the runtime's version: %w (needs CRI v1: containerd 1.6 or newer whose "+
			"configuration does not list cri under disabled_plugins, as Docker's package does)", err)
	}
	if err != nil {
		return fmt.Errorf("ask the runtime's version: %w", err)
	}
	p.name = answer.GetRuntimeName()
	// containerd's releases say v1.7.2, distributions 1.6.20~ds1.
	p.version = strings.TrimPrefix(answer.GetRuntimeVersion(), "v")
	return nil
}

// follow makes a listing due at each event of the runtime. What an event says
// itself is not used: the listing says the same, and is never out of order.
func (p *session) follow(ctx context.Context) {
	for {
		err := p.followOnce(ctx)
		// containerd before 1.7 does not know the call, cri-o refuses it
		// unless its configuration enables events: then listings have to do.
		if status.Code(err) == codes.Unimplemented {
			return
		}
		if !rounds.Pause(ctx, p.source.options.Interval) {
			return
		}
	}
}

func (p *session) followOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.runtime.GetContainerEvents(ctx, &runtimev1.GetEventsRequest{})
	if err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		p.source.wants.Soon()
	}
}

// untilNext waits until a listing is due and allowed. It tells whether the
// connection is still there.
func (s *Source) untilNext(ctx context.Context, started time.Time) bool {
	interval := time.NewTimer(s.options.Interval)
	defer interval.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-s.wants.Due():
	case <-interval.C:
	}
	if !rounds.Pause(ctx, listSpacing-time.Since(started)) {
		return false
	}
	// What became due during the pause is answered by the same listing.
	select {
	case <-s.wants.Due():
	default:
	}
	return ctx.Err() == nil
}
