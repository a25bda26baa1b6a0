package containertagprocessor

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/metadata"
)

// NewFactory returns the factory of the container_tag processor. Processors of
// one factory share what their sources say.
func NewFactory() processor.Factory {
	s := newShared()
	return processor.NewFactory(
		metadata.Type,
		createDefaultConfig,
		processor.WithMetrics(s.createMetrics, metadata.MetricsStability),
		processor.WithLogs(s.createLogs, metadata.LogsStability),
		processor.WithTraces(s.createTraces, metadata.TracesStability),
	)
}

func (s *shared) createMetrics(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Metrics) (processor.Metrics, error) {
	return newMetricsTags(newCore(cfg.(*Config), set, s), next), nil
}

func (s *shared) createLogs(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Logs) (processor.Logs, error) {
	return newLogsTags(newCore(cfg.(*Config), set, s), next), nil
}

func (s *shared) createTraces(_ context.Context, set processor.Settings, cfg component.Config, next consumer.Traces) (processor.Traces, error) {
	return &tracesTags{core: newCore(cfg.(*Config), set, s), next: next}, nil
}
