package nat

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func addrPort(ip string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), port)
}

// scenario is a row of the table of doc.go.
type scenario struct {
	name       string
	from       string // namespace of the client
	network    string
	dialled    netip.AddrPort
	backend    netip.AddrPort // where it really goes
	masquerade string         // the address that the server sees; "" is the client's own
}

func (s *scenario) transport() Transport {
	if strings.HasPrefix(s.network, "udp") {
		return UDP
	}
	return TCP
}

func (s *scenario) isTranslated() bool { return s.dialled != s.backend || s.masquerade != "" }

// TestCases is the table of doc.go, with both implementations: for each
// connection what its client's socket and its server's socket are told.
func TestCases(t *testing.T) {
	r := newRig(t)
	run(t, "ip -n "+r.external+" route add 172.30.0.0/24 via "+host4)
	scenarios := []scenario{
		{"another host", r.external, "tcp4", addrPort(host4, published), addrPort(second4, inside), ""},
		{"host", r.host, "tcp4", addrPort(host4, published), addrPort(second4, inside), ""},
		{"hairpin", r.first, "tcp4", addrPort(host4, published), addrPort(second4, inside), gateway4},
		{"outside", r.first, "tcp4", addrPort(external4, 443), addrPort(external4, 443), host4},
		{"another host, v6", r.external, "tcp6", addrPort(host6, published), addrPort(second6, inside), ""},
		{"hairpin, v6", r.first, "tcp6", addrPort(host6, published), addrPort(second6, inside), gateway6},
		{"not translated", r.external, "tcp4", addrPort(gateway4, 81), addrPort(gateway4, 81), ""},
		{"another host, UDP", r.external, "udp4", addrPort(host4, published), addrPort(second4, inside), ""},
		{"hairpin, UDP", r.first, "udp4", addrPort(host4, published), addrPort(second4, inside), gateway4},
		{"hairpin, UDP, v6", r.first, "udp6", addrPort(host6, published), addrPort(second6, inside), gateway6},
	}
	servers := map[string]<-chan Pair{
		"udp4" + addrPort(second4, inside).String(): r.listen(r.second, "udp4", addrPort(second4, inside).String()),
		"udp6" + addrPort(second6, inside).String(): r.listen(r.second, "udp6", addrPort(second6, inside).String()),
		"tcp4" + addrPort(external4, 443).String():  r.listen(r.external, "tcp4", ":443"),
		"tcp4" + addrPort(gateway4, 81).String():    r.listen(r.host, "tcp4", ":81"),
	}
	dual := r.listen(r.second, "tcp", ":80") // one socket for both families
	servers["tcp4"+addrPort(second4, inside).String()] = dual
	servers["tcp6"+addrPort(second6, inside).String()] = dual
	both(t, func(t *testing.T, mode Mode) {
		for _, isOlder := range []bool{true, false} {
			t.Run("older than the resolver "+strconv.FormatBool(isOlder), func(t *testing.T) {
				r := r.with(t)
				var resolver Resolver
				if !isOlder {
					resolver = r.open(mode)
				}
				clients, seen := make([]Pair, len(scenarios)), make([]Pair, len(scenarios))
				for i, s := range scenarios {
					clients[i] = pairOf(r.dial(s.from, s.network, s.dialled.String()))
					seen[i] = <-servers[s.network+s.backend.String()]
				}
				if isOlder {
					resolver = r.open(mode)
				}
				for i, s := range scenarios {
					t.Run(s.name, func(t *testing.T) { r.with(t).check(resolver, &s, clients[i], seen[i]) })
				}
				stats, n := resolver.Stats(), uint64(2*len(scenarios))
				require.Equal(t, [4]uint64{n, n, 0, 0}, [4]uint64{stats.Lookups, stats.Hits, stats.Misses, stats.Errors})
			})
		}
	})
}

// check asks for both sockets of a connection.
func (r *rig) check(resolver Resolver, s *scenario, client, seen Pair) {
	r.t.Helper()
	masked := client.Local
	if s.masquerade != "" {
		masked = addrPort(s.masquerade, seen.Remote.Port())
	}
	require.Equal(r.t, masked, plain(seen.Remote), "what the rig does")

	q := Query{Pair: client, Transport: s.transport()}
	got := resolveOne(r.t, resolver, Namespace{}, q)
	require.Equal(r.t, Answer{Found: true, Origin: Original, Real: Pair{Local: masked, Remote: s.backend}}, got, "client")
	require.Equal(r.t, s.isTranslated(), got.Translated(q))

	q = Query{Pair: seen, Transport: s.transport(), Netns: r.namespace(r.second)}
	got = resolveOne(r.t, resolver, Namespace{}, q)
	require.Equal(r.t, Answer{Found: true, Origin: Reply, Real: Pair{Local: s.dialled, Remote: client.Local}}, got, "server")
	require.Equal(r.t, s.isTranslated(), got.Translated(q))
}

// with is the rig for a subtest.
func (r *rig) with(t testing.TB) *rig {
	other := *r
	other.t = t
	return &other
}

func (r *rig) namespace(ns string) uint64 {
	r.t.Helper()
	n, err := OpenNamespace(path(ns))
	require.NoError(r.t, err)
	require.NoError(r.t, n.Close())
	return n.Inode
}

