package containertagprocessor

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/docker"
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
	waits  waitQueue
	cancel func()
	warned atomic.Bool // that waiting data were refused
}

// waitQueue is a hold of any signal.
type waitQueue interface {
	waiter
	start()
	close()
	size() int64
}

func newCore(cfg *Config, set processor.Settings, s *shared) *core {
	return &core{cfg: cfg, set: set, shared: s, now: time.Now, cancel: func() {}}
}

// Start begins to ask the sources, unless another processor already does. It
// does not wait for their answers.
func (c *core) Start(_ context.Context, host component.Host) error {
	endpoint, filter := c.dockerEndpoint(host)
	tagger, err := c.shared.acquire(c.cfg, endpoint, c.set.Logger)
	if err != nil {
		return err
	}
	c.tagger, c.hub = tagger.tagger, tagger.hub
	c.allowEnv(filter)
	if c.health, err = newHealth(c); err != nil {
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
func (c *core) Shutdown(context.Context) error {
	if c.tagger == nil {
		return nil
	}
	c.cancel()
	if c.waits != nil && c.health != nil {
		c.waits.close()
	}
	if c.health != nil {
		c.health.stop()
	}
	c.tagger, c.hub = nil, nil
	return c.shared.release(c.cfg)
}

// dockerEndpoint says where the engine is asked, and through which filter.
func (c *core) dockerEndpoint(host component.Host) (string, docker.Filter) {
	d := c.cfg.Docker
	if !d.Enabled || d.Endpoint != "" {
		return d.Endpoint, nil
	}
	extensions := host.GetExtensions()
	filter, ok := docker.FindFilter(func(yield func(component.Component) bool) {
		for _, e := range extensions {
			if !yield(e) {
				return
			}
		}
	})
	if !ok {
		if !docker.SocketMissing(docker.DefaultEndpoint) && c.shared.first() {
			c.set.Logger.Warn("asking the Docker engine itself: this socket is not filtered, who may use it may do anything on this host; "+
				"configure the extension docker_filter, or set docker.endpoint", zap.String("endpoint", docker.DefaultEndpoint))
		}
		return docker.DefaultEndpoint, nil
	}
	return filter.DockerEndpoint(), filter
}

// allowEnv asks the filter for the variables that become tags.
func (c *core) allowEnv(filter docker.Filter) {
	if filter == nil {
		return
	}
	if err := filter.AllowAgentEnv(c.tagger.compiler.EnvNames()); err != nil {
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
	addr := client.FromContext(ctx).Addr
	if addr == nil {
		return noPeer
	}
	port, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return noPeer
	}
	return port.Addr().Unmap()
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
