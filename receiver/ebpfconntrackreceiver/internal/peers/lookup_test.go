package peers_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// Two bridges that know nothing of each other have the same addresses, and a
// container has containers inside, which have them too.
func TestSameAddressOnTwoBridges(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	w := newWorld(t, peers.Options{})
	host := w.place()
	a, b, c, d := w.place(box("a")), w.place(box("b")), w.place(box("c")), w.place(box("d"))
	outer, e, f := w.place(box("outer")), w.place(box("e")), w.place(box("f"))
	other, routed := w.place(box("other")), w.place(box("routed"))
	host.bridge("br1", "10.9.0.1/24")
	host.bridge("br2", "10.9.0.1/24")
	host.bridge("br3", "10.8.0.1/24")
	host.plug("br1", a, "10.9.0.2/24")
	host.plug("br2", b, "10.9.0.2/24")
	host.plug("br1", c, "10.9.0.3/24")
	host.plug("br2", d, "10.9.0.3/24")
	host.plug("br1", outer, "10.9.0.4/24")
	host.plug("br3", other, "10.8.0.2/24")
	host.plug("", routed, "10.7.0.2/32")
	outer.bridge("inner", "10.9.0.1/24")
	outer.plug("inner", e, "10.9.0.2/24")
	outer.plug("inner", f, "10.8.0.2/24")
	w.refresh()

	for _, one := range []struct {
		from    *place
		address string
		want    string
	}{
		{c, "10.9.0.2", "a"},
		{d, "10.9.0.2", "b"},
		{f, "10.9.0.2", "e"},
		{a, "10.9.0.3", "c"},
		{b, "10.9.0.3", "d"},
		{a, "10.9.0.2", "a"}, // its own
		{b, "10.9.0.2", "b"},
		{nil, "10.9.0.2", "ambiguous"},
		{host, "10.9.0.2", "ambiguous"},  // two of its bridges
		{other, "10.9.0.2", "ambiguous"}, // both behind the host
		{outer, "10.9.0.2", "ambiguous"}, // one on each of its links
		{outer, "10.9.0.3", "c"},         // it is on br1
		{host, "10.8.0.2", "other"},      // the other is inside a container
		{a, "10.8.0.2", "other"},         // the host leads there
		{routed, "10.8.0.2", "other"},
		{e, "10.8.0.2", "f"},
		{nil, "10.7.0.2", "routed"},
		{nil, "10.9.0.4", "outer"},
		{c, "10.9.0.1", "host br1"},
		{f, "10.9.0.1", "outer"},
		{other, "10.8.0.1", "host br3"},
		{nil, "::ffff:10.7.0.2", "routed"},
		{nil, "10.9.0.77", "group private"},
	} {
		require.Equal(t, one.want, w.who(one.from, one.address), "%v from %+v", one.address, one.from)
	}
	require.Equal(t, "eth"+itoa(host.pid), w.ask(c, "10.9.0.2").Interface)

	// What is known is not asked again.
	w.opened = 0
	w.refresh()
	require.Equal(t, len(w.places), w.opened, "one look at each")
	require.Equal(t, "a", w.who(c, "10.9.0.2"))
}

func TestIPv6AndLoopback(t *testing.T) {
	w := newWorld(t, peers.Options{})
	host, a, b := w.place(), w.place(box("a")), w.place(box("b"))
	host.bridge("br0", "fd12::1/64")
	host.plug("br0", a, "fd12::2/64")
	host.plug("br0", b, "fd12::3/64")
	for _, p := range w.places {
		p.ip("link set lo up")
	}
	w.refresh()
	require.Equal(t, "a", w.who(b, "fd12::2"))
	require.Equal(t, "host br0", w.who(b, "fd12::1"))
	require.Equal(t, "b", w.who(b, "::1"))
	require.Equal(t, "b", w.who(b, "127.0.0.53"))
	require.Equal(t, "a", w.who(a, "127.0.0.1"))
	require.Equal(t, "host lo", w.who(host, "127.0.0.1"))
	require.Equal(t, "group loopback", w.who(nil, "127.0.0.1"))
	require.Equal(t, "group private", w.who(b, "fd12::77"))

	_, ok := w.table.Lookup(peers.Question{})
	require.False(t, ok)
}

