package programpagesextension

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/tallymanhq/tallyman/extension/programpagesextension/internal/metadata"
	"github.com/tallymanhq/tallyman/internal/programpages"
)

// NewFactory returns the factory of the program_pages extension.
func NewFactory() extension.Factory {
	return extension.NewFactory(metadata.Type, createDefaultConfig, create, metadata.ExtensionStability)
}

func create(_ context.Context, set extension.Settings, c component.Config) (extension.Extension, error) {
	return newPages(c.(*Config), set.Logger, programpages.Release), nil
}
