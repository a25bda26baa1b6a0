package discoveryreceiver

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
)

func load(t *testing.T, id string) *Config {
	t.Helper()
	all, err := confmaptest.LoadConf("testdata/config.yaml")
	require.NoError(t, err)
	part, err := all.Sub(id)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, part.Unmarshal(cfg))
	return cfg
}

func TestDefaultConfig(t *testing.T) {
	cfg := load(t, "discovery")
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, createDefaultConfig(), cfg)
	require.Equal(t, 5*time.Second, cfg.LookInterval)
	require.True(t, cfg.Labels && cfg.Recognise && cfg.Events)
}

func TestFullConfig(t *testing.T) {
	cfg := load(t, "discovery/all")
	require.NoError(t, confmap.Validate(cfg))
	want := createDefaultConfig().(*Config)
	want.Endpoint, want.Labels, want.Recognise, want.Events = "none", false, false, false
	want.AllowReceivers, want.LookInterval, want.Limits.Receivers = []string{"redis"}, 2*time.Second, 7
	want.Rules = []rules.Config{{
		Name: "cache", Rule: `port == 6379`, Receiver: "redis/cache", Signals: []string{"metrics"}, EveryPort: true,
		Config:             map[string]any{"endpoint": "`endpoint`", "tls": map[string]any{"insecure": true}, "port": "`port`"},
		ResourceAttributes: map[string]string{"service.name": "`name`"},
	}}
	require.Equal(t, want, cfg)
}

// Each mistake is named with its key, all of them at once.
func TestValidate(t *testing.T) {
	f := func(change func(*Config), want ...string) {
		t.Helper()
		cfg := createDefaultConfig().(*Config)
		change(cfg)
		err := cfg.Validate()
		require.Error(t, err)
		require.Equal(t, want, strings.Split(err.Error(), "\n"))
	}
	f(func(c *Config) { c.Endpoint = "/var/run/docker.sock" },
		`endpoint: "/var/run/docker.sock" is neither unix:// with an absolute path nor tcp:// with host and port (or none, for cgroups alone)`)
	f(func(c *Config) { c.LookInterval = time.Millisecond }, "look_interval: 1ms is not between 1s and 10m0s")
	f(func(c *Config) { c.Limits.Receivers = 0 }, "limits.receivers: 0 is not between 1 and 5000")
	f(func(c *Config) { c.AllowReceivers = []string{"prometheus", "ngi nx"} },
		`allow_receivers[1]: receiver "ngi nx": the type is not of letters, digits and underscores`)
	f(func(c *Config) {
		c.LookInterval = time.Hour
		c.Rules = []rules.Config{
			{Name: "fine", Rule: "port == 80", Receiver: "nginx"},
			{Name: "broken", Rule: "port === 80", Receiver: "nginx"},
			{Name: "typo", Rule: "techology == \"nginx\"", Receiver: "nginx"},
			{Name: "text", Rule: "name", Receiver: "nginx", Config: map[string]any{"endpoint": "http://`endpiont`/"}},
		}
	},
		"look_interval: 1h0m0s is not between 1s and 10m0s",
		`rules[1]: rule "broken": compile rule: line 1, column 8: unexpected token Operator("=")`,
		`rules[2]: rule "typo": compile rule: line 1, column 1: unknown name techology`,
		`rules[3]: rule "text": compile rule: expected bool, but got string`,
		`rules[3]: rule "text": compile config::endpoint: expression at byte 9: line 1, column 1: unknown name`)
}

func TestUnknownKey(t *testing.T) {
	conf := confmap.NewFromStringMap(map[string]any{"rules": []any{map[string]any{"name": "x", "reciever": "nginx"}}})
	require.ErrorContains(t, conf.Unmarshal(createDefaultConfig()), "reciever")
}
