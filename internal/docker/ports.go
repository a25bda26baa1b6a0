package docker

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// binding is where a port is published. Podman leaves the address empty for all.
type binding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

// ports joins what is exposed with where it is published. What is no port is left
// out.
func ports(from *inspected) []Port {
	var list []Port
	for key := range from.Config.ExposedPorts {
		if port, ok := parsePort(key); ok && len(from.NetworkSettings.Ports[key]) == 0 {
			list = append(list, port)
		}
	}
	for key, bindings := range from.NetworkSettings.Ports {
		if port, ok := parsePort(key); ok {
			list = append(list, published(port, bindings)...)
		}
	}
	slices.SortFunc(list, comparePorts)
	return slices.Compact(list)
}

// published is a port in each place where it is published, or once if in none.
func published(port Port, bindings []binding) []Port {
	var list []Port
	for _, b := range bindings {
		number, err := strconv.ParseUint(b.HostPort, 10, 16)
		if err != nil || number == 0 {
			continue
		}
		port.HostIP, _ = netip.ParseAddr(b.HostIP)
		port.HostPort = uint16(number)
		list = append(list, port)
	}
	if list == nil {
		return []Port{port}
	}
	return list
}

// parsePort reads "80/tcp"; without a protocol TCP is meant.
func parsePort(key string) (Port, bool) {
	text, protocol, _ := strings.Cut(key, "/")
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return Port{}, false
	}
	return Port{Number: uint16(number), Protocol: cmp.Or(strings.ToLower(protocol), "tcp")}, true
}

func comparePorts(a, b Port) int {
	return cmp.Or(
		cmp.Compare(a.Number, b.Number),
		cmp.Compare(a.Protocol, b.Protocol),
		a.HostIP.Compare(b.HostIP),
		cmp.Compare(a.HostPort, b.HostPort),
	)
}
