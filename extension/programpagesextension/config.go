package programpagesextension

import (
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
)

// Config is the extension's configuration.
type Config struct {
	// After is the time between the start of the pipelines and the release: 1s to 24h.
	After time.Duration `mapstructure:"after"`
}

const (
	// defaultAfter is three passes of what comes every ten seconds: what these need is
	// resident again at once, but what only the first of them needs is not.
	defaultAfter = 30 * time.Second

	leastAfter, mostAfter = time.Second, 24 * time.Hour
)

func createDefaultConfig() component.Config { return &Config{After: defaultAfter} }

// Validate names the field that is wrong.
func (c *Config) Validate() error {
	if c.After < leastAfter || c.After > mostAfter {
		return fmt.Errorf("after: %v is not between %v and %v", c.After, leastAfter, mostAfter)
	}
	return nil
}
