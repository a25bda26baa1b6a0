package dockerfilterextension

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/policy"
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
	require.Equal(t, createDefaultConfig(), load("docker_filter"))
	cfg := load("docker_filter/all")
	require.Equal(t, policy.AuditAll, cfg.Audit.Logs)
	require.Equal(t, policy.ModeObserve, cfg.Mode)
	require.Len(t, cfg.Clients, 3)
	require.Equal(t, "compose_project", cfg.Clients[2].Visible.Same)
	require.Equal(t, []int64{0}, cfg.Clients[0].Match.HostUID)
}

// What is wrong is named.
func TestWrongConfig(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"endpoint":             func(c *Config) { c.Endpoint = "tcp://0.0.0.0:2375" },
		"socket.mode":          func(c *Config) { c.Socket.Mode = "rw" },
		"upstream":             func(c *Config) { c.Upstream = c.Endpoint },
		"tls.ca_file":          func(c *Config) { c.Upstream = "tcp://engine:2376" },
		"mode":                 func(c *Config) { c.Mode = "allow" },
		"default_profile":      func(c *Config) { c.DefaultProfile = "agent" },
		"clients[0].profile":   func(c *Config) { c.Clients = []policy.ClientConfig{{Match: policy.MatchConfig{HostUID: []int64{0}}}} },
		"limits.rps":           func(c *Config) { c.Limits.RPS = 0 },
		"limits.burst":         func(c *Config) { c.Limits.Burst = -1 },
		"audit.logs":           func(c *Config) { c.Audit.Logs = "some" },
		"clients[0].match":     func(c *Config) { c.Clients = []policy.ClientConfig{{Profile: "monitoring"}} },
		"upstream_concurrency": func(c *Config) { c.Limits.UpstreamConcurrency = 0 },
	} {
		cfg := createDefaultConfig().(*Config)
		change(cfg)
		require.ErrorContains(t, confmap.Validate(cfg), field)
	}
}
