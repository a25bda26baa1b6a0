package peers_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// reads is how many namespaces a refresh reads, the host's among them.
func (w *world) reads() uint64 {
	w.t.Helper()
	before := w.table.Stats().Reads
	w.refresh()
	return w.table.Stats().Reads - before
}

// Namespaces in which nothing happens are read once in six times, not all at once;
// what happens there, and a new interface of the host, has them read.
func TestQuietNamespaces(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	busy := map[uint64]time.Duration{}
	w := newWorld(t, peers.Options{Activity: func(n *netns.Namespace) netns.Activity {
		return netns.Activity{IsKnown: !n.Host, CPU: busy[n.Inode], Sockets: 1}
	}})
	host, a, b := w.place(), w.place(box("a")), w.place(box("b"))
	host.bridge("br0", "10.9.0.1/24")
	host.plug("br0", a, "10.9.0.2/24")
	host.plug("br0", b, "10.9.0.3/24")
	require.EqualValues(t, 3, w.reads(), "nobody is known")
	require.EqualValues(t, 3, w.reads(), "the host's interfaces were new")
	extra := uint64(0)
	for range 12 {
		n := w.reads()
		require.GreaterOrEqual(t, n, uint64(1), "the host is always read")
		extra += n - 1
	}
	require.EqualValues(t, 2*12/6, extra, "each once in six times")
	require.Equal(t, "a", w.who(host, "10.9.0.2"))

	busy[a.ns.Inode] = time.Microsecond
	a.ip("addr add 10.9.0.7/24 dev eth" + itoa(host.pid))
	w.refresh()
	require.Equal(t, "a", w.who(host, "10.9.0.7"), "it has done something")

	host.bridge("br1", "10.8.0.1/24") // as docker network connect does
	b.ip("addr add 10.8.0.2/24 dev eth" + itoa(host.pid))
	w.refresh()
	require.Equal(t, "b", w.who(host, "10.8.0.2"), "the host has another interface")
	require.EqualValues(t, 3, w.reads(), "addresses come later than interfaces")
}
