package containertagprocessor

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// core is what the processors of all signals have in common. Consume may be
// called by many goroutines at once, between Start and Shutdown.
type core struct {
	cfg    *Config
	set    processor.Settings
	shared *shared
	now    func() time.Time

	hub    *hub
	tagger *tagger
	health *health
	counts counts
	// waits is the side queue; nil for traces.
	waits waitQueue
	// passing ends what the side queue hands on, when a shutdown has no more time.
	passing context.Context
	giveUp  context.CancelFunc
	cancel  func()
	warned  atomic.Bool // that waiting data were refused
}

// waitQueue is a hold of any signal.
type waitQueue interface {
	waiter
	start()
	close()
	size() int64
}

func newCore(cfg *Config, set processor.Settings, s *shared) *core {
	c := &core{cfg: cfg, set: set, shared: s, now: time.Now, cancel: func() {}}
	c.passing, c.giveUp = context.WithCancel(context.Background())
	return c
}

// Start begins to ask the sources, unless another processor already does. It
// does not wait for their answers.
func (c *core) Start(_ context.Context, host component.Host) error {
	place := c.findDocker(host)
	c.allowEnv(place.Filter) // before the sources ask
	tagger, err := c.shared.acquire(c.cfg, place.Endpoint, c.set.Logger)
	if err != nil {
		return err
	}
	c.tagger, c.hub = tagger.tagger, tagger.hub
	if c.health, err = newHealth(c); err != nil {
		c.release()
		return err
	}
	if c.waits != nil {
		c.waits.start()
		c.cancel = c.tagger.subscribe(c.waits)
	}
	return nil
}

// Shutdown hands on what waits, then gives everything back. It is safe without
// Start and twice.
func (c *core) Shutdown(ctx context.Context) error {
	defer c.giveUp()
	if c.tagger == nil {
		return nil
	}
	c.cancel()
	if c.waits != nil {
		stop := context.AfterFunc(ctx, c.giveUp)
		c.waits.close()
		stop()
	}
	c.health.stop()
	c.release()
	return nil
}

func (c *core) release() {
	c.tagger, c.hub, c.health = nil, nil, nil
	c.shared.release(c.cfg)
}

// findDocker says where the engine is asked, and through which filter.
func (c *core) findDocker(host component.Host) docker.Place {
	if !c.cfg.Docker.Enabled {
		return docker.Place{}
	}
	place := docker.Find(c.cfg.Docker.Endpoint, maps.Values(host.GetExtensions()), c.shared.engine)
	if place.Bare && c.shared.first() {
		c.set.Logger.Warn("asking the Docker engine itself: this socket is not filtered, who may use it may do anything on this host; "+
			"configure the extension docker_filter, or set docker.endpoint", zap.String("endpoint", place.Endpoint))
	}
	return place
}

// allowEnv asks the filter for the variables that become tags.
func (c *core) allowEnv(filter docker.Filter) {
	if filter == nil {
		return
	}
	compiler, err := tags.New(c.cfg.Options)
	if err == nil {
		err = filter.AllowAgentEnv(compiler.EnvNames())
	}
	if err != nil {
		c.set.Logger.Warn("docker_filter does not show some environment variables; they do not become tags", zap.Error(err))
	}
}

// noPeer is who sends what comes from within the agent.
var noPeer netip.Addr

// peerOf returns who has sent a batch, if that is asked for and known.
func (c *core) peerOf(ctx context.Context) netip.Addr {
	if !c.cfg.PeerAddress {
		return noPeer
	}
	var ip net.IP
	switch addr := client.FromContext(ctx).Addr.(type) {
	case *net.TCPAddr: // gRPC
		ip = addr.IP
	case *net.IPAddr: // HTTP
		ip = addr.IP
	case *net.UDPAddr:
		ip = addr.IP
	}
	peer, _ := netip.AddrFromSlice(ip)
	return peer.Unmap()
}

// handedOn counts what had waited and was not taken.
func (c *core) handedOn(err error, items int) {
	if err == nil {
		return
	}
	c.counts.refusedItems.Add(uint64(items))
	if c.warned.CompareAndSwap(false, true) {
		c.set.Logger.Warn("data that had waited for tags were not taken; from now on they are only counted", zap.Error(err))
	}
}
