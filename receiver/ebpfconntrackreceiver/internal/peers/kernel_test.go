package peers_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// talk makes a real connection and returns whom each end takes the other for.
func (w *world) talk(from, to *place, address string) (server, client string) {
	w.t.Helper()
	var l net.Listener
	testkit.InNetns(w.t, to.pid, func() (err error) {
		l, err = net.Listen("tcp", ":0")
		return err
	})
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(w.t, err)
	var out net.Conn
	testkit.InNetns(w.t, from.pid, func() (err error) {
		out, err = net.DialTimeout("tcp", net.JoinHostPort(address, port), 10*time.Second)
		if err != nil {
			err = fmt.Errorf("from process %d: %w", from.pid, err)
		}
		return err
	})
	defer out.Close()
	in, err := l.Accept()
	require.NoError(w.t, err)
	defer in.Close()
	remote := netip.MustParseAddrPort(in.RemoteAddr().String())
	return w.who(from, out.RemoteAddr().String()), w.who(to, remote.Addr().String())
}

// The addresses that the kernel gives real connections lead to who has them.
func TestRealConnections(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	w := newWorld(t, peers.Options{})
	host, a, b, c := w.place(), w.place(box("a")), w.place(box("b")), w.place(box("c"))
	outer, inner := w.place(box("outer")), w.place(box("inner"))
	host.bridge("br1", "10.9.0.1/24")
	host.bridge("br2", "10.8.0.1/24") // or the host would have two ways to 10.9.0.0/24
	host.ip("addr add fd12::1/64 dev br1 nodad")
	host.plug("br1", a, "10.9.0.2/24")
	host.plug("br1", b, "10.9.0.3/24")
	host.plug("br2", c, "10.9.0.2/24")
	host.plug("br1", outer, "10.9.0.4/32") // or it would have two ways to 10.9.0.0/24
	// Without this it answers for its inner address on the outer link, too.
	outer.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1")
	outer.bridge("br0", "10.9.0.1/24")
	outer.plug("br0", inner, "10.9.0.5/24")
	for i, p := range []*place{a, b} {
		p.ip(fmt.Sprintf("addr add fd12::%d/64 dev eth%d nodad", i+2, host.pid))
	}
	for _, p := range w.places {
		p.ip("link set lo up")
	}
	w.refresh()
	for _, one := range []struct {
		from, to       *place
		address        string
		server, client string
	}{
		{b, a, "10.9.0.2", "a", "b"},
		{b, a, "fd12::2", "a", "b"},
		{host, a, "fd12::2", "a", "host br1"},
		{b, host, "10.9.0.1", "host br1", "b"},
		{a, host, "10.9.0.1", "host br1", "ambiguous"}, // c has it too, on the other bridge
		{a, host, "fd12::1", "host br1", "a"},
		{a, a, "10.9.0.2", "a", "a"}, // by its own address, over lo
		{c, c, "10.9.0.2", "c", "c"},
		{a, a, "127.0.0.1", "a", "a"},
		{a, a, "::1", "a", "a"},
		{host, host, "127.0.0.1", "host lo", "host lo"},
		{inner, outer, "10.9.0.1", "outer", "inner"},
		{inner, inner, "10.9.0.5", "inner", "inner"},
	} {
		server, client := w.talk(one.from, one.to, one.address)
		require.Equal(t, []string{one.server, one.client}, []string{server, client}, "%s to %s", one.client, one.address)
	}
}

