package nat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of include/uapi/linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
const (
	subsystem = 1 << 8 // NFNL_SUBSYS_CTNETLINK, above the kind of message

	kindNew    = 0 // IPCTNL_MSG_CT_NEW
	kindGet    = 1 // IPCTNL_MSG_CT_GET
	kindDelete = 2 // IPCTNL_MSG_CT_DELETE

	groupNew     = 1 // NFNLGRP_CONNTRACK_NEW
	groupDestroy = 3 // NFNLGRP_CONNTRACK_DESTROY

	headerSize = 4 // struct nfgenmsg: family, version, resource

	attrOriginal  = 1  // CTA_TUPLE_ORIG
	attrReply     = 2  // CTA_TUPLE_REPLY
	attrZone      = 18 // CTA_ZONE
	attrTupleIP   = 1  // CTA_TUPLE_IP
	attrTuplePort = 2  // CTA_TUPLE_PROTO

	attrSource4, attrDestination4 = 1, 2 // CTA_IP_V4_SRC, CTA_IP_V4_DST
	attrSource6, attrDestination6 = 3, 4 // CTA_IP_V6_SRC, CTA_IP_V6_DST

	attrProtocol                        = 1    // CTA_PROTO_NUM
	attrSourcePort, attrDestinationPort = 2, 3 // CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT
)

var (
	errShort     = errors.New("too short")
	errTransport = errors.New("neither TCP nor UDP")
)

// parseEntry reads the body of a message about one connection: struct nfgenmsg
// and attributes, everything in network byte order. What is neither TCP nor UDP
// gives errTransport. It does not allocate but for errors: there are two messages
// for each connection of the host.
func parseEntry(body []byte) (entry, error) {
	if len(body) < headerSize {
		return entry{}, fmt.Errorf("parse conntrack message of %d bytes: %w", len(body), errShort)
	}
	var e entry
	var original, reply half
	rest := attributes(body[headerSize:])
	for rest.more() {
		kind, value, err := rest.next()
		switch kind {
		case attrOriginal:
			err = original.decode(value)
		case attrReply:
			err = reply.decode(value)
		case attrZone:
			e.zone, err = number(value)
		}
		if err != nil {
			return entry{}, fmt.Errorf("parse conntrack message: %w", err)
		}
	}
	e.transport, e.original, e.reply = original.transport, original.tuple(), reply.tuple()
	switch {
	case e.transport != TCP && e.transport != UDP:
		return entry{}, errTransport
	case !original.whole() || !reply.whole() || reply.transport != e.transport:
		return entry{}, fmt.Errorf("parse tuples of conntrack message: %w", errShort)
	}
	return e, nil
}

// attributes are what is left of a row of struct nlattr (include/uapi/linux/netlink.h):
// length with this header and kind, both in the machine's byte order, the value, and
// padding to 4 bytes.
type attributes []byte

const (
	attrHeader = 4
	// kindMask leaves out NLA_F_NESTED and NLA_F_NET_BYTEORDER.
	kindMask = 1<<14 - 1
)

func (a *attributes) more() bool { return len(*a) > 0 }

// next takes the first one off. With an error the kind is 0, which is none.
func (a *attributes) next() (kind uint16, value []byte, err error) {
	b := []byte(*a)
	if len(b) < attrHeader {
		return 0, nil, fmt.Errorf("%d bytes of an attribute: %w", len(b), errShort)
	}
	length := int(binary.NativeEndian.Uint16(b))
	if length < attrHeader || length > len(b) {
		return 0, nil, fmt.Errorf("attribute of %d bytes in %d: %w", length, len(b), errShort)
	}
	*a = b[min((length+3)&^3, len(b)):]
	return binary.NativeEndian.Uint16(b[2:]) & kindMask, b[attrHeader:length], nil
}

// half is a tuple while it is read.
type half struct {
	source, destination         netip.Addr
	sourcePort, destinationPort uint16
	transport                   Transport
}

func (h *half) whole() bool {
	return h.source.IsValid() && h.destination.IsValid() && h.source.Is4() == h.destination.Is4()
}

func (h *half) tuple() tuple {
	return tuple{
		source:      netip.AddrPortFrom(h.source, h.sourcePort),
		destination: netip.AddrPortFrom(h.destination, h.destinationPort),
	}
}

func (h *half) decode(rest attributes) error {
	for rest.more() {
		kind, value, err := rest.next()
		switch kind {
		case attrTupleIP:
			err = h.decodeIP(value)
		case attrTuplePort:
			err = h.decodePorts(value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *half) decodeIP(rest attributes) error {
	for rest.more() {
		kind, value, err := rest.next()
		switch kind {
		case attrSource4, attrSource6:
			h.source, err = address(value)
		case attrDestination4, attrDestination6:
			h.destination, err = address(value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func address(b []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return a, fmt.Errorf("parse address of %d bytes: %w", len(b), errShort)
	}
	return a, nil
}

func (h *half) decodePorts(rest attributes) error {
	for rest.more() {
		kind, value, err := rest.next()
		switch kind {
		case attrProtocol:
			if len(value) != 1 {
				return fmt.Errorf("parse protocol of %d bytes: %w", len(value), errShort)
			}
			h.transport = Transport(value[0])
		case attrSourcePort:
			h.sourcePort, err = number(value)
		case attrDestinationPort:
			h.destinationPort, err = number(value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func number(b []byte) (uint16, error) {
	if len(b) != 2 {
		return 0, fmt.Errorf("parse number of %d bytes: %w", len(b), errShort)
	}
	return binary.BigEndian.Uint16(b), nil
}

// requestDump asks for everything that there is.
func requestDump() netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: subsystem | kindGet, Flags: netlink.Request | netlink.Dump},
		Data:   []byte{unix.AF_UNSPEC, 0, 0, 0},
	}
}

// requestEntry asks for the entry that the tuple is a direction of, whichever:
// the kernel looks for it in one table of both (ctnetlink_get_conntrack).
func requestEntry(q *Query, t tuple) (netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	family, source, destination := uint8(unix.AF_INET), uint16(attrSource4), uint16(attrDestination4)
	if t.source.Addr().Is6() {
		family, source, destination = unix.AF_INET6, attrSource6, attrDestination6
	}
	ae.Nested(attrOriginal, func(ae *netlink.AttributeEncoder) error {
		ae.Nested(attrTupleIP, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(source, t.source.Addr().AsSlice())
			ae.Bytes(destination, t.destination.Addr().AsSlice())
			return nil
		})
		ae.Nested(attrTuplePort, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(attrProtocol, uint8(q.Transport))
			ae.Uint16(attrSourcePort, t.source.Port())
			ae.Uint16(attrDestinationPort, t.destination.Port())
			return nil
		})
		return nil
	})
	if q.Zone != 0 {
		ae.Uint16(attrZone, q.Zone)
	}
	attrs, err := ae.Encode()
	if err != nil {
		return netlink.Message{}, fmt.Errorf("encode conntrack query: %w", err)
	}
	return netlink.Message{
		Header: netlink.Header{Type: subsystem | kindGet, Flags: netlink.Request},
		Data:   append([]byte{family, 0, 0, 0}, attrs...),
	}, nil
}
