package e2e_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// With the configuration as it is: the page has both ends of each edge by name, and
// of connections that ended in order there is no record.
func TestConntrackDefaultConfig(t *testing.T) {
	testkit.NeedBPF(t)
	rig := newConnRig(t, noProxy)
	sink := testkit.NewSink(t)
	// Ten seconds are for those who look at it every minute.
	a := startAgent(t, tagSettings(sink, rig.engine.Host(), "receivers::ebpf_conntrack::collection_interval: 1s"))
	const n = 50
	x := rig.exchange(t, n, func(x *exchanged) {
		testkit.Eventually(t, soon, func() error {
			return errors.Join(a.alive(), a.hasEdge(x.client, x.server, "outgoing", n), a.hasEdge(x.server, x.client, "incoming", n))
		})
	})
	view := newConnView(sink)
	log, code := a.stop()
	require.Zero(t, code, log)
	require.Empty(t, complaints(log))
	view.take()
	require.Empty(t, view.closed[x.client.ID])
	require.Empty(t, view.closed[x.server.ID])
}

// hasEdge is nil if the page has all connections between two containers, in one
// series that has the other one's name.
func (a *agent) hasEdge(own, peer *testkit.Container, direction string, n float64) error {
	now, err := a.figures(own.ID)
	if err != nil {
		return err
	}
	var found []string
	for name, p := range now {
		if !strings.HasPrefix(string(name), "container_edge_connections_total{") || p.value == 0 {
			continue
		}
		found = append(found, string(name))
		for label, value := range map[string]string{
			"network_direction": direction, "peer_container_id": peer.ID, "peer_container_name": peer.Name,
			"container_name": own.Name, "server_port": strconv.Itoa(servedPort),
		} {
			if pair := fmt.Sprintf("%s=%q", label, value); !strings.Contains(string(name), pair) {
				return fmt.Errorf("%s (%v) without %s: %w", name, p.value, pair, errConnections)
			}
		}
		if p.value != n {
			return fmt.Errorf("%s is %v, want %v: %w", name, p.value, n, errConnections)
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("edges of %s: %v: %w", own.Name, found, errConnections)
	}
	return nil
}
