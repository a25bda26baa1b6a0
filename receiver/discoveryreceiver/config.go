package discoveryreceiver

import (
	"go.opentelemetry.io/collector/component"

	"github.com/tallymanhq/tallyman/internal/discovery/settings"
)

// Config is the configuration of the discovery receiver.
type Config struct {
	settings.Settings `mapstructure:",squash"`
}

// noEngine stands for an endpoint: containers are known by their cgroups alone.
const noEngine = settings.NoEngine

func createDefaultConfig() component.Config {
	return &Config{Settings: settings.Default()}
}

// Validate checks all that can be said without the running distribution and
// without a container.
func (c *Config) Validate() error { return c.Check() }