// Hairpin: through the host's published port and back to the bridge it came from.
// Without its translation each end sees the host; what the translation says leads
// to who is there.
func TestHairpin(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "nft")
	w := newWorld(t, peers.Options{})
	host, a, b := w.place(), w.place(box("a")), w.place(box("b"))
	host.bridge("br0", "10.9.0.1/24")
	host.plug("br0", a, "10.9.0.2/24")
	host.plug("br0", b, "10.9.0.3/24")
	host.ip("addr add 192.0.2.1/32 dev lo", "link set lo up", fmt.Sprintf("link set veth%d type bridge_slave hairpin on", a.pid))
	for _, p := range []*place{a, b} {
		p.ip("route add default via 10.9.0.1")
	}
	var l net.Listener
	testkit.InNetns(t, a.pid, func() (err error) {
		l, err = net.Listen("tcp4", "10.9.0.2:80")
		return err
	})
	defer l.Close()
	host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	host.run("nft", `table ip nat {
		chain in { type nat hook prerouting priority dstnat; ip daddr 192.0.2.1 tcp dport 8080 dnat to 10.9.0.2:80; }
		chain out { type nat hook postrouting priority srcnat; ip saddr 10.9.0.0/24 ip daddr 10.9.0.0/24 masquerade; }
	}`)
	w.refresh()
	for name, from := range map[string]*place{"a": a, "b": b} {
		var out net.Conn
		testkit.InNetns(t, from.pid, func() (err error) {
			out, err = net.DialTimeout("tcp4", "192.0.2.1:8080", patience)
			return err
		})
		in, err := l.Accept()
		require.NoError(t, err)
		require.Equal(t, "host lo", w.who(from, out.RemoteAddr().String()), name)
		client := netip.MustParseAddrPort(in.RemoteAddr().String()).Addr().String()
		require.Equal(t, "host br0", w.who(a, client), name)
		// The other ends, as the translation has them.
		require.Equal(t, "a", w.who(from, in.LocalAddr().String()), name)
		require.Equal(t, name, w.who(a, netip.MustParseAddrPort(out.LocalAddr().String()).Addr().String()))
		require.NoError(t, out.Close())
		require.NoError(t, in.Close())
	}
}

// Who has an address himself means that, also where it is on no link that is known
// and a neighbour has it on one.
func TestOwnAddressComesFirst(t *testing.T) {
	w := newWorld(t, peers.Options{})
	host, a, b, c := w.place(), w.place(box("a")), w.place(box("b")), w.place(box("c"))
	host.bridge("br0", "10.9.0.1/24")
	host.plug("br0", a, "10.9.0.2/24")
	host.plug("br0", b, "10.2.0.1/32")
	host.plug("br0", c, "10.9.0.4/24")
	a.ip("addr add 10.2.0.1/32 dev lo")
	w.refresh()
	require.Equal(t, "a", w.who(a, "10.2.0.1"))
	require.Equal(t, "b", w.who(b, "10.2.0.1"))
	require.Equal(t, "b", w.who(c, "10.2.0.1"), "it is on the link")
	require.Equal(t, "ambiguous", w.who(nil, "10.2.0.1"))
}

// A namespace that goes while it is still told is no error, and is answered.
func TestVanishesBetween(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	w := newWorld(t, peers.Options{})
	host, a := w.place(), w.place(box("a"))
	host.bridge("br0", "10.5.0.1/24")
	host.plug("br0", a, "10.5.0.2/24")
	w.refresh()
	a.kill()
	w.refresh()
	require.Equal(t, "a", w.who(host, "10.5.0.2"))
	require.False(t, w.ask(host, "10.5.0.2").Gone)
	require.Zero(t, w.table.Stats().ReadErrors)
}

// The number of a namespace that has gone is soon that of another, which must not
// get what the one before had.
func TestNumberIsUsedAgain(t *testing.T) {
	w := newWorld(t, peers.Options{Grace: 5 * time.Minute})
	host, a, b := w.place(), w.place(sandbox("s"), box("a")), w.place(box("b"))
	host.bridge("br0", "10.5.0.1/24")
	host.plug("br0", a, "10.5.0.2/24")
	w.refresh()
	// The next container of a pod is in the same namespace.
	a.become(sandbox("s"), box("c"))
	w.refresh()
	require.Equal(t, "c", w.who(host, "10.5.0.2"))

	a.kill()
	host.plug("br0", b, "10.5.0.3/24")
	b.ns.Inode = a.ns.Inode
	w.places = []*place{host, b}
	b.ns.Changed = true
	w.refresh()
	require.Equal(t, "b", w.who(host, "10.5.0.3"))
	gone := w.ask(host, "10.5.0.2")
	require.Equal(t, "c", gone.Container)
	require.True(t, gone.Gone)
}
