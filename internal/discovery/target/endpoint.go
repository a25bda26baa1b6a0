package target

import (
	"cmp"
	"net/netip"
	"slices"
)

// Endpoint is a port of a container that can be reached from the host.
type Endpoint struct {
	// Addr is where to connect to.
	Addr netip.AddrPort
	// Port is the number within the container. It differs from that of Addr
	// only where nothing but the published port can be reached.
	Port uint16
	// HostPort is where it is published on the host, 0: nowhere.
	HostPort uint16
	// Protocol is [TCP] or [UDP].
	Protocol string
	// Executable is the base name of the program that listens, "" if unknown.
	Executable string
	// Listening: a socket was seen, not only an announcement.
	Listening bool
}

// Endpoints returns what can be reached, sockets that were seen first, then by
// number; one for each port and protocol.
//
// What listens decides as soon as it is known: a port that the image only
// announces counts while no socket of its protocol was seen. A socket on the
// loopback of a container is not reachable and counts as not seen, so the
// engine's own name server (127.0.0.11) does not hide the announcement. In a network
// that is shared an announcement counts for nothing: who answers at its port may be
// another container.
func (t *Target) Endpoints() []Endpoint {
	var all []Endpoint
	seen := map[string]bool{}
	for _, l := range t.Listening {
		addr, ok := t.reach(l)
		if !ok {
			continue
		}
		seen[l.Protocol] = true
		all = append(all, Endpoint{
			Addr: addr, Port: l.Addr.Port(), HostPort: t.published(l.Addr.Port(), l.Protocol),
			Protocol: l.Protocol, Executable: l.Executable, Listening: true,
		})
	}
	for _, p := range t.Ports {
		addr, ok := t.reachAnnounced(p)
		if t.SharedNetwork || seen[p.Protocol] || !ok {
			continue
		}
		all = append(all, Endpoint{Addr: addr, Port: p.Number, HostPort: p.HostPort, Protocol: p.Protocol})
	}
	slices.SortStableFunc(all, compareEndpoints)
	return slices.CompactFunc(all, func(a, b Endpoint) bool {
		return a.Port == b.Port && a.Protocol == b.Protocol
	})
}

// reach tells where to connect to for a socket. Being bound to an address does not
// mean to have it: by IP_FREEBIND (ip(7)) anybody may listen at the cloud's metadata
// service. In the host's network the watcher has left such sockets out.
func (t *Target) reach(l Listener) (netip.AddrPort, bool) {
	ip, port := l.Addr.Addr().Unmap(), l.Addr.Port()
	switch {
	case t.HostNetwork && ip.IsUnspecified():
		return netip.AddrPortFrom(loopback(takes(l)), port), true
	case t.HostNetwork:
		return netip.AddrPortFrom(ip, port), true
	case ip.IsLoopback():
		return netip.AddrPort{}, false
	case !ip.IsUnspecified():
		return netip.AddrPortFrom(ip, port), t.has(ip)
	}
	return t.own(port, t.published(port, l.Protocol), takes(l))
}

// families are those that can be connected by.
type families struct{ v4, v6 bool }

// takes are the families of connections to a socket that is bound to no address: one
// of IPv6 takes both unless it was told not to (ipv6(7), IPV6_V6ONLY).
func takes(l Listener) families {
	isV6 := l.Addr.Addr().Unmap().Is6()
	return families{v4: !isV6 || !l.V6Only, v6: isV6}
}

func (t *Target) has(ip netip.Addr) bool {
	return slices.ContainsFunc(t.Addresses, func(a Address) bool { return a.IP.Unmap() == ip })
}

func (t *Target) reachAnnounced(p Port) (netip.AddrPort, bool) {
	if t.HostNetwork {
		return netip.AddrPortFrom(loopback(families{v4: true}), p.Number), true
	}
	return t.own(p.Number, p.HostPort, families{v4: true, v6: true})
}

// own is the container's own address, or where the port is published for who
// has none that is known (a rootless engine). Of two families it is IPv4, which a
// socket for both takes too, while IPv6 is not switched on everywhere.
func (t *Target) own(port, hostPort uint16, by families) (netip.AddrPort, bool) {
	first := map[bool]netip.Addr{} // by whether it is IPv4
	for _, a := range t.Addresses {
		ip := a.IP.Unmap()
		if _, isKnown := first[ip.Is4()]; ip.IsValid() && !isKnown {
			first[ip.Is4()] = ip
		}
	}
	if ip, ok := first[true]; ok && by.v4 {
		return netip.AddrPortFrom(ip, port), true
	}
	if ip, ok := first[false]; ok && by.v6 {
		return netip.AddrPortFrom(ip, port), true
	}
	for _, p := range t.Ports {
		if len(first) == 0 && hostPort != 0 && p.HostPort == hostPort {
			return netip.AddrPortFrom(publishedIP(p.HostIP), hostPort), true
		}
	}
	return netip.AddrPort{}, false
}

// published returns where a port is published on the host, 0: nowhere.
func (t *Target) published(port uint16, protocol string) uint16 {
	for _, p := range t.Ports {
		if p.Number == port && p.Protocol == protocol && p.HostPort != 0 {
			return p.HostPort
		}
	}
	return 0
}

func publishedIP(ip netip.Addr) netip.Addr {
	if !ip.IsValid() || ip.IsUnspecified() {
		return loopback(families{v4: !ip.Is6(), v6: ip.Is6()})
	}
	return ip.Unmap()
}

// loopback is that of IPv4 where that can be: a host need not have ::1
// (net.ipv6.conf.all.disable_ipv6).
func loopback(by families) netip.Addr {
	if by.v4 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

func compareEndpoints(a, b Endpoint) int {
	return cmp.Or(
		cmp.Compare(rank(a), rank(b)),
		cmp.Compare(a.Port, b.Port),
		cmp.Compare(a.Protocol, b.Protocol),
		family(a)-family(b),
	)
}

func rank(e Endpoint) int {
	if e.Listening {
		return 0
	}
	return 1
}

// family puts IPv4 first, so that of two sockets with one port IPv4 stays.
func family(e Endpoint) int {
	if e.Addr.Addr().Is4() {
		return 0
	}
	return 1
}
