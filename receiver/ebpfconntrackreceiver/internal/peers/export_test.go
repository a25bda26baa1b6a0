package peers

import (
	"net/netip"

	"github.com/tallymanhq/tallyman/internal/netns"
)

// What tests need to see, and nobody else.

// Put makes a namespace known as if it had been read with these addresses.
func (t *Table) Put(n *netns.Namespace, addresses ...netip.Addr) {
	s := t.note(n, t.o.Now())
	for _, a := range addresses {
		s.addresses = append(s.addresses, address{prefix: netip.PrefixFrom(a, a.BitLen()), index: 2})
	}
	s.links = []link{{name: "eth0", index: 2, peerNSID: noNSID}}
}

// Publish makes what was Put visible.
func (t *Table) Publish() { t.publish(t.o.Now()) }

// GroupOf is the group of an address.
func (t *Table) GroupOf(a netip.Addr) string { return t.group(a) }
