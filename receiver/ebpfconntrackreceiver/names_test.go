package ebpfconntrackreceiver

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Nobody waits for DNS: the name is there when it has come.
func TestNamesComeLater(t *testing.T) {
	asked, answer := make(chan string), make(chan []string)
	n := newNamesBy(func(_ context.Context, address string) ([]string, error) {
		asked <- address
		return <-answer, nil
	})
	defer n.close()
	known := netip.MustParseAddr("192.0.2.1")
	require.Empty(t, n.of(known))
	require.Equal(t, "192.0.2.1", <-asked)
	require.Empty(t, n.of(known), "it is asked for once")
	answer <- []string{"db.example.", "other.example."}
	require.Eventually(t, func() bool { return n.of(known) == "db.example" }, 20*time.Second, time.Millisecond)
	require.Equal(t, "db.example", n.of(netip.MustParseAddr("::ffff:192.0.2.1")))
}

// More questions than may wait are not asked, and nobody is held up.
func TestNamesAreBounded(t *testing.T) {
	release := make(chan struct{})
	n := newNamesBy(func(context.Context, string) ([]string, error) {
		<-release
		return nil, errors.New("no such host")
	})
	defer n.close()
	a := netip.MustParseAddr("198.51.100.0")
	for range 2 * (nameQueue + nameWorkers) {
		a = a.Next()
		require.Empty(t, n.of(a))
	}
	n.mu.Lock()
	require.LessOrEqual(t, len(n.known), nameQueue+nameWorkers)
	n.mu.Unlock()
	close(release)
}

func TestNoNames(t *testing.T) {
	var n *names
	require.Nil(t, n.lookup())
	n.close()
}
