package testkit

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// When a whole test run is killed nobody is left to stop its engine. The next run is not
// to wait for a bridge that is nobody's, nor to do without rules because of it.
func TestReclaim(t *testing.T) {
	NeedRoot(t)
	NeedCommand(t, "dockerd", "ip", "iptables")
	d, err := newDaemon(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.stop()) })
	require.NoError(t, d.start(t.Context(), t.Logf))
	isFree, err := reclaim(t.Context(), d.bridge)
	require.NoError(t, err)
	require.False(t, isFree, "its engine runs")

	text, err := os.ReadFile(d.pidFile())
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	Eventually(t, 30*time.Second, func() error {
		if d.alive() {
			return errForeign
		}
		return nil
	})
	_, err = net.InterfaceByName(d.bridge)
	require.NoError(t, err, "what is killed takes nothing with it")
	isFree, err = reclaim(t.Context(), d.bridge)
	require.NoError(t, err)
	require.True(t, isFree)
	_, err = net.InterfaceByName(d.bridge)
	require.Error(t, err)
	for _, table := range []string{"filter", "nat"} {
		rules, err := exec.Command("iptables", "-t", table, "-S").Output()
		require.NoError(t, err)
		require.NotContains(t, string(rules), d.bridge)
	}
}

func TestReclaimLeavesWhatIsNotOurs(t *testing.T) {
	for _, bridge := range []string{"docker0", "tly", "br-0123456789ab", ""} {
		isFree, err := reclaim(t.Context(), bridge)
		require.NoError(t, err)
		require.False(t, isFree, bridge)
	}
}
