package flightrecorderreceiver

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/receiver/flightrecorderreceiver/internal/metadata"
)

// NewFactory returns the factory of the flight_recorder receiver.
func NewFactory() receiver.Factory {
	return receiver.NewFactory(metadata.Type, createDefaultConfig,
		receiver.WithLogs(create, metadata.LogsStability))
}

func create(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs, error) {
	return &logs{cfg: cfg.(*Config), set: set, next: next}, nil
}
