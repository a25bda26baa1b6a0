package flightrecorderexporter

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"

	"github.com/tallymanhq/tallyman/exporter/flightrecorderexporter/internal/metadata"
)

// load reads one of the configurations of testdata, as the Collector does.
func load(t *testing.T, name string) (*Config, error) {
	t.Helper()
	all, err := confmaptest.LoadConf("testdata/config.yaml")
	require.NoError(t, err)
	part, err := all.Sub(component.NewIDWithName(metadata.Type, name).String())
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	if err := part.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, confmap.Validate(cfg)
}

func TestConfig(t *testing.T) {
	cfg, err := load(t, "")
	require.NoError(t, err)
	require.Equal(t, &Config{Queue: 40_000}, cfg)
	cfg, err = load(t, "readme")
	require.NoError(t, err)
	require.Equal(t, createDefaultConfig(), cfg)
	cfg, err = load(t, "all")
	require.NoError(t, err)
	require.Equal(t, &Config{Extension: component.NewIDWithName(metadata.Type, "second"), Queue: 1000}, cfg)
}

func TestBadConfigNamesTheFields(t *testing.T) {
	for name, want := range map[string]string{
		"bad":   "queue: 0 is not between 1 and 4194304",
		"large": "queue: 5000000 is not between 1 and 4194304",
		"name":  "extension",
	} {
		_, err := load(t, name)
		require.ErrorContains(t, err, want)
	}
}
