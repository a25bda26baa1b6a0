package discoveryreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/metadata"
)

// NewFactory returns the factory of the discovery receiver. The metrics and the logs
// receiver of one configuration are one discovery.
func NewFactory() receiver.Factory {
	s := &shared{holdings: map[*Config]*holding{}}
	return receiver.NewFactory(
		metadata.Type,
		createDefaultConfig,
		receiver.WithMetrics(s.createMetrics, metadata.MetricsStability),
		receiver.WithLogs(s.createLogs, metadata.LogsStability),
	)
}

func (s *shared) createMetrics(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics) (receiver.Metrics, error) {
	out, err := countMetrics(set, next)
	if err != nil {
		return nil, err
	}
	return s.join(cfg.(*Config), set, func(h *holding) { h.metrics = out }), nil
}

func (s *shared) createLogs(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
	out, err := countLogs(set, next)
	if err != nil {
		return nil, err
	}
	return s.join(cfg.(*Config), set, func(h *holding) { h.logs = out }), nil
}
