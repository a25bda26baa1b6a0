package gates_test

import (
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/tallymanhq/tallyman/distributions/gates"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// file_log has no buffer of lines, and nobody who looks at one ten times a second.
func TestLogsAreNotHeldBack(t *testing.T) {
	require.NoError(t, gates.Set())
	factory := filelogreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"include": []string{filepath.Join(t.TempDir(), "*.log")},
	}).Unmarshal(config))
	receiver, err := factory.CreateLogs(t.Context(), receivertest.NewNopSettings(factory.Type()), config, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, receiver.Start(t.Context(), componenttest.NewNopHost()))
	var running strings.Builder
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&running, 1))
	require.NoError(t, receiver.Shutdown(t.Context()))
	require.Contains(t, running.String(), "fileconsumer", "file_log runs")
	require.NotContains(t, running.String(), "BatchingLogEmitter")
}

// Both distributions set them, which scripts/generate.sh writes into what ocb makes.
func TestDistributions(t *testing.T) {
	for _, dir := range []string{"../../cmd/tallyman", "../full"} {
		text, err := os.ReadFile(filepath.Join(dir, "main.go"))
		require.NoError(t, err)
		before, _, ran := strings.Cut(string(text), "run(set)")
		require.True(t, ran, dir)
		require.Contains(t, before, "gates.Set()", dir)
	}
}
