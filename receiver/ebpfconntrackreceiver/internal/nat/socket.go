package nat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// datagramSize holds the largest answer of a dump: the kernel makes them as
// large as the reader's buffer, up to 32 KiB (net/netlink/af_netlink.c).
const datagramSize = 32 << 10

// socket is a netlink socket whose datagrams are read into one buffer: that
// halves what an event costs. It is for one goroutine.
type socket struct {
	conn *netlink.Conn
	raw  syscall.RawConn
	data []byte
}

// openSocket opens one in a namespace; own is that of the process. Its receive
// buffer takes so many bytes, also beyond the host's limit.
func openSocket(at Namespace, own uint64, buffer int) (*socket, error) {
	config := &netlink.Config{}
	if at.Inode != own {
		config.NetNS = int(at.File.Fd())
	}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, config)
	if err != nil {
		return nil, fmt.Errorf("open netfilter socket: %w", err)
	}
	s := &socket{conn: conn, data: make([]byte, datagramSize)}
	if err := conn.SetReadBuffer(buffer); err != nil {
		s.close()
		return nil, fmt.Errorf("enlarge buffer of netfilter socket: %w", err)
	}
	if s.raw, err = conn.SyscallConn(); err != nil {
		s.close()
		return nil, fmt.Errorf("open netfilter socket: %w", err)
	}
	return s, nil
}

func (s *socket) close() { _ = s.conn.Close() }

// read returns the messages of the next datagram, valid until the next call.
// It gives [os.ErrDeadlineExceeded] when the time set with waitUntil is over.
func (s *socket) read() ([]syscall.NetlinkMessage, error) {
	var n int
	var failed error
	err := s.raw.Read(func(fd uintptr) bool {
		for {
			n, _, failed = unix.Recvfrom(int(fd), s.data, unix.MSG_DONTWAIT)
			if !errors.Is(failed, unix.EINTR) {
				return !errors.Is(failed, unix.EAGAIN)
			}
		}
	})
	if err = errors.Join(err, failed); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, os.ErrDeadlineExceeded
		}
		return nil, fmt.Errorf("read netfilter messages: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(s.data[:n])
	if err != nil {
		return nil, fmt.Errorf("parse %d bytes of netfilter messages: %w", n, errMalformed)
	}
	return messages, nil
}

var errMalformed = errors.New("malformed")

func (s *socket) waitUntil(t time.Time) { _ = s.conn.SetDeadline(t) }

// outcome is what a message of kind NLMSG_ERROR or NLMSG_DONE says: an errno of
// the machine's byte order, negative, or 0.
func outcome(m *syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return nil // a plain NLMSG_DONE
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}

func noCtnetlink(err error) error {
	remedy := "needs CONFIG_NF_CT_NETLINK (module nf_conntrack_netlink)"
	if errors.Is(err, unix.EPERM) {
		remedy = "run as root or with CAP_NET_ADMIN"
	}
	return &hostfs.NotSupportedError{Feature: "conntrack by ctnetlink", Remedy: remedy, Err: err}
}
