package flightrecorderextension

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configtls"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
)

// Config is the extension's configuration.
type Config struct {
	// Endpoint is where pages and the API are served: host:port. Beyond loopback it
	// needs a token or client certificates. Empty: not by TCP.
	Endpoint string `mapstructure:"endpoint"`
	// Socket serves the same to who may open it, without Token.
	Socket SocketConfig `mapstructure:"unix_socket"`
	// Token is asked for on TCP if it is not empty, as a bearer token: at least 16
	// characters.
	Token configopaque.String `mapstructure:"token"`
	// TokenFile is a file with the token, in place of Token. Where there is none, one is
	// made with a token that nobody has chosen.
	TokenFile string `mapstructure:"token_file"`
	// TLS is for Endpoint; with client_ca_file it counts as a token.
	TLS *configtls.ServerConfig `mapstructure:"tls"`
	// AllowedHosts are further names by which browsers may come.
	AllowedHosts []string `mapstructure:"allowed_hosts"`

	// Directory is the recorder's alone.
	Directory string `mapstructure:"directory"`
	// MaxSizeMiB is the budget on disk of everything; 0 does not bound.
	MaxSizeMiB int64 `mapstructure:"max_size_mib"`
	// Retention is how long metrics and events are kept.
	Retention time.Duration `mapstructure:"retention"`
	// ContainerRetention is how long it is known what an ended container was called.
	ContainerRetention time.Duration `mapstructure:"container_retention"`
	// SeriesPerContainer bounds the series of one container.
	SeriesPerContainer int `mapstructure:"series_per_container"`

	// Triggers say which make a capture.
	Triggers TriggersConfig `mapstructure:"triggers"`
	// Captures says what is kept of them.
	Captures CapturesConfig `mapstructure:"captures"`

	// Docker is asked about the container of a capture.
	Docker DockerConfig `mapstructure:"docker"`
	// RootPath is where the host's root is mounted.
	RootPath string `mapstructure:"root_path"`
}

// SocketConfig is a Unix socket.
type SocketConfig struct {
	// Path is absolute; empty: no socket.
	Path string `mapstructure:"path"`
	// Mode is an octal file mode: who may open it may see everything.
	Mode string `mapstructure:"mode"`
}

// TriggersConfig has a switch for each trigger.
type TriggersConfig struct {
	OOM       TriggerConfig `mapstructure:"oom"`
	Degraded  TriggerConfig `mapstructure:"degraded"`
	Exit      TriggerConfig `mapstructure:"exit"`
	NearLimit TriggerConfig `mapstructure:"near_limit"`
}

// TriggerConfig switches one trigger.
type TriggerConfig struct {
	Enabled bool `mapstructure:"enabled"`
}

// CapturesConfig bounds captures.
type CapturesConfig struct {
	// Keep is how many, those that are pinned included: they are never removed.
	Keep int `mapstructure:"keep"`
	// Environment are names of variables that captures may show, never their
	// values. Without it a list of harmless ones.
	Environment []string `mapstructure:"environment"`
}

// DockerConfig says where an engine is asked. Without Endpoint it is what a
// docker_filter serves, and without one of those nobody is asked.
type DockerConfig struct {
	// Endpoint is the engine's socket, such as unix:///var/run/docker.sock.
	Endpoint string `mapstructure:"endpoint"`
}

const (
	defaultEndpoint = "localhost:9480"
	// defaultMaxSize is what a host of 200 containers takes for six hours
	// (docs/recorder.md), with a half on top.
	defaultMaxSize   = 2048
	defaultRetention = 6 * time.Hour
	// defaultContainerRetention outlives every incident that is still talked about;
	// a container takes about 1 KB.
	defaultContainerRetention = 7 * 24 * time.Hour
	defaultSeries             = 2000
	defaultKeep               = 20
	// leastSize leaves the metrics their shortest history; see the store.
	leastSize = 64
	// mostSize is a pebibyte: shares of it in bytes are far from the largest number.
	mostSize = 1 << 30
	// leastRetention is a block of the store.
	leastRetention = 15 * time.Minute
)

func createDefaultConfig() component.Config {
	on := TriggerConfig{Enabled: true}
	return &Config{
		Endpoint:           defaultEndpoint,
		Socket:             SocketConfig{Mode: "0660"},
		Directory:          "/var/lib/tallyman/recorder",
		MaxSizeMiB:         defaultMaxSize,
		Retention:          defaultRetention,
		ContainerRetention: defaultContainerRetention,
		SeriesPerContainer: defaultSeries,
		Triggers:           TriggersConfig{OOM: on, Degraded: on, Exit: on, NearLimit: on},
		Captures:           CapturesConfig{Keep: defaultKeep},
		RootPath:           "/",
	}
}

