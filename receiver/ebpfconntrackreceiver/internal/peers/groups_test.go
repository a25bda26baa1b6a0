package peers_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

func group(name string, prefixes ...string) peers.NamedGroup {
	g := peers.NamedGroup{Name: name}
	for _, p := range prefixes {
		g.Prefixes = append(g.Prefixes, netip.MustParsePrefix(p))
	}
	return g
}

func TestGroups(t *testing.T) {
	table, err := peers.New(peers.Options{Groups: []peers.NamedGroup{
		group("office", "203.0.113.0/24", "2001:db8:1::/48"),
		group("printers", "203.0.113.128/25"),
		group("one", "203.0.113.200/32", "255.255.255.255/32"),
		group("vpn", "10.0.0.0/8", "::ffff:192.168.7.0/120"),
		group("sloppy", "198.51.100.77/24"),
	}})
	require.NoError(t, err)
	for address, want := range map[string]string{
		"203.0.112.255": "external", "203.0.113.0": "office", "203.0.113.127": "office",
		"203.0.113.128": "printers", "203.0.113.199": "printers", "203.0.113.200": "one",
		"203.0.113.201": "printers", "203.0.113.255": "printers", "203.0.114.0": "external",
		"255.255.255.255": "one", "255.255.255.254": "external", "0.0.0.0": "external",
		"10.1.2.3": "vpn", "11.0.0.0": "external", "192.168.7.1": "vpn", "192.168.8.1": "private",
		"172.15.255.255": "external", "172.16.0.0": "private", "172.31.255.255": "private", "172.32.0.0": "external",
		"100.64.0.1": "shared", "169.254.169.254": "link_local", "127.1.1.1": "loopback", "224.0.0.251": "multicast",
		"198.51.100.1": "sloppy",
		"2001:db8:1::": "office", "2001:db8:2::": "external", "::": "external", "::1": "loopback",
		"fd00::1": "private", "fe80::1": "link_local", "ff02::1": "multicast",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "multicast",
	} {
		p, ok := table.Lookup(peers.Question{Addr: netip.AddrPortFrom(netip.MustParseAddr(address), 80)})
		require.True(t, ok)
		require.Equal(t, peers.Peer{Kind: peers.Group, Group: want}, p, address)
	}
}

func TestGroupsRefused(t *testing.T) {
	f := func(want string, groups ...peers.NamedGroup) {
		t.Helper()
		_, err := peers.New(peers.Options{Groups: groups})
		require.ErrorContains(t, err, want)
	}
	f("no name", group("", "192.0.2.0/24"))
	f(`192.0.2.0/24 is in group "a" too`, group("a", "192.0.2.0/24"), group("b", "192.0.2.77/24"))
	f("not valid", peers.NamedGroup{Name: "a", Prefixes: []netip.Prefix{{}}})
	f("shorter than IPv4", group("a", "::ffff:0.0.0.0/95"))
	many := peers.NamedGroup{Name: "many"}
	for i := range 1024 {
		many.Prefixes = append(many.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 32))
	}
	f("more than 1024", many)
}

// The ranges are what going over all prefixes gives.
func TestGroupsAgainstOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		names := map[netip.Prefix]string{}
		var given []peers.NamedGroup
		for i := range 60 {
			a := netip.AddrFrom4([4]byte{10, 0, byte(random.Uint32() >> 5), byte(random.Uint32())})
			p := netip.PrefixFrom(a, 14+random.IntN(19)).Masked()
			if _, isTaken := names[p]; isTaken {
				continue
			}
			name := string(rune('a' + i%26))
			names[p] = name
			given = append(given, peers.NamedGroup{Name: name, Prefixes: []netip.Prefix{p}})
		}
		table, err := peers.New(peers.Options{Groups: given})
		require.NoError(t, err)
		for range 2000 {
			a := netip.AddrFrom4([4]byte{10, 0, byte(random.Uint32() >> 5), byte(random.Uint32())})
			want, bits := peers.GroupPrivate, 0
			for p, name := range names {
				if p.Contains(a) && p.Bits() > bits {
					want, bits = name, p.Bits()
				}
			}
			require.Equal(t, want, table.GroupOf(a), "%v of %v", a, names)
		}
	}
}
