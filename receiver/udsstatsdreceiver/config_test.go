package udsstatsdreceiver

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/metadata"
)

func load(t *testing.T, name string) *Config {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := conf.Sub(component.NewIDWithName(metadata.Type, name).String())
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	return cfg
}

func TestDefaultConfig(t *testing.T) {
	cfg := load(t, "")
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, "/run/tallyman/dsd.socket", cfg.Endpoint)
	require.Empty(t, cfg.StreamEndpoint)
	require.Empty(t, cfg.UDPEndpoint)
	mode, err := cfg.mode()
	require.NoError(t, err)
	require.EqualValues(t, 0o722, mode)
}

func TestFullConfig(t *testing.T) {
	cfg := load(t, "all")
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, 5*time.Second, cfg.AggregationInterval)
	require.Equal(t, timerSeconds, cfg.TimerUnit)
	require.True(t, cfg.CreateDirectory)
	require.Equal(t, LimitsConfig{
		OriginRate: 1000, Rate: 5000, OriginContexts: 100, Contexts: 1000, MemoryMiB: 16, OriginMemoryMiB: 4, Connections: 4,
	}, cfg.Limits)
	policy, err := cfg.policy()
	require.NoError(t, err)
	mapped, keep := policy.Apply("web.cart.time")
	require.True(t, keep)
	require.Equal(t, "shop.web.time", mapped.Name)
	mapped, _ = policy.Apply("jvm.heap")
	require.Equal(t, "jvm.heap", mapped.Name)
	mapped, _ = policy.Apply(string(checkGauge))
	require.Equal(t, string(checkGauge), mapped.Name, "our own names are as they are")
	_, keep = policy.Apply("debug.x")
	require.True(t, keep, "blocked is what is left after the prefix")
}

func TestBadConfigNamesTheFields(t *testing.T) {
	err := confmap.Validate(load(t, "bad"))
	for _, want := range []string{
		`endpoint: "relative/dsd.socket" is not an absolute path`,
		`udp_endpoint: "nowhere" is not host:port`,
		"socket_permissions: ", "queue_depth: 0 ", "buffer_size: 100 ", "aggregation_interval: 10ms ",
		`temporality: "sometimes" is none of cumulative, delta`, `timer_unit: "h" `, `client_origin: "always" `,
		`process_stream: "sometimes" `,
		"expiry: ", "root_path: ",
		"limits.origin_rate: ", "limits.rate: ", "limits.origin_contexts: ", "limits.contexts: ", "limits.memory_mib: ",
		"limits.origin_memory_mib: ", "limits.connections: ",
	} {
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, confmap.Validate(load(t, "bad_mapping")), `mappings: compile mapping "web.*": "$2"`)
	require.ErrorContains(t, confmap.Validate(load(t, "bad_block")), "block: ")
	require.ErrorContains(t, confmap.Validate(load(t, "none")), "endpoint: ")
	require.ErrorContains(t, confmap.Validate(load(t, "same")), "stream_endpoint: ")
}
