package flightrecorderexporter

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"

	"github.com/tallymanhq/tallyman/exporter/flightrecorderexporter/internal/metadata"
)

// NewFactory returns the factory of the flight_recorder exporter.
func NewFactory() exporter.Factory {
	return exporter.NewFactory(
		metadata.Type,
		createDefaultConfig,
		exporter.WithMetrics(createMetrics, metadata.MetricsStability),
		exporter.WithLogs(createLogs, metadata.LogsStability),
		exporter.WithTraces(createTraces, metadata.TracesStability),
	)
}

func createMetrics(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
	return metricsExporter{newBase(cfg.(*Config), set, metricsSignal())}, nil
}

func createLogs(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
	return logsExporter{newBase(cfg.(*Config), set, logsSignal())}, nil
}

func createTraces(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Traces, error) {
	return tracesExporter{newBase(cfg.(*Config), set, tracesSignal())}, nil
}
