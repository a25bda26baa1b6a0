package entity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEventsAreSent looks for each event, and for the attributes and metrics that
// are read, in what the two receivers say that they send.
func TestEventsAreSent(t *testing.T) {
	var told strings.Builder
	for _, receiver := range []string{"cgroupreceiver", "containerstatusreceiver"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "receiver", receiver, "metadata.yaml"))
		require.NoError(t, err)
		told.Write(text)
	}
	for name := range handlers {
		require.Contains(t, told.String(), "\n  "+name+":\n    enabled: true", name)
	}
	for _, name := range []string{
		"container.uptime", "container.degraded", "container.state", "container.health.status", "container.restart.count",
		"container.pid", "container.lifetime", "container.exit_code", "container.exit_signal", "container.oom_killed",
		"container.memory.peak", "container.pids.peak", "container.cpu.time", "process.executable.name", "process.pid",
		"process.vpid", "process.memory.rss", "oom.victim.init", "container.survived", "count", "degraded.reason", "container.name",
	} {
		require.Contains(t, told.String(), "\n  "+name+":\n", name)
	}
}
