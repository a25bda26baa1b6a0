package netnsreceiver

import (
	"errors"
	"fmt"
	"path"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/scraper/scraperhelper"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/receiver/netnsreceiver/internal/metadata"
)

// Config is the configuration of the netns receiver.
type Config struct {
	scraperhelper.ControllerConfig `mapstructure:",squash"`
	metadata.MetricsBuilderConfig  `mapstructure:",squash"`

	// Events switches log events on and off.
	Events metadata.EventsConfig `mapstructure:"events"`
	// RootPath is where the host's root directory is, "/" on the host itself.
	RootPath string `mapstructure:"root_path"`
	// ProtocolInterval is the least time between two reads of a namespace's
	// TCP, UDP and conntrack counters.
	ProtocolInterval time.Duration `mapstructure:"protocol_interval"`
	// UnchangedInterval is the longest time between two points of a namespace's
	// interfaces, or protocols, of which nothing has changed; 0 sends all that is read.
	UnchangedInterval time.Duration `mapstructure:"unchanged_interval"`
	// ExcludeInterfaces lists glob patterns (*, ?, [...]) of interface names.
	ExcludeInterfaces []string `mapstructure:"exclude_interfaces"`
	// PairedInterfaces: show the host's ends of pairs (veth, netkit), too.
	PairedInterfaces bool `mapstructure:"paired_interfaces"`
}

const (
	// defaultProtocolInterval: these files cost eight times as much as the
	// interfaces (docs/benchmarks.md).
	defaultProtocolInterval = 10 * time.Second
	// defaultUnchangedInterval is the cgroup receiver's.
	defaultUnchangedInterval = 5 * time.Second
	// unchangedBelow: whoever thins to a point per 10 s (deploy/otlp.yaml) must find
	// one in each 10 s.
	unchangedBelow = 10 * time.Second
)

func createDefaultConfig() component.Config {
	cfg := &Config{
		ControllerConfig:     scraperhelper.NewDefaultControllerConfig(),
		MetricsBuilderConfig: metadata.NewDefaultMetricsBuilderConfig(),
		Events:               metadata.DefaultEventsConfig(),
		RootPath:             "/",
		ProtocolInterval:     defaultProtocolInterval,
		UnchangedInterval:    defaultUnchangedInterval,
		ExcludeInterfaces:    []string{"lo"},
	}
	cfg.CollectionInterval = 10 * time.Second
	return cfg
}

// Validate checks the configuration before anything is started.
func (c *Config) Validate() error {
	var errs []error
	if err := hostfs.CheckRoot(c.RootPath); err != nil {
		errs = append(errs, fmt.Errorf("root_path: %w", err))
	}
	if c.ProtocolInterval < 0 {
		errs = append(errs, fmt.Errorf("protocol_interval: %v is negative", c.ProtocolInterval))
	}
	if c.UnchangedInterval < 0 {
		errs = append(errs, fmt.Errorf("unchanged_interval: %v is negative", c.UnchangedInterval))
	}
	if c.UnchangedInterval >= unchangedBelow {
		errs = append(errs, fmt.Errorf("unchanged_interval: %v is too long (it must be below %v)", c.UnchangedInterval, unchangedBelow))
	}
	for _, p := range c.ExcludeInterfaces {
		if _, err := path.Match(p, ""); err != nil {
			errs = append(errs, fmt.Errorf("exclude_interfaces: %q is not a valid pattern", p))
		}
	}
	return errors.Join(errs...)
}

// excludes reports whether an interface is not to be shown.
func (c *Config) excludes(name string) bool {
	for _, p := range c.ExcludeInterfaces {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}

// protocolEvery is the number of scrapes from one read of a namespace's
// protocols to the next.
func (c *Config) protocolEvery() uint64 {
	if c.CollectionInterval <= 0 {
		return 1
	}
	return max(1, uint64(c.ProtocolInterval/c.CollectionInterval))
}
