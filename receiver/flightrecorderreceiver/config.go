package flightrecorderreceiver

import "go.opentelemetry.io/collector/component"

// Config is the configuration of the flight_recorder receiver.
type Config struct {
	// Extension is the recorder, such as flight_recorder/second; empty is the
	// only one that is configured.
	Extension component.ID `mapstructure:"extension"`
}

func createDefaultConfig() component.Config { return &Config{} }
