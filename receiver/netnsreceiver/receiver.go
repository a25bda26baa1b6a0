package netnsreceiver

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// core is what the metrics and the logs instance of one receiver have in
// common: a view of the host's containers and a tracker of their namespaces.
type core struct {
	cfg     *Config
	set     receiver.Settings
	view    *hostview.View // nil where there are no cgroups
	tracker *netns.Tracker
	// told: that namespaces cannot be asked for was logged.
	told bool
}

// start takes the shared view. Without cgroups no container is known, and the
// host's namespace is all there is.
func (c *core) start(context.Context, component.Host) error {
	roots := hostfs.NewRoots(c.cfg.RootPath)
	o := netns.Options{Roots: roots, Boot: procstream.NewReader(roots).StartTime(0)}
	view, err := hostview.Acquire(hostview.Options{Roots: roots})
	switch {
	case err == nil:
		c.view = view
		o.Index, o.ProcsFile = view.Index(), view.ProcsFile
	case errors.Is(err, hostfs.ErrNotSupported):
		c.set.Logger.Info("no containers are known; only the host's network is read", zap.Error(err))
	default:
		return err
	}
	c.tracker = netns.NewTracker(o)
	return nil
}

// shutdown gives everything back. It is safe without start and twice.
func (c *core) shutdown(context.Context) error {
	if c.tracker == nil {
		return nil
	}
	c.tracker.Close()
	c.tracker = nil
	if c.view != nil {
		c.view.Release()
		c.view = nil
	}
	return nil
}

// refresh finds the namespaces, and says once if they cannot be asked for.
func (c *core) refresh() ([]*netns.Namespace, time.Time) {
	namespaces, now := c.tracker.Refresh(), time.Now()
	if n := c.tracker.Stats().NoPermission; n > 0 && !c.told {
		c.told = true
		c.set.Logger.Info("network namespaces of containers cannot be asked for; run as root or with CAP_SYS_PTRACE",
			zap.Int("containers", n))
	}
	return namespaces, now
}

// logStart says once what is read.
func (c *core) logStart() {
	c.tracker.Refresh()
	stats := c.tracker.Stats()
	c.set.Logger.Info("reading network namespaces",
		zap.String("root_path", c.cfg.RootPath),
		zap.Int("namespaces", stats.Namespaces),
		zap.Int("containers", stats.Members),
	)
}
