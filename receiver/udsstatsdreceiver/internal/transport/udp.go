package transport

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// UDPOptions say what [ListenUDP] makes.
type UDPOptions struct {
	// Address is a host (or none, for all addresses) and a port.
	Address string
	// QueueBytes is the size of the receive buffer to ask for; 0 means 4 MiB.
	// Beyond net.core.rmem_max it needs CAP_NET_ADMIN.
	QueueBytes int
	// BufferBytes is the longest datagram that is not cut; 0 means 8 KiB. At most
	// 64 KiB.
	BufferBytes int
}

const (
	// defaultQueueBytes becomes 8 MiB, as the kernel doubles it: 10,082 datagrams.
	defaultQueueBytes = 4 << 20
	// udpCharge is what the kernel charges the buffer for a datagram of 138 bytes
	// (Linux 6.18, loopback: 200,000 bytes took 240); longer ones cost more.
	udpCharge = 832
)

// ListenUDP makes a socket at the address. Its datagrams have no sender.
func ListenUDP(o UDPOptions) (*Socket, error) {
	if o.QueueBytes == 0 {
		o.QueueBytes = defaultQueueBytes
	}
	if o.BufferBytes == 0 {
		o.BufferBytes = defaultBuffer
	}
	if o.BufferBytes < 1 || o.BufferBytes > maxBuffer {
		return nil, fmt.Errorf("receive datagrams of %d bytes: %w (1 to %d)", o.BufferBytes, unix.EINVAL, maxBuffer)
	}
	address, err := net.ResolveUDPAddr("udp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("resolve UDP address: %w", err)
	}
	conn, err := net.ListenUDP("udp", address)
	if err != nil {
		return nil, fmt.Errorf("open UDP socket: %w", err)
	}
	// Only the copy lives on: Go's poller does not know it.
	defer conn.Close()
	s := &Socket{size: o.BufferBytes}
	if s.fd, err = duplicate(conn); err != nil {
		return nil, err
	}
	s.report.Depth, s.report.Shallow = enlarge(s.fd, o.QueueBytes)
	s.timed = s.report.Depth >= timedDepth
	return s, nil
}

// Addr returns the address of a UDP socket, nil of another one.
func (s *Socket) Addr() *net.UDPAddr {
	address, err := unix.Getsockname(s.fd)
	if err != nil {
		return nil
	}
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return &net.UDPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.UDPAddr{IP: a.Addr[:], Port: a.Port}
	}
	return nil
}

func duplicate(conn *net.UDPConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("take UDP socket: %w", err)
	}
	fd := -1
	var copied error
	err = raw.Control(func(original uintptr) {
		fd, copied = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = copied
	}
	if err != nil {
		return -1, fmt.Errorf("take UDP socket: %w", err)
	}
	return fd, nil
}

// enlarge makes room for waiting datagrams and returns for how many small ones.
func enlarge(fd, size int) (int, error) {
	forced := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size)
	if forced != nil {
		// Up to net.core.rmem_max, without an error.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	}
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return 0, fmt.Errorf("ask for receive buffer: %w", err)
	}
	if got < 2*size {
		return got / udpCharge, fmt.Errorf("enlarge receive buffer: %w (got %d bytes; raise net.core.rmem_max or grant CAP_NET_ADMIN)", forced, got/2)
	}
	return got / udpCharge, nil
}
