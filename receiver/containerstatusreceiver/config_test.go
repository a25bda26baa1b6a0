package containerstatusreceiver

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/metadata"
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
	require.Empty(t, cfg.Endpoint)
	require.True(t, cfg.Metrics.ContainerRestartCount.Enabled)
	require.True(t, cfg.Events.ContainerKill.Enabled)
}

func TestFullConfig(t *testing.T) {
	cfg := load(t, component.NewIDWithName(metadata.Type, "all"))
	require.NoError(t, confmap.Validate(cfg))
	require.Equal(t, time.Second, cfg.CollectionInterval)
	require.Equal(t, "unix:///run/tallyman/docker.sock", cfg.Endpoint)
	require.False(t, cfg.Metrics.ContainerRestartCount.Enabled)
	require.False(t, cfg.Events.ContainerKill.Enabled)
	require.False(t, cfg.ResourceAttributes.ContainerRuntimeName.Enabled)
}

func TestBadConfigNamesTheField(t *testing.T) {
	err := confmap.Validate(load(t, component.NewIDWithName(metadata.Type, "bad")))
	require.ErrorContains(t, err, `endpoint: "/var/run/docker.sock"`)
}
