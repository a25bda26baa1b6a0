package settings

import (
	"errors"
	"fmt"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Type is the receiver's.
const Type = "discovery"

// NoEngine is an endpoint that stands for none: containers are known by their
// cgroups alone.
const NoEngine = "none"

// Settings are those of the receiver.
type Settings struct {
	// Config says what is to be collected, and where the host is.
	plan.Config `mapstructure:",squash"`

	// Endpoint is the engine's address. "" is the socket of docker_filter if
	// that runs in this collector, else docker.DefaultEndpoint; [NoEngine] asks
	// no engine.
	Endpoint string `mapstructure:"endpoint"`
	// LookInterval is the time between two looks at a container that does
	// nothing new.
	LookInterval time.Duration `mapstructure:"look_interval"`
	// Limits bound what containers can make of this.
	Limits Limits `mapstructure:"limits"`
	// Events makes a log record of each start, stop and failure, where there is a
	// pipeline of logs.
	Events bool `mapstructure:"events"`
}

// Limits bound what is started.
type Limits struct {
	// Receivers run at once.
	Receivers int `mapstructure:"receivers"`
}

const (
	// defaultLookInterval is in which an application that begins to listen late has
	// to be found.
	defaultLookInterval = 5 * time.Second
	// leastLookInterval: a look costs some ten files for each container.
	leastLookInterval = time.Second
	// mostLookInterval is longer than anybody waits for a container to be found.
	mostLookInterval = 10 * time.Minute
	// defaultReceivers is twice the pods that the kubelet puts on a node (110), and
	// some more. A prometheus receiver takes 0.24 MB before its first scrape
	// (BenchmarkPrometheusIdle of the runner), so that this many take 60 MB.
	defaultReceivers = 250
	// mostReceivers take 1.2 GB.
	mostReceivers = 5000
)

// Default returns the settings of a receiver that sets nothing.
func Default() Settings {
	return Settings{
		Config:       plan.DefaultConfig(),
		LookInterval: defaultLookInterval,
		Limits:       Limits{Receivers: defaultReceivers},
		Events:       true,
	}
}

// Check returns all mistakes that can be seen without the running distribution and
// without a container, joined.
func (s *Settings) Check() error {
	var errs []error
	if err := hostfs.CheckRoot(s.RootPath); err != nil {
		errs = append(errs, fmt.Errorf("root_path: %w", err))
	}
	if s.Endpoint != "" && s.Endpoint != NoEngine {
		if err := docker.CheckEndpoint(s.Endpoint); err != nil {
			errs = append(errs, fmt.Errorf("endpoint: %w (or %s, for cgroups alone)", err, NoEngine))
		}
	}
	if s.LookInterval < leastLookInterval || s.LookInterval > mostLookInterval {
		errs = append(errs, fmt.Errorf("look_interval: %v is not between %v and %v", s.LookInterval, leastLookInterval, mostLookInterval))
	}
	if s.Limits.Receivers < 1 || s.Limits.Receivers > mostReceivers {
		errs = append(errs, fmt.Errorf("limits.receivers: %d is not between 1 and %d", s.Limits.Receivers, mostReceivers))
	}
	_, err := plan.New(s.Config)
	return errors.Join(append(errs, err)...)
}
