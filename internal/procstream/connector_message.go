package procstream

import (
	"encoding/binary"
	"fmt"
	"math"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
)

// Numbers of include/uapi/linux/connector.h and cn_proc.h.
const (
	connectorIndex = 1 // CN_IDX_PROC, also the multicast group
	connectorValue = 1 // CN_VAL_PROC

	connectorListen = 1 // PROC_CN_MCAST_LISTEN
	connectorIgnore = 2 // PROC_CN_MCAST_IGNORE
)

// connectorKind is the field "what" of struct proc_event.
type connectorKind uint32

// The kinds that are wanted; connectorAck is PROC_EVENT_NONE, the answer to a
// request.
const (
	connectorAck  connectorKind = 0
	connectorFork connectorKind = 0x00000001
	connectorExec connectorKind = 0x00000002
	connectorExit connectorKind = 0x80000000
)

// Where things are: struct cn_msg is two ids, seq, ack, then len and flags of
// two bytes each. struct proc_event follows it without a gap, and has the same
// 40 bytes from Linux 3.2 (which brought the comm event, the longest) to 6.18.
const (
	cnAck    = 12
	cnLen    = 16
	cnHeader = 20

	procWhat = cnHeader
	procTime = cnHeader + 8
	procData = cnHeader + 16
	procEnd  = cnHeader + 40

	nlHeader = 16 // struct nlmsghdr of linux/netlink.h, before struct cn_msg
)

// connectorMessage is what the kernel says in one message.
type connectorMessage struct {
	kind connectorKind
	// at is when, on CLOCK_MONOTONIC (a [Connector] makes it CLOCK_BOOTTIME).
	at time.Duration
	// ack is that of the request plus 1, errno how it was taken; of
	// connectorAck only.
	ack   uint32
	errno syscall.Errno
	// tid is the thread and pid the process it belongs to: the new one of a
	// fork. ppid is the parent process of a fork or, since Linux 4.18, of an
	// exit; 0 if the kernel does not say.
	tid, pid, ppid int
	// status of an exit is the thread's, in the form of wait(2).
	status syscall.WaitStatus
}

// parseConnectorMessage reads a struct cn_msg with a struct proc_event, both
// in the byte order of this machine. Of a kind that is not wanted only the kind
// and the time are read.
func parseConnectorMessage(b []byte) (connectorMessage, error) {
	if len(b) < procEnd || number(b, 0) != connectorIndex || number(b, 4) != connectorValue {
		return connectorMessage{}, malformed("proc connector message", b)
	}
	if size := int(binary.NativeEndian.Uint16(b[cnLen:])); size < procEnd-cnHeader || size > len(b)-cnHeader {
		return connectorMessage{}, malformed("proc connector message", b)
	}
	at := binary.NativeEndian.Uint64(b[procTime:])
	if at > math.MaxInt64 {
		return connectorMessage{}, malformed("proc connector time", b[procTime:])
	}
	m := connectorMessage{kind: connectorKind(number(b, procWhat)), at: time.Duration(at)}
	switch data := b[procData:]; m.kind {
	case connectorAck:
		m.ack, m.errno = number(b, cnAck), syscall.Errno(number(data, 0))
		return m, nil
	case connectorFork: // the parent's thread and process, the child's
		m.ppid, m.tid, m.pid = id(data, 4), id(data, 8), id(data, 12)
	case connectorExec:
		m.tid, m.pid = id(data, 0), id(data, 4)
	case connectorExit: // thread, process, code, signal, the parent's thread and process
		m.tid, m.pid, m.ppid = id(data, 0), id(data, 4), id(data, 20)
		m.status = syscall.WaitStatus(number(data, 8))
	default:
		return m, nil
	}
	if m.tid <= 0 || m.pid <= 0 || m.ppid < 0 {
		return connectorMessage{}, fmt.Errorf("process %d, thread %d, parent %d: %w", m.pid, m.tid, m.ppid, ErrMalformed)
	}
	return m, nil
}

func number(b []byte, at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }

func id(b []byte, at int) int { return int(int32(number(b, at))) }

// connectorRequest is a struct cn_msg with an operation. The answer carries
// ack + 1. All kernels take these 4 bytes; Linux 6.6 also takes a mask of
// events (struct proc_input), which spares nothing that [connectorFilter] does
// not: the kernel makes the message before it looks at either.
func connectorRequest(operation, ack uint32) []byte {
	b := make([]byte, cnHeader+4)
	binary.NativeEndian.PutUint32(b[0:], connectorIndex)
	binary.NativeEndian.PutUint32(b[4:], connectorValue)
	binary.NativeEndian.PutUint32(b[cnAck:], ack)
	binary.NativeEndian.PutUint16(b[cnLen:], 4)
	binary.NativeEndian.PutUint32(b[cnHeader:], operation)
	return b
}

// connectorFilter lets through answers, forks of processes, execs, and exits.
// New threads, changes of names, users and sessions stay in the kernel. The
// exits of threads pass, because the last one may end the process.
func connectorFilter() ([]bpf.RawInstruction, error) {
	const pass, drop = 0x40000, 0 // bytes to keep: more than any message has
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: nlHeader + procWhat, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: asLoaded(connectorAck), SkipTrue: 8},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: asLoaded(connectorExec), SkipTrue: 7},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: asLoaded(connectorExit), SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: asLoaded(connectorFork), SkipTrue: 4},
		bpf.LoadAbsolute{Off: nlHeader + procData + 8, Size: 4}, // the child's thread
		bpf.TAX{},
		bpf.LoadAbsolute{Off: nlHeader + procData + 12, Size: 4}, // its process
		bpf.JumpIfX{Cond: bpf.JumpEqual, SkipTrue: 1},
		bpf.RetConstant{Val: drop},
		bpf.RetConstant{Val: pass},
	})
}

// asLoaded is a number of this machine as the filter sees it: it loads in the
// order of the network.
func asLoaded(kind connectorKind) uint32 {
	return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, uint32(kind)))
}
