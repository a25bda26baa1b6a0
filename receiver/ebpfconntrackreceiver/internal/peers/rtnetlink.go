package peers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The sizes of struct ifaddrmsg, struct ifinfomsg and struct rtgenmsg, the latter
// padded as its attributes want it.
const (
	addrHeader = unix.SizeofIfAddrmsg
	linkHeader = unix.SizeofIfInfomsg
	nsidHeader = 4
)

// Attributes of RTM_GETNSID, NETNSA_* in include/uapi/linux/net_namespace.h.
const (
	nsidAttr = 1 // s32
	nsidFD   = 3 // u32
)

// skipStats keeps the counters out of an answer: they are half of it
// (RTEXT_FILTER_SKIP_STATS in include/uapi/linux/rtnetlink.h).
const skipStats = 1 << 3

// noNSID is what the kernel calls a namespace that has no number here
// (NETNSA_NSID_NOT_ASSIGNED).
const noNSID = -1

// address is one that an interface has.
type address struct {
	prefix netip.Prefix
	index  uint32 // of the interface
}

// link is an interface.
type link struct {
	name  string
	index uint32
	// master is the bridge that it is a port of, 0 if none.
	master uint32
	// peer and peerNSID are the other end of a pair and where that is, as its
	// own namespace numbers others; noNSID if it is in the same.
	peer     uint32
	peerNSID int32
}

// errMalformed says that a message is not what its type promises.
var errMalformed = errors.New("malformed message")

// routing asks about one namespace.
type routing struct{ conn *netlink.Conn }

// dial opens a socket in a namespace; nil is this process' own, which needs no right.
// Close it soon: it keeps the namespace.
func dial(ns *os.File) (*routing, error) {
	config := &netlink.Config{}
	if ns != nil {
		config.NetNS = int(ns.Fd())
	}
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, config)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink socket: %w (needs CAP_SYS_ADMIN)", err)
	}
	return &routing{conn}, nil
}

func (r *routing) close() { _ = r.conn.Close() }

// dump asks for all of something and gives each answer to take. An answer that is
// cut off by a change meanwhile is as good as one from before or after it.
func (r *routing) dump(kind uint16, request []byte, take func([]byte) error) error {
	_, err := r.conn.Send(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.Dump},
		Data:   request,
	})
	if err != nil {
		return err
	}
	var malformed error
	for m, err := range r.conn.ReceiveIter() {
		if err != nil {
			return err
		}
		if err := take(m.Data); err != nil {
			malformed = err
		}
	}
	return malformed
}

// reading is what a namespace has, and how much of it beyond the bounds.
type reading struct {
	links                    []link
	addresses                []address
	overLinks, overAddresses int
}

func (r *routing) read() (found reading, err error) {
	found.links, found.overLinks, err = r.links()
	if err != nil {
		return reading{}, err
	}
	found.addresses, found.overAddresses, err = r.addresses()
	return found, err
}

// addresses returns those of all interfaces, loopback's left out, and how many there
// are beyond the bound.
func (r *routing) addresses() (all []address, over int, err error) {
	err = r.dump(unix.RTM_GETADDR, make([]byte, addrHeader), func(b []byte) error {
		if len(b) > 0 && b[0] != unix.AF_INET && b[0] != unix.AF_INET6 {
			return nil // some other protocol's
		}
		a, err := parseAddress(b)
		switch {
		case err != nil:
			return err
		case a.prefix.Addr().IsLoopback():
		case len(all) < maxAddresses:
			all = append(all, a)
		default:
			over++
		}
		return nil
	})
	if err != nil {
		return all, over, fmt.Errorf("read addresses: %w", err)
	}
	return all, over, nil
}

// links returns all interfaces, and how many there are beyond the bound.
func (r *routing) links() (all []link, over int, err error) {
	attrs := netlink.NewAttributeEncoder()
	attrs.Uint32(unix.IFLA_EXT_MASK, skipStats)
	mask, err := attrs.Encode()
	if err != nil {
		return nil, 0, fmt.Errorf("make request for interfaces: %w", err)
	}
	err = r.dump(unix.RTM_GETLINK, append(make([]byte, linkHeader), mask...), func(b []byte) error {
		l, err := parseLink(b)
		switch {
		case err != nil:
			return err
		case len(all) < maxLinks:
			all = append(all, l)
		default:
			over++
		}
		return nil
	})
	if err != nil {
		return all, over, fmt.Errorf("read interfaces: %w", err)
	}
	return all, over, nil
}

