package dockerfilterextension

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/engine"
	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/policy"
)

// Config is the extension's configuration.
type Config struct {
	// Endpoint is the socket to serve on, unix:// and an absolute path.
	Endpoint string `mapstructure:"endpoint"`
	// Socket says who may open it.
	Socket SocketConfig `mapstructure:"socket"`
	// Upstream is the engine: unix:// and an absolute path, or tcp://host:port,
	// which needs TLS.
	Upstream string `mapstructure:"upstream"`
	// TLS is for an engine at tcp://.
	TLS TLSConfig `mapstructure:"tls"`
	// Config is who may do what: mode, default_profile, clients, limits, audit.
	policy.Config `mapstructure:",squash"`
}

// SocketConfig is who may open the socket.
type SocketConfig struct {
	// Mode is an octal file mode. 0666 leaves it to the rules.
	Mode string `mapstructure:"mode"`
	// Owner and Group are names or numbers; "" leaves them as they are.
	Owner string `mapstructure:"owner"`
	Group string `mapstructure:"group"`
}

// TLSConfig names the files of a connection to tcp://. All but ServerName are
// needed.
type TLSConfig struct {
	// CAFile is the certificate authority of the engine.
	CAFile string `mapstructure:"ca_file"`
	// CertFile and KeyFile are what this agent shows of itself.
	CertFile string `mapstructure:"cert_file"`
	KeyFile  string `mapstructure:"key_file"`
	// ServerName is whom the engine's certificate is for, if not the host in upstream.
	ServerName string `mapstructure:"server_name_override"`
}

func createDefaultConfig() component.Config {
	return &Config{
		Endpoint: "unix:///run/tallyman/docker.sock",
		Socket:   SocketConfig{Mode: "0660"},
		Upstream: "unix:///var/run/docker.sock",
		Config:   policy.DefaultConfig(),
	}
}

// Validate names each field that is wrong.
func (c *Config) Validate() error {
	var errs []error
	path, err := socketPath(c.Endpoint)
	if err != nil {
		errs = append(errs, fmt.Errorf("endpoint: %w", err))
	}
	if c.Upstream == "unix://"+path {
		errs = append(errs, fmt.Errorf("upstream: %q is the endpoint itself", c.Upstream))
	}
	if _, err := parseMode(c.Socket.Mode); err != nil {
		errs = append(errs, fmt.Errorf("socket.mode: %w", err))
	}
	return errors.Join(append(errs, c.engineOptions().Validate(), c.Config.Validate())...)
}

func (c *Config) engineOptions() engine.Options {
	return engine.Options{
		Upstream: c.Upstream,
		TLS: engine.TLSOptions{
			CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ServerName: c.TLS.ServerName,
		},
		Concurrency: c.Limits.UpstreamConcurrency,
	}
}
