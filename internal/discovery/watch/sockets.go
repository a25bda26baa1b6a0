package watch

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// States of include/net/tcp_states.h. A UDP socket that is connected to nobody is
// in the state CLOSE.
const (
	stateListen = 0x0A
	stateClose  = 0x07
)

const (
	// maxSockets are told of one container.
	maxSockets = 512
	// maxTable bounds the part of a table that is read: 128 bytes is a line of
	// net/udp, so 130,000 sockets. Of TCP only those that listen are in that part.
	maxTable = 16 << 20
)

// errTooLong says that a table has more than maxTable bytes.
var errTooLong = errors.New("longer than 16 MiB")

// readTables adds the servers of a protocol that the files have. Both have to be read.
// A kernel without IPv6 has only one of them, a process that has gone has none: the
// one that has to be there comes last.
func (n *namespaces) readTables(pid int, protocol string, all *lowest) error {
	for _, version := range [...]string{"6", ""} {
		f, err := os.Open(n.path(pid, "net/"+protocol+version))
		if errors.Is(err, fs.ErrNotExist) && version == "6" {
			continue
		}
		if err == nil {
			err = scanTable(f, protocol, n.buf, all.add)
			_ = f.Close()
		}
		if isGone(err) {
			return hostfs.ErrGone
		}
		if err != nil {
			return fmt.Errorf("read table of sockets %s%s: %w", protocol, version, err)
		}
	}
	return nil
}

// isGone: the process or its namespace is no more.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENXIO)
}

// scanTable reads the servers out of net/tcp or net/udp, with or without 6
// (Documentation/networking/proc_net_tcp.rst), into a buffer that has to hold a line,
// which has 200 bytes at most:
//
//	sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//	 0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1541 ...
//
// Of TCP, those that listen come first (net/ipv4/tcp_ipv4.c, tcp_seq_start), and
// connections need not be read. Lines of another form, the head among them, are
// skipped.
func scanTable(r io.Reader, protocol string, buf []byte, each func(socket)) error {
	wanted := uint64(stateListen)
	if protocol == target.UDP {
		wanted = stateClose
	}
	limited := &io.LimitedReader{R: r, N: maxTable}
	lines := bufio.NewScanner(limited)
	lines.Buffer(buf, len(buf))
	for lines.Scan() {
		line := newLine(lines.Bytes())
		switch {
		case !line.isSocket:
		case line.state != wanted && protocol == target.TCP:
			return nil
		case line.state == wanted:
			if s, ok := line.socket(protocol); ok && s.isServer() {
				each(s)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if limited.N == 0 {
		return errTooLong
	}
	return nil
}

// line is a socket in a table. Most of a table are not wanted, which the state
// tells: the rest is read only then.
type line struct {
	local, remote []byte
	rest          []byte
	state         uint64
	isSocket      bool
}

func newLine(b []byte) (l line) {
	var number, state []byte
	for _, field := range [...]*[]byte{&number, &l.local, &l.remote, &state} {
		*field, b = cutField(b)
	}
	l.rest = b
	var err error
	l.state, err = strconv.ParseUint(string(state), 16, 8)
	l.isSocket = err == nil && bytes.HasSuffix(number, []byte(":"))
	return l
}

// socket is it, if all of it can be read and it has no other end.
func (l *line) socket(protocol string) (s socket, ok bool) {
	const between = 5 // fields: queues, timer, retransmits, uid, timeout
	inode, rest := []byte(nil), l.rest
	for range between + 1 {
		inode, rest = cutField(rest)
	}
	number, err := strconv.ParseUint(string(inode), 10, 64)
	addr, ok := parseAddress(l.local)
	other, ok2 := parseAddress(l.remote)
	return socket{addr: addr, protocol: protocol, inode: number}, ok && ok2 && err == nil && other.Port() == 0
}

// isServer: it has a port that somebody chose. A UDP client that sends without
// connecting looks like a server, but for its port, which is the kernel's choice: 32768
// and above (net.ipv4.ip_local_port_range).
func (s *socket) isServer() bool {
	const firstEphemeral = 32768
	port := s.addr.Port()
	return port != 0 && (s.protocol != target.UDP || port < firstEphemeral)
}

// cutField takes the first field of a line.
func cutField(b []byte) (field, rest []byte) {
	b = bytes.TrimLeft(b, " ")
	if n := bytes.IndexByte(b, ' '); n >= 0 {
		return b[:n], b[n:]
	}
	return b, nil
}

// parseAddress reads 0100007F:1F90: words of 32 bits in the order of the
// machine, and a port.
func parseAddress(b []byte) (netip.AddrPort, bool) {
	var raw [16]byte
	address, port, ok := bytes.Cut(b, []byte(":"))
	number, err := strconv.ParseUint(string(port), 16, 16)
	if !ok || err != nil || len(address) != 8 && len(address) != 32 {
		return netip.AddrPort{}, false
	}
	n, err := hex.Decode(raw[:], address)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw[:n], 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	addr, ok := netip.AddrFromSlice(raw[:n])
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), ok
}

// addresses are those of the network namespace that a process is in, but for
// loopback and link-local ones, IPv4 first.
func (l *looker) addresses(pid int) []netip.Addr {
	var all []netip.Addr
	for _, table := range []struct {
		file  string
		parse func([]byte) []netip.Addr
	}{{"net/fib_trie", parseTrie}, {"net/if_inet6", parseInet6}} {
		b, err := hostfs.ReadFile(l.path(pid, table.file), l.buf)
		l.note(err)
		if err != nil {
			continue
		}
		l.buf = b
		for _, ip := range table.parse(b) {
			if !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !slices.Contains(all, ip) {
				all = append(all, ip)
			}
		}
	}
	return all
}

// parseTrie reads the own addresses out of net/fib_trie (net/ipv4/fib_trie.c,
// fib_trie_seq_show), in which each is followed by its routes:
//
//	|-- 172.17.0.2
//	   /32 host LOCAL
func parseTrie(b []byte) []netip.Addr {
	var all []netip.Addr
	var last netip.Addr
	for line := range bytes.Lines(b) {
		line = bytes.TrimSpace(line)
		if text, ok := bytes.CutPrefix(line, []byte("|-- ")); ok {
			last, _ = netip.ParseAddr(string(text))
			continue
		}
		if bytes.Equal(line, []byte("/32 host LOCAL")) && last.IsValid() && !slices.Contains(all, last) {
			all = append(all, last)
		}
	}
	return all
}

// parseInet6 reads net/if_inet6 (net/ipv6/addrconf.c, if6_seq_show): address,
// interface, prefix length, scope, flags, name.
//
//	fd000000000000000000000000000002 04 40 00 82     eth0
func parseInet6(b []byte) []netip.Addr {
	const address, fieldsOfLine = 0, 6
	var all []netip.Addr
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) != fieldsOfLine {
			continue
		}
		raw, err := hex.DecodeString(string(fields[address]))
		if ip, ok := netip.AddrFromSlice(raw); err == nil && ok && ip.Is6() {
			all = append(all, ip)
		}
	}
	return all
}
