package watch

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Fields of struct rtmsg and struct ifinfomsg (include/uapi/linux/rtnetlink.h).
const (
	atDstLen    = 1 // u8
	atType      = 7 // u8
	atFlags     = 8 // u32
	atLinkIndex = 4 // s32
)

// maxAddresses of a network are asked about: a container that may change its network can
// have any number.
const maxAddresses = 64

// inward are the kinds of interfaces behind which there are containers of this host:
// pairs and bridges, and what Cilium and Open vSwitch have for them. A card, a bond, a
// VLAN or a tunnel leads elsewhere.
var inward = [...]string{"veth", "bridge", "netkit", "openvswitch"}

// routes asks which way connections take, of the network namespace that we are in:
// that is where they are made.
type routes struct {
	conn  *netlink.Conn
	kinds map[uint32]string // of interfaces
}

// leadingIn leaves those of the addresses to which connections take a route to
// containers, and not the default one, so that nobody gets us to connect to a cloud's
// metadata or to an address of ours.
func leadingIn(all []netip.Addr) ([]netip.Addr, error) {
	if len(all) == 0 {
		return nil, nil
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink socket: %w", err)
	}
	defer conn.Close()
	r := &routes{conn: conn, kinds: map[uint32]string{}}
	all = all[:min(len(all), maxAddresses)]
	return slices.DeleteFunc(all, func(ip netip.Addr) bool { return !r.leadIn(ip) }), nil
}

// leadIn: the kernel says that there is no route by an error.
func (r *routes) leadIn(ip netip.Addr) bool {
	index, ok := r.interfaceTo(ip)
	if !ok {
		return false
	}
	kind, isKnown := r.kinds[index]
	if !isKnown {
		kind = r.kindOf(index)
		r.kinds[index] = kind
	}
	return slices.Contains(inward[:], kind)
}

// interfaceTo is the one by which an address is reached, if that is not by the default
// route. Kernels before 4.13 do not know RTM_F_FIB_MATCH, and do not tell that.
func (r *routes) interfaceTo(ip netip.Addr) (index uint32, ok bool) {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[atDstLen] = unix.AF_INET, byte(ip.BitLen())
	if ip.Is6() {
		b[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(b[atFlags:], unix.RTM_F_FIB_MATCH)
	to, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.RTA_DST, Data: ip.AsSlice()}})
	if err != nil {
		return 0, false
	}
	answer := r.ask(unix.RTM_GETROUTE, append(b, to...), unix.SizeofRtMsg)
	if answer == nil || answer[atDstLen] == 0 || answer[atType] != unix.RTN_UNICAST {
		return 0, false
	}
	attributes, err := netlink.NewAttributeDecoder(answer[unix.SizeofRtMsg:])
	if err != nil {
		return 0, false
	}
	for attributes.Next() {
		if attributes.Type() == unix.RTA_OIF {
			index, ok = attributes.Uint32(), true
		}
	}
	return index, ok && attributes.Err() == nil
}

// kindOf is what an interface is, "" for a card.
func (r *routes) kindOf(index uint32) (kind string) {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[atLinkIndex:], index)
	answer := r.ask(unix.RTM_GETLINK, b, unix.SizeofIfInfomsg)
	if answer == nil {
		return ""
	}
	attributes, err := netlink.NewAttributeDecoder(answer[unix.SizeofIfInfomsg:])
	if err != nil {
		return ""
	}
	for attributes.Next() {
		if attributes.Type() == unix.IFLA_LINKINFO {
			attributes.Nested(func(info *netlink.AttributeDecoder) error {
				for info.Next() {
					if info.Type() == unix.IFLA_INFO_KIND {
						kind = info.String()
					}
				}
				return info.Err()
			})
		}
	}
	if attributes.Err() != nil {
		return ""
	}
	return kind
}

// ask returns the one answer to a request, of that length at least, nil if there is none.
func (r *routes) ask(kind netlink.HeaderType, request []byte, length int) []byte {
	all, err := r.conn.Execute(netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request}, Data: request})
	if err != nil || len(all) != 1 || len(all[0].Data) < length {
		return nil
	}
	return all[0].Data
}
