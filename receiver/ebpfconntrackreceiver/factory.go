package ebpfconntrackreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/metadata"
)

// NewFactory returns the factory of the ebpf_conntrack receiver. The metrics and
// the logs receiver of one configuration share what they watch with.
func NewFactory() receiver.Factory {
	s := &shared{servers: map[*Config]*holding{}}
	return receiver.NewFactory(
		metadata.Type,
		createDefaultConfig,
		receiver.WithMetrics(s.createMetrics, metadata.MetricsStability),
		receiver.WithLogs(s.createLogs, metadata.LogsStability),
	)
}

func (s *shared) createMetrics(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics) (receiver.Metrics, error) {
	h := s.acquire(cfg.(*Config), set)
	h.server.adds = true
	return newMetricsReceiver(h, set, next)
}

func (s *shared) createLogs(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
	h := s.acquire(cfg.(*Config), set)
	h.server.ended = newEndings(h.server.cfg)
	return newLogsReceiver(h, set, next)
}