// Validate names each field that is wrong.
func (c *Config) Validate() error {
	errs := []error{c.validateEndpoints(), c.validateStore()}
	if c.Docker.Endpoint != "" {
		if err := docker.CheckEndpoint(c.Docker.Endpoint); err != nil {
			errs = append(errs, fmt.Errorf("docker.endpoint: %w", err))
		}
	}
	if err := hostfs.CheckRoot(c.RootPath); err != nil {
		errs = append(errs, fmt.Errorf("root_path: %w", err))
	}
	return errors.Join(errs...)
}

func (c *Config) validateEndpoints() error {
	var errs []error
	if c.Endpoint == "" && c.Socket.Path == "" {
		errs = append(errs, errors.New("endpoint: neither this nor unix_socket.path is set: nobody could see anything"))
	}
	if c.Endpoint != "" {
		if _, _, err := net.SplitHostPort(c.Endpoint); err != nil {
			errs = append(errs, fmt.Errorf("endpoint: %w", err))
		}
	}
	if c.Socket.Path != "" && !filepath.IsAbs(c.Socket.Path) {
		errs = append(errs, fmt.Errorf("unix_socket.path: %q is not absolute", c.Socket.Path))
	}
	if _, err := parseMode(c.Socket.Mode); err != nil {
		errs = append(errs, fmt.Errorf("unix_socket.mode: %w", err))
	}
	errs = append(errs, c.validateToken())
	if err := (api.Options{Endpoints: []string{defaultEndpoint}, AllowedHosts: c.AllowedHosts}).Validate(); err != nil {
		errs = append(errs, fmt.Errorf("allowed_hosts: %w", err))
	}
	if c.TLS != nil && c.TLS.CertFile == "" && c.TLS.CertPem == "" {
		errs = append(errs, errors.New("tls: neither cert_file nor cert_pem is set: a server needs a certificate"))
	}
	return errors.Join(errs...)
}

func (c *Config) validateToken() error {
	switch {
	case c.TokenFile != "" && c.Token != "":
		return errors.New("token, token_file: both are set; leave one of them away")
	case c.TokenFile != "" && !filepath.IsAbs(c.TokenFile):
		return fmt.Errorf("token_file: %q is not absolute", c.TokenFile)
	}
	// Any endpoint: it is checked when it is opened.
	if err := (api.Options{Endpoints: []string{defaultEndpoint}, Token: c.token()}).Validate(); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	return nil
}

func (c *Config) validateStore() error {
	var errs []error
	if !filepath.IsAbs(c.Directory) {
		errs = append(errs, fmt.Errorf("directory: %q is not absolute", c.Directory))
	}
	if c.MaxSizeMiB != 0 && (c.MaxSizeMiB < leastSize || c.MaxSizeMiB > mostSize) {
		errs = append(errs, fmt.Errorf("max_size_mib: %d is not between %d and %d, nor 0", c.MaxSizeMiB, leastSize, mostSize))
	}
	if c.Retention < leastRetention {
		errs = append(errs, fmt.Errorf("retention: %v is less than %v", c.Retention, leastRetention))
	}
	if c.ContainerRetention < c.Retention {
		errs = append(errs, fmt.Errorf("container_retention: %v is less than retention (%v): there would be data without names",
			c.ContainerRetention, c.Retention))
	}
	if c.SeriesPerContainer < 1 {
		errs = append(errs, fmt.Errorf("series_per_container: %d is less than 1", c.SeriesPerContainer))
	}
	if c.Captures.Keep < 1 {
		errs = append(errs, fmt.Errorf("captures.keep: %d is less than 1", c.Captures.Keep))
	}
	return errors.Join(errs...)
}

// off are the kinds of triggers that were switched off.
func (t TriggersConfig) off() []capture.Kind {
	var kinds []capture.Kind
	for _, s := range []struct {
		kind capture.Kind
		on   bool
	}{
		{capture.OOM, t.OOM.Enabled}, {capture.Degraded, t.Degraded.Enabled},
		{capture.Exit, t.Exit.Enabled}, {capture.NearLimit, t.NearLimit.Enabled},
	} {
		if !s.on {
			kinds = append(kinds, s.kind)
		}
	}
	return kinds
}

// token is what is configured, without the end of the line that a file has.
func (c *Config) token() string { return strings.TrimRight(string(c.Token), "\r\n") }

func parseMode(text string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("%q is no octal file mode such as 0660", text)
	}
	return fs.FileMode(n), nil
}
