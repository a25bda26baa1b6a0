package runner

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hangUp ends this process' TCP connections to these addresses, also those that are
// being made, and returns how many there were. Their owners find them reset.
func hangUp(addrs map[netip.AddrPort]bool) int {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // those that were read
	c := caller{addrs: addrs}
	n := 0
	for _, name := range names {
		link, err := os.Readlink("/proc/self/fd/" + name)
		fd, parseErr := strconv.Atoi(name)
		if err == nil && parseErr == nil && strings.HasPrefix(link, "socket:") && c.hangUp(fd) {
			n++
		}
	}
	return n
}

// caller is who hangs up.
type caller struct {
	addrs map[netip.AddrPort]bool
	// dialing are the connections of this network namespace that are being made, by
	// inode; nil before somebody asks.
	dialing map[uint64]netip.AddrPort
}

// hangUp ends a socket's connection if its peer is one of the addresses. What is asked
// is a second descriptor of it: the number of the first may belong to something else a
// moment later.
func (c *caller) hangUp(fd int) bool {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(own)
	peer := c.peer(own)
	if !peer.IsValid() || !c.addrs[peer] {
		return false
	}
	return disconnect(own) == nil
}

// disconnect resets a connection, as connect(2) does for AF_UNSPEC, and leaves
// ECONNRESET to its owner. Not shutdown(2): a connection that has been made and that
// nobody has looked at yet would end without an error, and Go's dialer would wait on a
// socket that is not connected and of which nothing is heard any more, for ever.
func disconnect(fd int) error {
	unspecified := unix.RawSockaddrInet4{Family: unix.AF_UNSPEC}
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspecified)), unsafe.Sizeof(unspecified))
	if errno != 0 {
		return errno
	}
	return nil
}

// peer is where a TCP socket is connected to, or is going to be: of the latter
// getpeername(2) does not tell. It is invalid if there is none.
func (c *caller) peer(fd int) netip.AddrPort {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return netip.AddrPort{} // no TCP
	}
	if address, err := unix.Getpeername(fd); err == nil {
		return addrPort(address)
	}
	var stat unix.Stat_t
	if info.State != synSent || unix.Fstat(fd, &stat) != nil {
		return netip.AddrPort{}
	}
	if c.dialing == nil {
		c.dialing = map[uint64]netip.AddrPort{}
		for _, file := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
			b, _ := os.ReadFile(file) // without it they end by themselves, later
			parseDialing(b, c.dialing)
		}
	}
	return c.dialing[stat.Ino]
}

// synSent is TCP_SYN_SENT of include/net/tcp_states.h.
const synSent = 2

func addrPort(address unix.Sockaddr) netip.AddrPort {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// parseDialing reads the peers of sockets in the state SYN_SENT (02) out of
// /proc/net/tcp or tcp6:
//
//	sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//	 0: 0100007F:0CEA 0500000A:1F90 02 00000000:00000001 01:00000010 00000000     0        0 4711 ...
//
// https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
func parseDialing(b []byte, dialing map[uint64]netip.AddrPort) {
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) < 10 || string(fields[3]) != "02" {
			continue
		}
		inode, err := strconv.ParseUint(string(fields[9]), 10, 64)
		if addr, ok := parseAddress(fields[2]); ok && err == nil {
			dialing[inode] = addr
		}
	}
}

// parseAddress reads "0500000A:1F90": words of 32 bits in the order of the CPU, and
// the port.
func parseAddress(text []byte) (netip.AddrPort, bool) {
	ip, port, _ := bytes.Cut(text, []byte(":"))
	raw := make([]byte, hex.DecodedLen(len(ip)))
	_, err := hex.Decode(raw, ip)
	number, portErr := strconv.ParseUint(string(port), 16, 16)
	if err != nil || portErr != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := raw; len(word) > 0; word = word[4:] {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), ok
}
