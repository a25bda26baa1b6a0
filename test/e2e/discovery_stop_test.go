package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// stoppedWithin is what Kubernetes gives an agent to end (30 s), less something for the
// container around it.
const stoppedWithin = 25 * time.Second

// askingAllocator starts a receiver that asks a target allocator for its work before it
// returns from its start, and does not give up.
const askingAllocator = `
receivers:
  discovery:
    rules:
      - name: allocated
        rule: name startsWith "mute-" && port == 8080
        receiver: prometheus
        config:
          target_allocator: {endpoint: 'http://` + "`endpoint`" + `', interval: 30s, collector_id: test}
`

// The agent ends in time while a receiver hangs in its start, because its container takes
// the connection and says nothing, and names it.
func TestDiscoveryEndsInAHangingStart(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	engine := testkit.Docker(t)
	_, err := engine.BusyboxImage(t.Context())
	require.NoError(t, err)
	a := startDiscoverer(t, engine, askingAllocator)
	mute := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "mute", Cmd: []string{"nc", "-ll", "-p", "8080", "-e", "sleep", "86400"},
	})
	testkit.Eventually(t, soon, func() error { return isAsked(mute.PID, 8080) })
	begun := time.Now()
	log, _ := a.stop()
	t.Logf("ended %v after SIGTERM", time.Since(begun).Round(time.Millisecond))
	require.Less(t, time.Since(begun), stoppedWithin)
	for _, word := range []string{"wait for receivers prometheus of rule", "allocated", mute.ID} {
		require.Contains(t, log, word)
	}
	require.NotContains(t, log, "goroutine ")
}

var errNotAsked = errors.New("nobody is connected")

// isAsked tells whether there is a connection to a port of a container, by the tables of
// its network namespace: a server for both families has its connections in that of IPv6.
func isAsked(pid int, port uint16) error {
	const established = "01" // TCP_ESTABLISHED of the kernel's net/tcp_states.h
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) && fields[3] == established {
				return nil
			}
		}
	}
	return fmt.Errorf("port %d: %w", port, errNotAsked)
}