// nsid returns the number that this namespace has for another one, noNSID if none.
func (r *routing) nsid(other *os.File) (int32, error) {
	attrs := netlink.NewAttributeEncoder()
	attrs.Uint32(nsidFD, uint32(other.Fd()))
	data, err := attrs.Encode()
	if err != nil {
		return noNSID, fmt.Errorf("make request for a namespace: %w", err)
	}
	answers, err := r.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETNSID, Flags: netlink.Request},
		Data:   append(make([]byte, nsidHeader), data...),
	})
	if err != nil {
		return noNSID, fmt.Errorf("ask for a namespace: %w", err)
	}
	if len(answers) == 0 {
		return noNSID, fmt.Errorf("ask for a namespace: %w", errMalformed)
	}
	return parseNSID(answers[0].Data)
}

func parseAddress(b []byte) (address, error) {
	if len(b) < addrHeader {
		return address{}, fmt.Errorf("parse ifaddrmsg of %d bytes: %w", len(b), errMalformed)
	}
	attrs, err := netlink.NewAttributeDecoder(b[addrHeader:])
	if err != nil {
		return address{}, fmt.Errorf("parse ifaddrmsg: %w", err)
	}
	var local, far []byte
	for attrs.Next() {
		switch attrs.Type() {
		case unix.IFA_LOCAL:
			local = attrs.Bytes()
		case unix.IFA_ADDRESS:
			far = attrs.Bytes()
		}
	}
	if err := attrs.Err(); err != nil {
		return address{}, fmt.Errorf("parse ifaddrmsg: %w", err)
	}
	if local == nil {
		local = far // the same but on a point-to-point link; IPv6 has no other
	}
	addr, ok := netip.AddrFromSlice(local)
	prefix := netip.PrefixFrom(addr.Unmap(), int(b[1]))
	if !ok || !prefix.IsValid() {
		return address{}, fmt.Errorf("parse ifaddrmsg: address % x/%d: %w", local, b[1], errMalformed)
	}
	return address{prefix: prefix, index: binary.NativeEndian.Uint32(b[4:])}, nil
}

func parseLink(b []byte) (link, error) {
	if len(b) < linkHeader {
		return link{}, fmt.Errorf("parse ifinfomsg of %d bytes: %w", len(b), errMalformed)
	}
	attrs, err := netlink.NewAttributeDecoder(b[linkHeader:])
	if err != nil {
		return link{}, fmt.Errorf("parse ifinfomsg: %w", err)
	}
	l := link{index: binary.NativeEndian.Uint32(b[4:]), peerNSID: noNSID}
	for attrs.Next() {
		switch attrs.Type() {
		case unix.IFLA_IFNAME:
			l.name = attrs.String()
		case unix.IFLA_MASTER:
			l.master = attrs.Uint32()
		case unix.IFLA_LINK:
			l.peer = attrs.Uint32()
		case unix.IFLA_LINK_NETNSID:
			l.peerNSID = attrs.Int32()
		}
	}
	if err := attrs.Err(); err != nil {
		return link{}, fmt.Errorf("parse ifinfomsg: %w", err)
	}
	return l, nil
}

func parseNSID(b []byte) (int32, error) {
	if len(b) < nsidHeader {
		return noNSID, fmt.Errorf("parse rtgenmsg of %d bytes: %w", len(b), errMalformed)
	}
	attrs, err := netlink.NewAttributeDecoder(b[nsidHeader:])
	if err != nil {
		return noNSID, fmt.Errorf("parse rtgenmsg: %w", err)
	}
	nsid := int32(noNSID)
	for attrs.Next() {
		if attrs.Type() == nsidAttr {
			nsid = attrs.Int32()
		}
	}
	if err := attrs.Err(); err != nil {
		return noNSID, fmt.Errorf("parse rtgenmsg: %w", err)
	}
	return nsid, nil
}
