package connstream

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrMalformed says that bytes are not a record.
var ErrMalformed = errors.New("malformed")

// Record is one end of a TCP connection that has been closed. A connection
// between two sockets of this kernel has two.
type Record struct {
	// Netns is the inode of the network namespace of the socket.
	Netns uint64
	// Family of the socket is AF_INET or AF_INET6. An IPv4 connection of an
	// IPv6 socket has IPv4 addresses here.
	Family uint8
	// Local and Remote are as the socket sees them: before its own, behind the
	// other side's translation of addresses. Local of a connection that found
	// no free port has port 0.
	Local, Remote netip.AddrPort
	// Direction says which end this is.
	Direction Direction
	// Cgroup is the id, in the unified hierarchy, of the cgroup of who made the
	// socket or, if it was accepted, its listener. MemoryCgroup is that of the
	// process, in the hierarchy of the memory controller; 0 is not known.
	Cgroup, MemoryCgroup uint64
	// Cookie is the kernel's number of the socket, unique while the host is up:
	// what SO_COOKIE and sock_diag tell. The kernel gives it to a socket when it
	// is first asked for; 0: nobody has.
	Cookie uint64
	// PID is as the first pid namespace numbers the process that connected or,
	// of an incoming connection, uses it (without Options.IO: listens); 0 is
	// not known. Comm is its command, up to a zero.
	PID  int
	Comm [commSize]byte
	// Started, Established and Ended are times since boot (CLOCK_BOOTTIME).
	// Started is connect(2); of an incoming connection it is Established.
	// Both are 0 if they were not seen, Established also if it never was.
	Started, Established, Ended time.Duration
	// Sent and Received are bytes of payload, each counted once: what went out
	// at least once, and what arrived in order, whether or not it was read.
	Sent, Received uint64
	// Retransmits are segments sent again, SYN included; they are part of
	// SegmentsOut.
	Retransmits, SegmentsIn, SegmentsOut uint32
	// RTT is the smoothed round-trip time at the end, in microseconds of
	// resolution; 0 if there was none.
	RTT time.Duration
	// Outcome says how it ended, Errno what the kernel reported to the socket;
	// 0 is nothing.
	Outcome Outcome
	Errno   syscall.Errno
}

// commSize is the kernel's TASK_COMM_LEN (include/linux/sched.h).
const commSize = 16

// Command returns Comm as text.
func (r *Record) Command() string {
	text, _, _ := bytes.Cut(r.Comm[:], []byte{0})
	return string(text)
}

// SetupTime is how long the connection took to be established, at the end that
// asked for it; false if that is not known or did not happen.
func (r *Record) SetupTime() (time.Duration, bool) {
	if r.Direction != Outgoing || r.Started == 0 || r.Established == 0 {
		return 0, false
	}
	return r.Established - r.Started, true
}

// Direction is which end of a connection asked for it.
type Direction uint8

// Unknown is a connection that was there before the stream, or was forgotten
// because there were too many, and that no known listener explains.
const (
	Unknown  = Direction(connectionDirectionUNKNOWN)
	Outgoing = Direction(connectionDirectionOUTGOING)
	Incoming = Direction(connectionDirectionINCOMING)
)

// Outcome is how a connection ended.
type Outcome uint8

// Closed in order; Reset by either side, or given up by it with data unread;
// Failed before it was established; Timeout because nobody answered, before or
// after, or because the program stopped waiting for the answer to a SYN that
// had been sent again.
const (
	Closed Outcome = iota
	Reset
	Failed
	Timeout
)

// String returns the word that is used for metrics and events.
func (o Outcome) String() string {
	switch o {
	case Closed:
		return "closed"
	case Reset:
		return "reset"
	case Failed:
		return "failed"
	}
	return "timeout"
}

// The states that outcomes depend on: include/net/tcp_states.h.
const (
	stateEstablished = 1
	stateSynSent     = 2
	stateSynRecv     = 3
	stateFinWait1    = 4
	stateCloseWait   = 8
)

// outcome tells from the last state and what the kernel reported. A reset that
// this side sends is not reported to it, but goes from states that an orderly
// end does not go from: the kernel counts EstabResets the same way (RFC 1213),
// and in FIN-WAIT-1 not even the own end has been acknowledged.
func outcome(state uint8, errno syscall.Errno, retransmits uint32) Outcome {
	switch {
	case errno == unix.ETIMEDOUT:
		return Timeout
	case state == stateSynSent && errno == 0 && retransmits > 0:
		return Timeout
	case state == stateSynSent || state == stateSynRecv:
		return Failed
	case errno == unix.EHOSTUNREACH || errno == unix.ENETUNREACH:
		return Timeout // what a router said about segments that were never answered
	case errno != 0:
		return Reset
	case state == stateEstablished || state == stateCloseWait || state == stateFinWait1:
		return Reset
	}
	return Closed
}

// parseRecord fills r from one record. The format is
// bpf/include/connection.h. It does not allocate but for errors.
func parseRecord(sample []byte, r *Record) error {
	raw, err := view(sample)
	if err != nil {
		return err
	}
	local, ok := address(raw.Family, raw.Local)
	remote, _ := address(raw.Family, raw.Remote)
	if !ok || Direction(raw.Direction) > Incoming {
		return fmt.Errorf("record of family %d, direction %d: %w", raw.Family, raw.Direction, ErrMalformed)
	}
	errno := syscall.Errno(raw.Error)
	*r = Record{
		Netns:        uint64(raw.Netns),
		Family:       raw.Family,
		Local:        netip.AddrPortFrom(local, raw.LocalPort),
		Remote:       netip.AddrPortFrom(remote, raw.RemotePort),
		Direction:    Direction(raw.Direction),
		Cgroup:       raw.Cgroup,
		MemoryCgroup: raw.Memory,
		Cookie:       raw.Cookie,
		PID:          int(raw.Pid),
		Comm:         raw.Comm,
		Started:      time.Duration(raw.Started),
		Established:  time.Duration(raw.Established),
		Ended:        time.Duration(raw.Ended),
		Sent:         raw.Sent,
		Received:     raw.Received,
		Retransmits:  raw.Retransmits,
		SegmentsIn:   raw.SegmentsIn,
		SegmentsOut:  raw.SegmentsOut,
		RTT:          time.Duration(raw.Rtt) * time.Microsecond,
		Outcome:      outcome(raw.State, errno, raw.Retransmits),
		Errno:        errno,
	}
	return nil
}

func address(family uint8, b [16]byte) (netip.Addr, bool) {
	switch family {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[:4])), true
	case unix.AF_INET6:
		return netip.AddrFrom16(b).Unmap(), true
	}
	return netip.Addr{}, false
}

// view looks at a record as what the program wrote there. The kernel aligns
// records to 8 bytes, and so does Go what they are copied to.
func view(sample []byte) (*connectionRecord, error) {
	if uintptr(len(sample)) < unsafe.Sizeof(connectionRecord{}) {
		return nil, fmt.Errorf("record of %d bytes: %w", len(sample), ErrMalformed)
	}
	start := unsafe.Pointer(unsafe.SliceData(sample))
	if uintptr(start)%unsafe.Alignof(connectionRecord{}) != 0 {
		return nil, fmt.Errorf("record at an odd address: %w", ErrMalformed)
	}
	return (*connectionRecord)(start), nil
}

// Now is the time on the clock of records.
func Now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // has no error for a clock that exists
	return time.Duration(ts.Nano())
}
