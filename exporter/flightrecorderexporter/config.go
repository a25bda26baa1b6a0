package flightrecorderexporter

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
)

// Config is the configuration of the flight_recorder exporter.
type Config struct {
	// Extension is the recorder, such as flight_recorder/second; empty is the
	// only one that is configured.
	Extension component.ID `mapstructure:"extension"`
	// Queue is how many points, records and spans may wait, for each signal. Those
	// of more than 512 bytes count by their size.
	Queue int `mapstructure:"queue"`
}

const (
	// defaultQueue is three batches of a host with 200 containers and 60 series
	// each, which take 14 MB in pdata (340 bytes a point, BenchmarkCopy).
	defaultQueue = 40_000
	// maxQueue is as many points as 1.4 GB hold: above it the number is a mistake.
	maxQueue = 1 << 22
)

var (
	errNone    = errors.New("no flight_recorder is configured, or it is not in service::extensions")
	errSeveral = errors.New("several flight_recorder extensions are configured: name one")
)

func createDefaultConfig() component.Config { return &Config{Queue: defaultQueue} }

// Validate checks the configuration before anything is started.
func (c *Config) Validate() error {
	if c.Queue < 1 || c.Queue > maxQueue {
		return fmt.Errorf("queue: %d is not between 1 and %d", c.Queue, maxQueue)
	}
	return nil
}
