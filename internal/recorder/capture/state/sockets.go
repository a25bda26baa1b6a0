package state

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Netns is the TCP of one network namespace.
type Netns struct {
	Inode uint64 `json:"inode"`
	// PID is a process in it.
	PID int `json:"pid"`
	// States counts sockets by state, as the kernel names them: ESTABLISHED, ...
	States map[string]int `json:"states,omitempty"`
	// Listen are local addresses; Open are connections, at most 200.
	Listen []string `json:"listen,omitempty"`
	Open   []Socket `json:"open,omitempty"`
}

// Socket is one connection.
type Socket struct {
	Local  string `json:"local"`
	Remote string `json:"remote"`
	State  string `json:"state"`
	// Send and Receive are bytes that wait in its queues.
	Send    uint64 `json:"send,omitempty"`
	Receive uint64 `json:"receive,omitempty"`
}

const (
	// maxOpen and maxListen bound what is listed; what is counted is all of them.
	maxOpen, maxListen = 200, 200
	// maxNetns bounds the namespaces of one container: it has one.
	maxNetns = 8
)

// sockets reads the TCP tables of every network namespace that the processes
// are in. That of the host is left out: its table is not about the container.
func (p *shot) sockets(pids []int) {
	// Where the host's is not to be seen, nothing is taken for it.
	host, _ := p.inode(1)
	seen := map[uint64]bool{host: true}
	for i, pid := range pids {
		if i == maxProcesses || len(p.s.Sockets) == maxNetns || p.late("sockets") {
			return
		}
		inode, err := p.inode(pid)
		p.rights.note("sockets", ptrace, err)
		if inode == 0 || seen[inode] {
			continue
		}
		seen[inode] = true
		ns := Netns{Inode: inode, PID: pid, States: map[string]int{}}
		for _, table := range []string{"net/tcp", "net/tcp6"} {
			b, err := hostfs.ReadFile(filepath.Join(p.o.Roots.Proc, strconv.Itoa(pid), table), nil)
			if err == nil {
				parseTCP(b, &ns)
			} else if !errors.Is(err, hostfs.ErrGone) {
				p.s.miss("sockets "+table, err)
			}
		}
		p.s.Sockets = append(p.s.Sockets, ns)
	}
}

// inode is the number of a process' network namespace; 0 with an error.
func (p *shot) inode(pid int) (uint64, error) {
	dir, err := hostfs.OpenDir(filepath.Join(p.o.Roots.Proc, strconv.Itoa(pid)))
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	return dir.Inode("ns/net")
}

// tcpStates are by number, from include/net/tcp_states.h.
func tcpStates() []string {
	return []string{
		"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT",
		"CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
	}
}

// parseTCP reads /proc/net/tcp and tcp6 (Documentation/networking/proc_net_tcp.rst):
//
//	sl  local_address rem_address   st tx_queue:rx_queue ...
//	 0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 ...
//
// Lines of another form, the head among them, are skipped.
func parseTCP(b []byte, into *Netns) {
	names := tcpStates()
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) < 5 {
			continue
		}
		local, ok := parseAddress(fields[1])
		remote, ok2 := parseAddress(fields[2])
		state, err := strconv.ParseUint(string(fields[3]), 16, 8)
		if !ok || !ok2 || err != nil || state == 0 || int(state) >= len(names) {
			continue
		}
		name := names[state]
		into.States[name]++
		switch {
		case name == "LISTEN" && len(into.Listen) < maxListen:
			into.Listen = append(into.Listen, local.String())
		case name != "LISTEN" && name != "TIME_WAIT" && len(into.Open) < maxOpen:
			send, receive := parseQueues(fields[4])
			into.Open = append(into.Open, Socket{Local: local.String(), Remote: remote.String(), State: name, Send: send, Receive: receive})
		}
	}
}

func parseQueues(b []byte) (send, receive uint64) {
	tx, rx, _ := bytes.Cut(b, []byte(":"))
	send, errSend := strconv.ParseUint(string(tx), 16, 64)
	receive, errReceive := strconv.ParseUint(string(rx), 16, 64)
	if errSend != nil || errReceive != nil {
		return 0, 0
	}
	return send, receive
}

// parseAddress reads 0100007F:1F90: words of 32 bits in the order of the
// machine, and a port.
func parseAddress(b []byte) (netip.AddrPort, bool) {
	address, port, ok := bytes.Cut(b, []byte(":"))
	number, err := strconv.ParseUint(string(port), 16, 16)
	if !ok || err != nil || len(address) != 8 && len(address) != 32 {
		return netip.AddrPort{}, false
	}
	raw := make([]byte, len(address)/2)
	if _, err := hex.Decode(raw, address); err != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), ok
}
