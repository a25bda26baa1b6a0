package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// AnswerSize holds the largest datagram of a dump: the kernel makes them up to 32
// KiB long (net/netlink/af_netlink.c, netlink_recvmsg).
const AnswerSize = 32 << 10

// closed is the state of a UDP socket that is connected to nobody.
const closed State = 7

// Door is a socket in a network namespace by which it can be asked, again and again,
// who waits there for others. It keeps the namespace from going away: close it
// soon. It belongs to one goroutine.
type Door struct {
	fd   int
	seq  uint32
	data []byte
}

// Open opens a door to a namespace; nil is the caller's own. That it may not be
// entered is an fs.ErrPermission. data holds what the kernel says: it has
// AnswerSize bytes, and is the door's until that is closed.
func Open(ns *os.File, data []byte) (*Door, error) {
	d := &Door{data: data}
	err := enter(ns, func() (err error) {
		d.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Close gives the socket back.
func (d *Door) Close() { _ = unix.Close(d.fd) }

// Servers calls each with every socket that waits for others, as a Listener: of
// unix.IPPROTO_TCP those that listen, of unix.IPPROTO_UDP those that have a port
// and no other end. (A UDP client that does not connect has none either.)
//
// With an error not all of them have come. Without the kernel's module it is
// unix.ENOENT, and a process has looked for the module: do not ask again.
func (d *Door) Servers(protocol int, each func(Listener)) error {
	state, option := Listening, "CONFIG_INET_TCP_DIAG"
	if protocol == unix.IPPROTO_UDP {
		state, option = closed, "CONFIG_INET_UDP_DIAG"
	}
	var m message
	var malformed error
	for _, family := range families {
		err := d.ask(request(family, byte(protocol), 1<<state), func(answer []byte) {
			if err := m.parse(answer); err != nil {
				malformed = err
				return
			}
			if m.state == state && m.local.Port() != 0 && m.remote.Port() == 0 {
				each(m.listener())
			}
		})
		if err != nil {
			return fmt.Errorf("ask for servers: %w (needs %s)", err, option)
		}
	}
	return malformed
}

// ask sends a request and calls each with what comes, which is valid until it
// returns. By the netlink library it took twice the time, and 300 allocations more.
func (d *Door) ask(request []byte, each func([]byte)) error {
	d.seq++
	header := unix.NlMsghdr{
		Len: uint32(unix.SizeofNlMsghdr + len(request)), Type: unix.SOCK_DIAG_BY_FAMILY,
		Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP, Seq: d.seq,
	}
	b, err := binary.Append(make([]byte, 0, header.Len), binary.NativeEndian, header)
	if err != nil {
		return err
	}
	if err := unix.Sendto(d.fd, append(b, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		// Nothing to wait for: the kernel answers in the call, and reading one
		// datagram makes the next. MSG_TRUNC gives the length also of one too long.
		n, _, err := unix.Recvfrom(d.fd, d.data, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if n > len(d.data) {
			return fmt.Errorf("read datagram of %d bytes into %d: %w", n, len(d.data), errShort)
		}
		if isLast, err := messages(d.data[:n], d.seq, each); isLast || err != nil {
			return err
		}
	}
}

// messages calls each with the content of all messages of a datagram that answer
// the request, and tells whether that was all. What is left of another is skipped.
func messages(b []byte, seq uint32, each func([]byte)) (isLast bool, err error) {
	for len(b) > 0 {
		if len(b) < unix.SizeofNlMsghdr {
			return false, fmt.Errorf("parse netlink message of %d bytes: %w", len(b), errShort)
		}
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.SizeofNlMsghdr || length > len(b) {
			return false, fmt.Errorf("parse netlink message, which says it has %d of %d bytes: %w", length, len(b), errShort)
		}
		kind, data := binary.NativeEndian.Uint16(b[4:]), b[unix.SizeofNlMsghdr:length]
		isOurs := binary.NativeEndian.Uint32(b[8:]) == seq
		switch {
		case !isOurs:
		case kind == unix.NLMSG_DONE, kind == unix.NLMSG_ERROR:
			return true, outcome(data)
		default:
			each(data)
		}
		b = b[min(len(b), unix.NLMSG_ALIGNTO*((length+unix.NLMSG_ALIGNTO-1)/unix.NLMSG_ALIGNTO)):]
	}
	return false, nil
}

// outcome is what the last message says: an errno, negative, or 0.
func outcome(data []byte) error {
	if len(data) < 4 {
		return nil // a plain NLMSG_DONE
	}
	if code := int32(binary.NativeEndian.Uint32(data)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}
