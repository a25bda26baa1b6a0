package flightrecorderextension

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
)

func TestConfig(t *testing.T) {
	all, err := confmaptest.LoadConf("testdata/config.yaml")
	require.NoError(t, err)
	load := func(name string) *Config {
		t.Helper()
		part, err := all.Sub(name)
		require.NoError(t, err)
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, part.Unmarshal(cfg))
		require.NoError(t, confmap.Validate(cfg))
		return cfg
	}
	require.Equal(t, createDefaultConfig(), load("flight_recorder"))
	require.Empty(t, load("flight_recorder").Triggers.off())
	on, off := TriggerConfig{Enabled: true}, TriggerConfig{}
	cfg := load("flight_recorder/all")
	require.Equal(t, &Config{
		Endpoint: "0.0.0.0:9480", Socket: SocketConfig{Path: "/run/tallyman/recorder.sock", Mode: "0600"},
		Token: "0123456789abcdef", TLS: &configtls.ServerConfig{
			Config:       configtls.Config{CertFile: "cert.pem", KeyFile: "key.pem"},
			ClientCAFile: "ca.pem",
		},
		AllowedHosts: []string{"recorder.example.com"}, Directory: "/data/recorder", MaxSizeMiB: 512,
		Retention: 24 * time.Hour, ContainerRetention: 720 * time.Hour, SeriesPerContainer: 500,
		Triggers: TriggersConfig{OOM: on, Degraded: on, Exit: off, NearLimit: off},
		Captures: CapturesConfig{Keep: 5, Environment: []string{"PATH"}},
		Docker:   DockerConfig{Endpoint: "unix:///run/tallyman/docker.sock"}, RootPath: "/proc",
	}, cfg)
	require.Equal(t, []capture.Kind{capture.Exit, capture.NearLimit}, cfg.Triggers.off())
	require.Equal(t, "/data/recorder-token", load("flight_recorder/file").TokenFile)
}

// What is wrong is named, and a token is never shown.
func TestWrongConfig(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"endpoint: neither":        func(c *Config) { c.Endpoint = "" },
		"endpoint: address":        func(c *Config) { c.Endpoint = "localhost" },
		"unix_socket.path":         func(c *Config) { c.Socket.Path = "recorder.sock" },
		"unix_socket.mode":         func(c *Config) { c.Socket.Mode = "rw" },
		"token":                    func(c *Config) { c.Token = "hunter2" },
		"token: serve":             func(c *Config) { c.Token = "sixteen or more\tletters" },
		"token, token_file: both":  func(c *Config) { c.Token, c.TokenFile = "hunter2hunter2hunter2", "/token" },
		"token_file: \"token\"":    func(c *Config) { c.TokenFile = "token" },
		"allowed_hosts":            func(c *Config) { c.AllowedHosts = []string{"*.example.com"} },
		"tls: neither":             func(c *Config) { c.TLS = &configtls.ServerConfig{} },
		"directory":                func(c *Config) { c.Directory = "recorder" },
		"max_size_mib":             func(c *Config) { c.MaxSizeMiB = 63 },
		"max_size_mib: 1073741825": func(c *Config) { c.MaxSizeMiB = 1<<30 + 1 },
		"retention: 1m0s":          func(c *Config) { c.Retention = time.Minute },
		"container_retention":      func(c *Config) { c.ContainerRetention = time.Hour },
		"series_per_container":     func(c *Config) { c.SeriesPerContainer = 0 },
		"captures.keep":            func(c *Config) { c.Captures.Keep = 0 },
		"docker.endpoint":          func(c *Config) { c.Docker.Endpoint = "/var/run/docker.sock" },
		"root_path":                func(c *Config) { c.RootPath = "testdata/config.yaml" },
	} {
		cfg := createDefaultConfig().(*Config)
		change(cfg)
		err := confmap.Validate(cfg)
		require.ErrorContains(t, err, field)
		require.NotContains(t, err.Error(), "hunter2")
	}
	unbounded := createDefaultConfig().(*Config)
	unbounded.MaxSizeMiB = 0
	require.NoError(t, confmap.Validate(unbounded))
}