// TestNothingFound: what conntrack does not know, and what makes no sense.
func TestNothingFound(t *testing.T) {
	r := newRig(t)
	served := r.listen(r.host, "tcp4", "127.0.0.1:4444")
	client := r.dial(r.host, "tcp4", "127.0.0.1:4444")
	server := <-served
	home := pairOf(client)
	both(t, func(t *testing.T, mode Mode) {
		resolver := r.with(t).open(mode)
		none := func(name string, q Query) {
			t.Helper()
			require.Equal(t, Answer{}, resolveOne(t, resolver, Namespace{}, q), name)
		}
		unknown := Pair{Local: addrPort(first4, 1), Remote: addrPort(second4, 1)}
		none("unknown", Query{Pair: unknown, Transport: TCP})
		none("no transport", Query{Pair: home})
		none("another transport", Query{Pair: home, Transport: UDP})
		none("no address", Query{Transport: TCP})
		none("two families", Query{Pair: Pair{Local: home.Local, Remote: addrPort(first6, 4444)}, Transport: TCP})
		none("not connected", Query{Pair: Pair{Local: home.Local, Remote: addrPort("0.0.0.0", 0)}, Transport: UDP})
		// The same tuple in a container means its own loopback interface.
		none("another loopback", Query{Pair: home, Transport: TCP, Netns: r.namespace(r.first)})
		stats := resolver.Stats()
		require.Equal(t, [4]uint64{7, 0, 7, 0}, [4]uint64{stats.Lookups, stats.Hits, stats.Misses, stats.Errors})

		// While that of the host, asked for as such, is found, also mapped to v6.
		found := Answer{Found: true, Origin: Original, Real: home}
		require.Equal(t, found, resolveOne(t, resolver, Namespace{}, Query{Pair: home, Transport: TCP, Netns: r.namespace(r.host)}))
		mapped := Pair{Local: mapTo6(home.Local), Remote: mapTo6(home.Remote)}
		require.Equal(t, found, resolveOne(t, resolver, Namespace{}, Query{Pair: mapped, Transport: TCP}))
		require.Equal(t, Reply, resolveOne(t, resolver, Namespace{}, Query{Pair: server, Transport: TCP}).Origin)
	})
}

func mapTo6(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
}

// TestOtherNamespace: a container that translates by itself is asked in its own
// namespace, and what leaves it in the host's.
func TestOtherNamespace(t *testing.T) {
	r := newRig(t)
	run(t, "ip netns exec "+r.first+" nft add table ip own")
	run(t, "ip netns exec "+r.first+" nft add chain ip own out { type nat hook output priority -100 ; }")
	run(t, "ip netns exec "+r.first+" nft add rule ip own out ip daddr 203.0.113.1 tcp dport 5 dnat to "+host4+":"+strconv.Itoa(published))
	served := r.listen(r.second, "tcp", ":80")
	client := r.dial(r.first, "tcp4", "203.0.113.1:5")
	server := <-served
	both(t, func(t *testing.T, mode Mode) {
		resolver := r.with(t).open(mode)
		ns, err := OpenNamespace(path(r.first))
		require.NoError(t, err)
		defer ns.Close()

		q := Query{Pair: pairOf(client), Transport: TCP, Netns: ns.Inode}
		require.Equal(t, Answer{}, resolveOne(t, resolver, Namespace{}, q), "the host sees another tuple")
		own := resolveOne(t, resolver, ns, q)
		require.Equal(t, addrPort(host4, published), own.Real.Remote)
		require.Equal(t, Original, own.Origin)
		q.Pair = own.Real
		real := resolveOne(t, resolver, Namespace{}, q)
		require.Equal(t, addrPort(second4, inside), real.Real.Remote)
		require.Equal(t, plain(server.Remote), real.Real.Local)

		// And afterwards the host's is asked again.
		got := resolveOne(t, resolver, Namespace{}, Query{Pair: server, Transport: TCP})
		require.Equal(t, q.Pair, Pair{Local: got.Real.Remote, Remote: got.Real.Local})
	})
}

func TestZone(t *testing.T) {
	r := newRig(t)
	served := r.listen(r.host, "udp4", addrPort(host4, zoned).String())
	client := r.dial(r.external, "udp4", addrPort(host4, zoned).String())
	<-served
	q := Query{Pair: pairOf(client), Transport: UDP}
	both(t, func(t *testing.T, mode Mode) {
		resolver := r.with(t).open(mode)
		require.False(t, resolveOne(t, resolver, Namespace{}, q).Found, "it is not in zone 0")
		q := q
		q.Zone = 7
		got := resolveOne(t, resolver, Namespace{}, q)
		if resolver.Stats().Errors > 0 {
			testkit.Lack(t, testkit.Feature{Name: "zones for bpf_skb_ct_lookup", MinKernel: "6.11"}, errors.ErrUnsupported)
		}
		require.Equal(t, Answer{Found: true, Origin: Original, Real: q.Pair, Zone: 7}, got)
		q.Zone = 8
		require.False(t, resolveOne(t, resolver, Namespace{}, q).Found)
	})
	t.Run("asked of ctnetlink", func(t *testing.T) {
		o := Options{}.ctnetlink()
		o.limit = 0
		resolver := r.with(t).ctnetlink(o)
		for zone := range uint16(9) {
			q.Zone = zone
			require.Equal(t, zone == 7, resolveOne(t, resolver, Namespace{}, q).Found, zone)
		}
	})
}
