package netnsreceiver

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/tallymanhq/tallyman/receiver/netnsreceiver/internal/metadata"
)

func load(t *testing.T, id component.ID) *Config {
	t.Helper()
	conf, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	sub, err := conf.Sub(id.String())
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, sub.Unmarshal(cfg))
	return cfg
}

func TestDefaultConfig(t *testing.T) {
	cfg := load(t, component.NewID(metadata.Type))
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, 10*time.Second, cfg.CollectionInterval)
	require.Equal(t, "/", cfg.RootPath)
	require.True(t, cfg.excludes("lo"))
	require.False(t, cfg.excludes("lo0"))
	require.Equal(t, uint64(1), cfg.protocolEvery())
}

func TestFullConfig(t *testing.T) {
	cfg := load(t, component.NewIDWithName(metadata.Type, "all"))
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, uint64(30), cfg.protocolEvery())
	require.Equal(t, 2*time.Second, cfg.UnchangedInterval)
	require.True(t, cfg.PairedInterfaces)
	require.True(t, cfg.excludes("docker0"))
	require.False(t, cfg.excludes("eth0"))
	require.False(t, cfg.Metrics.ContainerNetworkConntrackLimit.Enabled)
	require.False(t, cfg.Events.ContainerNetworkShared.Enabled)
	require.True(t, cfg.ResourceAttributes.LinuxCgroupPath.Enabled)
	cfg.ProtocolInterval = time.Millisecond
	require.Equal(t, uint64(1), cfg.protocolEvery())
}

func TestNegativeUnchangedInterval(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.UnchangedInterval = -time.Second
	require.ErrorContains(t, confmap.Validate(cfg), "unchanged_interval: -1s is negative")
}

// An empty list means none, not the default.
func TestEmptyListExcludesNothing(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{"exclude_interfaces": []any{}}).Unmarshal(cfg))
	require.False(t, cfg.excludes("lo"))
}

func TestBadConfigNamesTheFields(t *testing.T) {
	err := confmap.Validate(load(t, component.NewIDWithName(metadata.Type, "bad")))
	for _, want := range []string{
		`root_path: "hostfs" is not an absolute path`,
		`protocol_interval: -1s is negative`,
		`unchanged_interval: 10s is too long (it must be below 10s)`,
		`exclude_interfaces: "eth[0" is not a valid pattern`,
	} {
		require.ErrorContains(t, err, want)
	}
}
