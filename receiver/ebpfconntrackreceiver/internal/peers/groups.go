package peers

import (
	"fmt"
	"net/netip"
	"slices"
)

// NamedGroup is a group of addresses.
type NamedGroup struct {
	// Name is not empty. The names of [DefaultGroups] may be used too.
	Name     string
	Prefixes []netip.Prefix
}

// Names of [DefaultGroups].
const (
	GroupPrivate   = "private"
	GroupShared    = "shared"
	GroupLinkLocal = "link_local"
	GroupLoopback  = "loopback"
	GroupMulticast = "multicast"
	GroupExternal  = "external"
)

// DefaultGroups cover all addresses: what is not special is external.
func DefaultGroups() []NamedGroup {
	group := func(name string, prefixes ...string) NamedGroup {
		g := NamedGroup{Name: name}
		for _, p := range prefixes {
			g.Prefixes = append(g.Prefixes, netip.MustParsePrefix(p))
		}
		return g
	}
	return []NamedGroup{
		group(GroupPrivate, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"), // RFC 1918, RFC 4193
		group(GroupShared, "100.64.0.0/10"),                                              // RFC 6598
		group(GroupLinkLocal, "169.254.0.0/16", "fe80::/10"),                             // RFC 3927, RFC 4291
		group(GroupLoopback, "127.0.0.0/8", "::1/128"),                                   // RFC 1122, RFC 4291
		group(GroupMulticast, "224.0.0.0/4", "ff00::/8"),                                 // RFC 5771, RFC 4291
		group(GroupExternal, "0.0.0.0/0", "::/0"),
	}
}

// maxPrefixes bounds the prefixes of all groups: newGroups takes a millisecond
// for a hundred and grows with the square.
const maxPrefixes = 1024

// groups are ranges of addresses without gaps between them, each from its first
// address to the next range's, so that a search finds the longest prefix.
type groups struct {
	first []netip.Addr
	name  []string
}

// newGroups adds the given groups to the default ones. A prefix that is given
// twice belongs to the given group; two of those are a mistake.
func newGroups(given []NamedGroup) (*groups, error) {
	names := map[netip.Prefix]string{}
	for _, g := range DefaultGroups() {
		for _, p := range g.Prefixes {
			names[p] = g.Name
		}
	}
	own := map[netip.Prefix]string{}
	for _, g := range given {
		if g.Name == "" {
			return nil, fmt.Errorf("group of %v: no name", g.Prefixes)
		}
		for _, p := range g.Prefixes {
			p, err := canonical(p)
			if err != nil {
				return nil, fmt.Errorf("group %q: %w", g.Name, err)
			}
			if other, isTaken := own[p]; isTaken && other != g.Name {
				return nil, fmt.Errorf("group %q: %v is in group %q too", g.Name, p, other)
			}
			own[p], names[p] = g.Name, g.Name
		}
	}
	if len(names) > maxPrefixes {
		return nil, fmt.Errorf("count prefixes of groups: %d are more than %d", len(names), maxPrefixes)
	}
	return flatten(names), nil
}

// canonical clears the bits behind a prefix and takes IPv4 out of IPv6.
func canonical(p netip.Prefix) (netip.Prefix, error) {
	if !p.IsValid() {
		return p, fmt.Errorf("prefix %v: not valid", p)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, fmt.Errorf("prefix %v: shorter than IPv4 inside IPv6", p)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// flatten cuts the addresses where a prefix begins or has just ended.
func flatten(names map[netip.Prefix]string) *groups {
	var cuts []netip.Addr
	for p := range names {
		cuts = append(cuts, p.Addr())
		if after := last(p).Next(); after.IsValid() {
			cuts = append(cuts, after)
		}
	}
	slices.SortFunc(cuts, netip.Addr.Compare)
	g := &groups{}
	for _, at := range slices.Compact(cuts) {
		name := longest(names, at)
		if n := len(g.name); n > 0 && g.name[n-1] == name && g.first[n-1].Is4() == at.Is4() {
			continue
		}
		g.first = append(g.first, at)
		g.name = append(g.name, name)
	}
	return g
}

func longest(names map[netip.Prefix]string, at netip.Addr) string {
	name, bits := "", -1
	for p, n := range names {
		if p.Contains(at) && p.Bits() > bits {
			name, bits = n, p.Bits()
		}
	}
	return name
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// of returns the group of an address, "" if there is none. IPv4 sorts before
// IPv6, and both begin with a range because of the default groups.
func (g *groups) of(a netip.Addr) string {
	low, high := 0, len(g.first)
	for low < high {
		middle := int(uint(low+high) / 2)
		if g.first[middle].Compare(a) <= 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return ""
	}
	return g.name[low-1]
}
