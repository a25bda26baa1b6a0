package cgroupreceiver

import (
	"errors"
	"fmt"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/scraper/scraperhelper"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/receiver/cgroupreceiver/internal/metadata"
)

// Config is the configuration of the cgroup receiver.
type Config struct {
	scraperhelper.ControllerConfig `mapstructure:",squash"`
	metadata.MetricsBuilderConfig  `mapstructure:",squash"`

	// Events switches log events on and off.
	Events metadata.EventsConfig `mapstructure:"events"`
	// RootPath is where the host's root directory is, "/" on the host itself.
	RootPath string `mapstructure:"root_path"`
	// Classes are the kinds of cgroups that are read.
	Classes []string `mapstructure:"classes"`
	// Include and Exclude choose among them; exclude wins.
	Include FilterConfig `mapstructure:"include"`
	Exclude FilterConfig `mapstructure:"exclude"`
	// Reader is how the numbers are read: auto or files.
	Reader string `mapstructure:"reader"`
	// MemoryStatInterval is the least time between two reads of memory.stat,
	// the limits, file systems and lists of processes.
	MemoryStatInterval time.Duration `mapstructure:"memory_stat_interval"`
	// UnchangedInterval is the longest time between two points of a container, or
	// of the host, of which nothing has changed; 0 sends all that is read.
	UnchangedInterval time.Duration `mapstructure:"unchanged_interval"`
	// MaxOpenFiles bounds the descriptors that are kept open.
	MaxOpenFiles int `mapstructure:"max_open_files"`
	// ProcessStream is how processes are watched: auto, connector, proc or off.
	ProcessStream hostview.ProcessStream `mapstructure:"process_stream"`
}

// FilterConfig matches a cgroup if all its non-empty lists do.
type FilterConfig struct {
	// Runtime lists container runtimes, for example docker.
	Runtime []string `mapstructure:"runtime"`
	// CgroupPath lists glob patterns (*, **, ?, [...], {a,b}) of cgroup paths.
	CgroupPath []string `mapstructure:"cgroup_path"`
}

const (
	readerAuto   = "auto"
	readerFiles  = "files"
	readerBPF    = "bpf"
	readerEngine = "engine"

	// defaultMemoryStatInterval: memory.stat is the dearest file of a cgroup
	// and takes locks that the host's own work wants.
	defaultMemoryStatInterval = 5 * time.Second
	// defaultUnchangedInterval is as often as most of what changes slowly is read.
	defaultUnchangedInterval = 5 * time.Second
	// unchangedBelow: whoever thins to a point per 10 s (deploy/otlp.yaml) must find
	// one in each 10 s.
	unchangedBelow = 10 * time.Second
	// defaultMaxOpenFiles holds about 430 containers of 19 files; a kept one
	// costs 4.4 KiB of kernel memory.
	defaultMaxOpenFiles = 8192
)

func createDefaultConfig() component.Config {
	cfg := &Config{
		ControllerConfig:     scraperhelper.NewDefaultControllerConfig(),
		MetricsBuilderConfig: metadata.NewDefaultMetricsBuilderConfig(),
		Events:               metadata.DefaultEventsConfig(),
		RootPath:             "/",
		Classes:              []string{container.ClassContainer.String()},
		Reader:               readerAuto,
		MemoryStatInterval:   defaultMemoryStatInterval,
		UnchangedInterval:    defaultUnchangedInterval,
		MaxOpenFiles:         defaultMaxOpenFiles,
		ProcessStream:        hostview.ProcessStreamAuto,
	}
	cfg.CollectionInterval = 10 * time.Second
	return cfg
}

// Validate checks the configuration before anything is started.
func (c *Config) Validate() error {
	return errors.Join(
		c.validateRoot(),
		c.validateClasses(),
		c.validateChoices(),
		c.Include.validate("include"),
		c.Exclude.validate("exclude"),
	)
}

func (c *Config) validateRoot() error {
	if err := hostfs.CheckRoot(c.RootPath); err != nil {
		return fmt.Errorf("root_path: %w", err)
	}
	return nil
}

func (c *Config) validateClasses() error {
	if len(c.Classes) == 0 {
		return errors.New("classes: needs at least one class of cgroups, for example container")
	}
	var errs []error
	for _, name := range c.Classes {
		if _, err := container.ParseClass(name); err != nil {
			errs = append(errs, fmt.Errorf("classes: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateChoices() error {
	var errs []error
	switch c.Reader {
	case readerAuto, readerFiles:
	case readerBPF, readerEngine:
		errs = append(errs, fmt.Errorf("reader: %q is not part of this version (use auto or files)", c.Reader))
	default:
		errs = append(errs, fmt.Errorf("reader: unknown value %q (use auto or files)", c.Reader))
	}
	switch c.ProcessStream {
	case hostview.ProcessStreamAuto, hostview.ProcessStreamConnector, hostview.ProcessStreamProc, hostview.ProcessStreamOff:
	default:
		errs = append(errs, fmt.Errorf("process_stream: unknown value %q (use auto, connector, proc or off)", c.ProcessStream))
	}
	if c.MemoryStatInterval < 0 {
		errs = append(errs, fmt.Errorf("memory_stat_interval: %v is negative", c.MemoryStatInterval))
	}
	if c.UnchangedInterval < 0 {
		errs = append(errs, fmt.Errorf("unchanged_interval: %v is negative", c.UnchangedInterval))
	}
	if c.UnchangedInterval >= unchangedBelow {
		errs = append(errs, fmt.Errorf("unchanged_interval: %v is too long (it must be below %v)", c.UnchangedInterval, unchangedBelow))
	}
	if c.MaxOpenFiles < 0 {
		errs = append(errs, fmt.Errorf("max_open_files: %d is negative", c.MaxOpenFiles))
	}
	return errors.Join(errs...)
}

func (f FilterConfig) validate(field string) error {
	for _, p := range f.CgroupPath {
		if !doublestar.ValidatePattern(p) {
			return fmt.Errorf("%s::cgroup_path: %q is not a valid pattern", field, p)
		}
	}
	return nil
}

func (f FilterConfig) empty() bool { return len(f.Runtime) == 0 && len(f.CgroupPath) == 0 }

// matches reports whether a non-empty filter matches.
func (f FilterConfig) matches(c container.Cgroup) bool {
	return anyOf(f.Runtime, func(r string) bool { return r == c.Runtime }) &&
		anyOf(f.CgroupPath, func(p string) bool {
			ok, err := doublestar.Match(p, c.Path)
			return ok && err == nil
		})
}

func anyOf(list []string, match func(string) bool) bool {
	for _, s := range list {
		if match(s) {
			return true
		}
	}
	return len(list) == 0
}

// want is the choice of cgroups that the configuration makes.
func (c *Config) want() func(container.Cgroup) bool {
	var classes [256]bool
	for _, name := range c.Classes {
		if class, err := container.ParseClass(name); err == nil {
			classes[class] = true
		}
	}
	return func(cg container.Cgroup) bool {
		if !classes[cg.Class] || (!c.Exclude.empty() && c.Exclude.matches(cg)) {
			return false
		}
		return c.Include.empty() || c.Include.matches(cg)
	}
}