func TestPod(t *testing.T) {
	ports := map[uint16]string{80: "web", 81: "db", 82: "nobody of this pod", 90: "on the host"}
	w := newWorld(t, peers.Options{Listener: func(_ uint64, port uint16) (string, bool) {
		id, ok := ports[port]
		return id, ok
	}})
	host := w.place()
	pod := w.place(sandbox("pause"), box("web"), box("db"))
	host.bridge("br0", "10.6.0.1/24")
	host.plug("br0", pod, "10.6.0.2/24")
	w.refresh()
	require.Equal(t, "web+db", w.who(nil, "10.6.0.2"))
	require.Equal(t, "web", w.who(nil, "10.6.0.2:80"))
	require.Equal(t, "db", w.who(nil, "10.6.0.2:81"))
	require.Equal(t, "web+db", w.who(nil, "10.6.0.2:82"), "who is not in the pod cannot be meant")
	require.Equal(t, []string{"web", "db"}, w.ask(nil, "10.6.0.2:80").Containers)
	require.Equal(t, "on the host", w.who(nil, "10.6.0.1:90"), "a container may use the host's network")
	require.Equal(t, "host br0", w.who(nil, "10.6.0.1:8000"), "nobody is known to listen there")
	in, ok := w.table.Namespace(pod.ns.Inode, 81)
	require.True(t, ok)
	require.Equal(t, "db", in.Container)
	_, ok = w.table.Namespace(1, 0)
	require.False(t, ok)

	pod.become(sandbox("pause"), box("web"))
	w.refresh()
	require.Equal(t, "web", w.who(nil, "10.6.0.2"), "a pod's sandbox does nothing")
	pod.become(sandbox("pause"))
	w.refresh()
	require.Equal(t, "pause", w.who(nil, "10.6.0.2"), "unless it is alone")
}

func TestGrace(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	w := newWorld(t, peers.Options{Grace: 5 * time.Minute})
	host, a := w.place(), w.place(box("a"))
	host.bridge("br0", "10.5.0.1/24")
	host.plug("br0", a, "10.5.0.2/24")
	w.refresh()
	inode := a.ns.Inode
	w.gone(a)
	w.refresh()
	gone := w.ask(host, "10.5.0.2")
	require.Equal(t, "a", gone.Container)
	require.True(t, gone.Gone)
	own, ok := w.table.Lookup(peers.Question{From: inode, Addr: netip.MustParseAddrPort("127.0.0.1:80")})
	require.True(t, ok)
	require.Equal(t, "a", own.Container, "its own late records are known")
	require.Positive(t, w.table.Stats().Gone)

	b := w.place(box("b"))
	host.plug("br0", b, "10.5.0.2/24")
	w.refresh()
	require.Equal(t, "b", w.who(host, "10.5.0.2"), "who is alive comes first")
	w.gone(b)
	w.refresh()
	require.Equal(t, "b", w.who(host, "10.5.0.2"), "then who was the last to go")
	for range 5 {
		w.refresh()
	}
	require.Equal(t, "group private", w.who(host, "10.5.0.2"))
	require.Zero(t, w.table.Stats().Gone)
}

// An address may leave a container that lives on.
func TestAddressLeaves(t *testing.T) {
	w := newWorld(t, peers.Options{Grace: 2 * time.Minute})
	w.place()
	a := w.place(box("a"))
	a.ip("addr add 10.4.0.2/32 dev lo", "addr add 10.4.0.3/32 dev lo")
	w.refresh()
	require.Equal(t, "a", w.who(nil, "10.4.0.3"))
	a.ip("addr del 10.4.0.3/32 dev lo")
	w.refresh()
	require.True(t, w.ask(nil, "10.4.0.3").Gone)
	require.False(t, w.ask(nil, "10.4.0.2").Gone)
	w.refresh()
	w.refresh()
	require.Equal(t, "group private", w.who(nil, "10.4.0.3"))
}
