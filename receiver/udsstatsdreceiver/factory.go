package udsstatsdreceiver

import (
	"context"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// inherited is what the service manager has kept over a restart. Descriptors are
// the process's: they are looked at once, whatever is reloaded later.
var inherited = sync.OnceValues(func() (*transport.Store, error) { return transport.OpenStore(os.Getenv) })

// NewFactory returns the factory of the uds_statsd receiver. The metrics and the
// logs receiver of one configuration share its sockets.
func NewFactory() receiver.Factory { return newFactory(newShared(inherited)) }

func newFactory(s *shared) receiver.Factory {
	return receiver.NewFactory(
		metadata.Type,
		createDefaultConfig,
		receiver.WithMetrics(s.createMetrics, metadata.MetricsStability),
		receiver.WithLogs(s.createLogs, metadata.LogsStability),
	)
}

func (s *shared) createMetrics(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics) (receiver.Metrics, error) {
	h, err := s.acquire(cfg.(*Config), set)
	if err != nil {
		return nil, err
	}
	h.server.adds = true
	return newMetricsReceiver(h, set, next)
}

func (s *shared) createLogs(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
	h, err := s.acquire(cfg.(*Config), set)
	if err != nil {
		return nil, err
	}
	h.server.records.on = true
	return newLogsReceiver(h, set, next)
}
