package flightrecorderextension

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/tallymanhq/tallyman/extension/flightrecorderextension/internal/metadata"
)

// NewFactory returns the factory of the flight_recorder extension.
func NewFactory() extension.Factory {
	return extension.NewFactory(metadata.Type, createDefaultConfig, create, metadata.ExtensionStability)
}

func create(_ context.Context, set extension.Settings, c component.Config) (extension.Extension, error) {
	return &recorderExtension{cfg: c.(*Config), set: set}, nil
}
