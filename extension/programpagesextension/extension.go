package programpagesextension

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/programpages"
)

// pages is the extension. The Collector calls Start, Ready, NotReady and Shutdown, one
// after the other.
type pages struct {
	cfg     *Config
	log     *zap.Logger
	release func() (programpages.Result, error)

	stop    chan struct{} // closed by the first Shutdown
	stopped sync.Once
	waiting sync.WaitGroup
}

func newPages(cfg *Config, log *zap.Logger, release func() (programpages.Result, error)) *pages {
	return &pages{cfg: cfg, log: log, release: release, stop: make(chan struct{})}
}

// Start does nothing yet: the pipelines start after it.
func (p *pages) Start(context.Context, component.Host) error { return nil }

// Ready is called when all pipelines run.
func (p *pages) Ready() error {
	p.waiting.Go(p.wait)
	return nil
}

// NotReady is called before the pipelines end.
func (p *pages) NotReady() error { return nil }

func (p *pages) wait() {
	timer := time.NewTimer(p.cfg.After)
	defer timer.Stop()
	select {
	case <-p.stop:
	case <-timer.C:
		p.tell(p.release())
	}
}

// Shutdown ends the waiting.
func (p *pages) Shutdown(context.Context) error {
	p.stopped.Do(func() { close(p.stop) })
	p.waiting.Wait()
	return nil
}
