package cgroupreceiver

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
)

// core is what the metrics and the logs instance of one receiver have in
// common: the view of the host and a consumer of its sampler.
type core struct {
	cfg      *Config
	set      receiver.Settings
	view     *hostview.View
	sampler  *sampler.Sampler
	consumer *sampler.Consumer
	health   *health
}

// start takes the shared view. A host without cgroups is a permanent status
// of this component and nothing else: the collector goes on.
func (c *core) start(_ context.Context, host component.Host) error {
	roots := hostfs.NewRoots(c.cfg.RootPath)
	view, err := hostview.Acquire(hostview.Options{Roots: roots, ProcessStream: c.cfg.ProcessStream})
	if errors.Is(err, hostfs.ErrNotSupported) && roots.IsHost() {
		c.set.Logger.Warn("no containers will be seen", zap.Error(err))
		componentstatus.ReportStatus(host, componentstatus.NewPermanentErrorEvent(err))
		return nil
	}
	if errors.Is(err, hostfs.ErrNotSupported) {
		return fmt.Errorf("root_path: %w", err)
	}
	if err != nil {
		return err
	}
	c.view = view
	c.sampler = view.Sampler(c.set.ID.String(), sampler.Settings{
		Interval:     c.cfg.CollectionInterval,
		SlowInterval: c.cfg.MemoryStatInterval,
		MaxOpenFiles: c.cfg.MaxOpenFiles,
		Want:         c.cfg.want(),
		LayerUsage:   c.cfg.Metrics.ContainerFilesystemUsage.Enabled,
	})
	c.consumer = c.sampler.Subscribe()
	return nil
}

// shutdown gives everything back. It is safe without start and twice.
func (c *core) shutdown(context.Context) error {
	if c.view == nil {
		return nil
	}
	if c.health != nil {
		c.health.stop()
	}
	c.consumer.Close()
	c.view.ReleaseSampler(c.set.ID.String())
	c.view.Release()
	c.view = nil
	return nil
}

// logStart says once for each view what is read, and how: of a metrics and a logs
// pipeline the one that starts first.
func (c *core) logStart() {
	if !c.view.First() {
		return
	}
	containers := c.view.Index().Counts()[container.ClassContainer]
	c.set.Logger.Info("reading cgroups", append([]zap.Field{
		zap.Stringer("cgroups", c.view.Mode()),
		zap.String("root_path", c.cfg.RootPath),
		zap.Int("containers", containers),
	}, c.processTier()...)...)
}

// processTier is the way processes are watched on this host, and why not in a
// better one.
func (c *core) processTier() []zap.Field {
	tier, why := c.view.Tier()
	fields := []zap.Field{zap.String("processes", string(tier))}
	if why != nil {
		fields = append(fields, zap.String("because", why.Error()))
	}
	return fields
}
