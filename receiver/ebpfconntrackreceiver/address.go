package ebpfconntrackreceiver

import "net/netip"

// sharedSpace is the address range of carrier-grade NAT (RFC 6598), which overlay
// networks like to use.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// isLocal tells whether an address may be one of this host's containers, also of
// one that is not known.
func isLocal(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || sharedSpace.Contains(a)
}

// withoutPort is for a client's address: its port says nothing.
func withoutPort(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }
