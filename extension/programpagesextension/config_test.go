package programpagesextension

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
)

func TestConfig(t *testing.T) {
	all, err := confmaptest.LoadConf(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	f := func(name string, want time.Duration, problem string) {
		t.Helper()
		sub, err := all.Sub(name)
		require.NoError(t, err)
		cfg := createDefaultConfig()
		require.NoError(t, sub.Unmarshal(cfg))
		err = confmap.Validate(cfg)
		if problem != "" {
			require.ErrorContains(t, err, problem)
			return
		}
		require.NoError(t, err)
		require.Equal(t, &Config{After: want}, cfg)
	}
	f("program_pages", 30*time.Second, "")
	f("program_pages/late", 10*time.Minute, "")
	f("program_pages/early", 0, "after: 0s is not between 1s and 24h0m0s")
	f("program_pages/never", 0, "after: 25h0m0s is not between")
}
