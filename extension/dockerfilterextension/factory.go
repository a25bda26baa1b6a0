package dockerfilterextension

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/metadata"
)

// NewFactory returns the factory of the docker_filter extension.
func NewFactory() extension.Factory {
	return extension.NewFactory(metadata.Type, createDefaultConfig, create, metadata.ExtensionStability)
}

func create(_ context.Context, set extension.Settings, c component.Config) (extension.Extension, error) {
	return newFilter(c.(*Config), set)
}
