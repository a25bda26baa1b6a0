package containerstatusreceiver

import (
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/scraper/scraperhelper"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/metadata"
)

// Config is the configuration of the container_status receiver.
type Config struct {
	// ControllerConfig says how often metrics are sent. Nothing is asked then.
	scraperhelper.ControllerConfig `mapstructure:",squash"`
	metadata.MetricsBuilderConfig  `mapstructure:",squash"`

	// Events switches log events on and off.
	Events metadata.EventsConfig `mapstructure:"events"`
	// Endpoint is the engine's address. "" is the socket of docker_filter if
	// that runs in this collector, else docker.DefaultEndpoint.
	Endpoint string `mapstructure:"endpoint"`
}

func createDefaultConfig() component.Config {
	cfg := &Config{
		ControllerConfig:     scraperhelper.NewDefaultControllerConfig(),
		MetricsBuilderConfig: metadata.NewDefaultMetricsBuilderConfig(),
		Events:               metadata.DefaultEventsConfig(),
	}
	cfg.CollectionInterval = 10 * time.Second
	return cfg
}

// Validate checks the configuration before anything is started.
func (c *Config) Validate() error {
	if c.Endpoint == "" {
		return nil
	}
	if err := docker.CheckEndpoint(c.Endpoint); err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	return nil
}
