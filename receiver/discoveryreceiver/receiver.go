package discoveryreceiver

import (
	"context"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"
)

// shared are the discoveries of one factory, by configuration: the Collector makes a
// receiver for each signal, with the same *Config.
type shared struct {
	mu       sync.Mutex // guards holdings, and all in them
	holdings map[*Config]*holding
}

// holding is what the receivers of one configuration have in common.
type holding struct {
	set     receiver.Settings
	metrics consumer.Metrics // nil where no such pipeline has it
	logs    consumer.Logs
	made    int // receivers that have not gone
	// running is nil before the first of them has started, and after the first of
	// them has stopped.
	running *discovery
}

// instance is the receiver in the pipelines of one signal.
type instance struct {
	shared  *shared
	cfg     *Config
	holding *holding // nil once it has gone
}

// join makes an instance. What it adds to the holding is there before any starts:
// the Collector makes all receivers first.
func (s *shared) join(cfg *Config, set receiver.Settings, add func(*holding)) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holdings[cfg]
	if h == nil {
		h = &holding{set: set}
		s.holdings[cfg] = h
	}
	h.made++
	add(h)
	return &instance{shared: s, cfg: cfg, holding: h}
}

// Start begins to watch, unless the receiver of the other signal has.
func (i *instance) Start(_ context.Context, host component.Host) error {
	i.shared.mu.Lock()
	defer i.shared.mu.Unlock()
	h := i.holding
	if h == nil || h.running != nil {
		return nil
	}
	d, err := startDiscovery(discoveryOptions{
		Config: i.cfg, Settings: h.set, Host: host, Metrics: h.metrics, Logs: h.logs,
	})
	if err != nil {
		return err
	}
	h.running = d
	return nil
}

// Shutdown stops all receivers that were started, for both signals: what the pipeline
// of this one is made of ends next. It is safe without Start and twice.
func (i *instance) Shutdown(ctx context.Context) error {
	i.shared.mu.Lock()
	defer i.shared.mu.Unlock()
	h := i.holding
	if h == nil {
		return nil
	}
	i.holding = nil
	h.made--
	if h.made == 0 {
		delete(i.shared.holdings, i.cfg)
	}
	d := h.running
	h.running = nil
	if d == nil {
		return nil
	}
	if err := d.stop(ctx); err != nil {
		// An error would end the Collector where it only reads its configuration anew.
		d.log.Error("going on without waiting for what does not end", zap.Error(err))
	}
	return nil
}
