package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct inet_diag_msg, which begins each message, and its size:
//
//	u8 family, state, timer, retrans
//	be16 sport, dport; be32 src[4], dst[4]; u32 if, cookie[2]
//	u32 expires, rqueue, wqueue, uid, inode
//
// Attributes follow.
const (
	atState   = 1
	atSport   = 4
	atDport   = 6
	atSrc     = 8
	atDst     = 24
	atCookie  = 44
	atUID     = 64
	atInode   = 68
	headerLen = 72
)

// Attributes, INET_DIAG_* in include/uapi/linux/inet_diag.h.
const (
	attrInfo     = 2  // struct tcp_info, as long as the kernel knows it
	attrV6Only   = 11 // u8, of IPv6 listeners
	attrCgroupID = 21 // u64, since 5.8
)

// attrHeader is the size of struct nlattr: u16 length with itself, u16 type.
const attrHeader = unix.SizeofNlAttr

// infoToReceived is how long struct tcp_info is with bytes_received (4.1), and
// infoToSent with bytes_retrans (4.19).
const (
	infoToReceived = unsafe.Offsetof(unix.TCPInfo{}.Segs_out)
	infoToSent     = unsafe.Offsetof(unix.TCPInfo{}.Dsack_dups)
)

// message is a socket as the kernel tells it.
type message struct {
	state         State
	local, remote netip.AddrPort
	cookie        uint64
	inode, uid    uint32
	v6only        bool
	cgroup        uint64
	info          unix.TCPInfo
	hasInfo       bool
	infoLen       uintptr
}

// errShort says that a message, or a part of it, ends too early.
var errShort = errors.New("message too short")

// parse reads a message into m, whatever that was.
func (m *message) parse(b []byte) error {
	if len(b) < headerLen {
		return fmt.Errorf("parse inet_diag_msg of %d bytes: %w", len(b), errShort)
	}
	*m = message{
		state:  State(b[atState]),
		cookie: uint64(binary.NativeEndian.Uint32(b[atCookie:])) | uint64(binary.NativeEndian.Uint32(b[atCookie+4:]))<<32,
		uid:    binary.NativeEndian.Uint32(b[atUID:]),
		inode:  binary.NativeEndian.Uint32(b[atInode:]),
	}
	src, err := address(b[0], b[atSrc:])
	if err != nil {
		return err
	}
	dst, err := address(b[0], b[atDst:])
	if err != nil {
		return err
	}
	m.local = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b[atSport:]))
	m.remote = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[atDport:]))
	return m.attributes(b[headerLen:])
}

// address reads one of the families; IPv4 inside IPv6 is IPv4.
func address(family byte, b []byte) (netip.Addr, error) {
	switch family {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[:4])), nil
	case unix.AF_INET6:
		return netip.AddrFrom16([16]byte(b[:16])).Unmap(), nil
	}
	return netip.Addr{}, fmt.Errorf("parse inet_diag_msg: address family %d is none of TCP's", family)
}

// attributes reads what follows the header. The netlink library's own decoder takes
// four allocations for each socket, which is a third of a dump's time.
func (m *message) attributes(b []byte) error {
	for len(b) > 0 {
		if len(b) < attrHeader {
			return fmt.Errorf("parse attribute of %d bytes: %w", len(b), errShort)
		}
		length := int(binary.NativeEndian.Uint16(b))
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if length < attrHeader || length > len(b) {
			return fmt.Errorf("parse attribute %d, which says it has %d of %d bytes: %w", kind, length, len(b), errShort)
		}
		if err := m.attribute(kind, b[attrHeader:length]); err != nil {
			return err
		}
		b = b[min(len(b), unix.NLA_ALIGNTO*((length+unix.NLA_ALIGNTO-1)/unix.NLA_ALIGNTO)):]
	}
	return nil
}

func (m *message) attribute(kind uint16, b []byte) error {
	switch {
	case kind == attrInfo:
		m.setInfo(b)
	case kind == attrV6Only && len(b) >= 1:
		m.v6only = b[0] != 0
	case kind == attrCgroupID && len(b) >= 8:
		m.cgroup = binary.NativeEndian.Uint64(b)
	case kind == attrV6Only, kind == attrCgroupID:
		return fmt.Errorf("parse attribute %d of %d bytes: %w", kind, len(b), errShort)
	}
	return nil
}

// setInfo copies as much of struct tcp_info as both the kernel and we know: it
// only ever grows at its end.
func (m *message) setInfo(b []byte) {
	into := unsafe.Slice((*byte)(unsafe.Pointer(&m.info)), unsafe.Sizeof(m.info))
	m.infoLen = uintptr(copy(into, b))
	m.hasInfo = true
}

func (m *message) listener() Listener {
	return Listener{
		Local: m.local, V6Only: m.v6only, Inode: uint64(m.inode), Cookie: m.cookie, Cgroup: m.cgroup, UID: m.uid,
	}
}

func (m *message) conn() Conn {
	c := Conn{
		Local: m.local, Remote: m.remote, State: m.state,
		Inode: uint64(m.inode), Cookie: m.cookie, Cgroup: m.cgroup, UID: m.uid,
		Retransmits: m.info.Total_retrans, SegmentsOut: m.info.Segs_out, SegmentsIn: m.info.Segs_in,
		RTT: time.Duration(m.info.Rtt) * time.Microsecond,
	}
	c.Sent, c.Received = m.payload()
	return c
}

// payload is what was sent and received. What the kernel calls sent has each
// retransmission too; before 4.19 only what was acknowledged is known, and that
// has the SYN as a byte, and later perhaps our FIN, which cannot be told.
func (m *message) payload() (sent, received uint64) {
	if m.infoLen >= infoToReceived {
		received = m.info.Bytes_received
	}
	if received > 0 && m.state.peerIsDone() {
		received--
	}
	switch {
	case m.infoLen >= infoToSent:
		sent = m.info.Bytes_sent - min(m.info.Bytes_sent, m.info.Bytes_retrans)
	case m.infoLen >= infoToReceived:
		sent = m.info.Bytes_acked - min(m.info.Bytes_acked, 1)
	}
	return sent, received
}
