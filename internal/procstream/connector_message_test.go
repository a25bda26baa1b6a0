package procstream

import (
	"encoding/binary"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
)

// connectorBytes writes a message as the kernel does: struct cn_msg, and the
// words of struct proc_event after its time stamp.
func connectorBytes(kind connectorKind, ack uint32, at uint64, data ...uint32) []byte {
	order := binary.NativeEndian
	b := order.AppendUint32(nil, 1) // CN_IDX_PROC
	b = order.AppendUint32(b, 1)    // CN_VAL_PROC
	b = order.AppendUint32(b, 77)   // seq
	b = order.AppendUint32(b, ack)
	b = order.AppendUint16(b, 40)
	b = order.AppendUint16(b, 0)
	b = order.AppendUint32(b, uint32(kind))
	b = order.AppendUint32(b, 3) // cpu
	b = order.AppendUint64(b, at)
	for i := range 6 {
		word := uint32(0)
		if i < len(data) {
			word = data[i]
		}
		b = order.AppendUint32(b, word)
	}
	return b
}

func TestParseConnectorMessage(t *testing.T) {
	f := func(b []byte, want connectorMessage) {
		t.Helper()
		got, err := parseConnectorMessage(b)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f(connectorBytes(connectorAck, 43, 5, 0), connectorMessage{kind: connectorAck, at: 5, ack: 43})
	f(connectorBytes(connectorAck, 43, 5, 1), connectorMessage{kind: connectorAck, at: 5, ack: 43, errno: syscall.EPERM})
	f(connectorBytes(connectorFork, 0, 6, 11, 10, 20, 20), connectorMessage{kind: connectorFork, at: 6, tid: 20, pid: 20, ppid: 10})
	f(connectorBytes(connectorFork, 0, 6, 11, 10, 21, 20), connectorMessage{kind: connectorFork, at: 6, tid: 21, pid: 20, ppid: 10})
	f(connectorBytes(connectorFork, 0, 6, 0, 0, 2, 2), connectorMessage{kind: connectorFork, at: 6, tid: 2, pid: 2})
	f(connectorBytes(connectorExec, 0, 7, 20, 20), connectorMessage{kind: connectorExec, at: 7, tid: 20, pid: 20})
	f(connectorBytes(connectorExit, 0, 8, 20, 20, 7<<8, 17, 11, 10),
		connectorMessage{kind: connectorExit, at: 8, tid: 20, pid: 20, ppid: 10, status: 7 << 8})
	f(connectorBytes(connectorExit, 0, 8, 20, 20, 15), connectorMessage{kind: connectorExit, at: 8, tid: 20, pid: 20, status: 15})
	const comm = 0x200 // PROC_EVENT_COMM
	f(connectorBytes(comm, 0, 9, 20, 20), connectorMessage{kind: comm, at: 9})

	// What Linux 6.18 sent of the end of /bin/true on a little-endian machine.
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		f([]byte("\x01\x00\x00\x00\x01\x00\x00\x00\xdf\x0b\x00\x00\x00\x00\x00\x00\x28\x00\x00\x00"+
			"\x00\x00\x00\x80\x01\x00\x00\x00\x9a\xd7\x6c\x91\x00\x0b\x00\x00"+
			"\xb1\x61\x00\x00\xb1\x61\x00\x00\x00\x00\x00\x00\x11\x00\x00\x00\x88\x61\x00\x00\x88\x61\x00\x00"),
			connectorMessage{kind: connectorExit, at: 0xb00916cd79a * time.Nanosecond, tid: 0x61b1, pid: 0x61b1, ppid: 0x6188})
	}
}

func TestParseConnectorMessageMalformed(t *testing.T) {
	f := func(b []byte) {
		t.Helper()
		m, err := parseConnectorMessage(b)
		require.ErrorIs(t, err, ErrMalformed)
		require.Zero(t, m)
	}
	good := connectorBytes(connectorExec, 0, 7, 20, 20)
	f(nil)
	f(good[:len(good)-1])
	for _, at := range []int{0, 4, cnLen} { // another subsystem, another length
		bad := append([]byte{}, good...)
		bad[at] ^= 0x5a
		bad[at+1] ^= 0x5a
		f(bad)
	}
	f(connectorBytes(connectorExec, 0, 1<<63, 20, 20))
	f(connectorBytes(connectorExec, 0, 7, 0, 20))
	f(connectorBytes(connectorExit, 0, 7, 20, 1<<31))
	f(connectorBytes(connectorFork, 0, 7, 1, 1<<31, 20, 20))
}

func TestConnectorFilter(t *testing.T) {
	raw, err := connectorFilter()
	require.NoError(t, err)
	program, ok := bpf.Disassemble(raw)
	require.True(t, ok)
	vm, err := bpf.NewVM(program)
	require.NoError(t, err)
	f := func(pass bool, kind connectorKind, data ...uint32) {
		t.Helper()
		packet := append(make([]byte, 16), connectorBytes(kind, 0, 1, data...)...)
		n, err := vm.Run(packet)
		require.NoError(t, err)
		if pass {
			require.GreaterOrEqual(t, n, len(packet))
		} else {
			require.Zero(t, n)
		}
	}
	f(true, connectorAck)
	f(true, connectorFork, 1, 1, 20, 20)
	f(false, connectorFork, 1, 1, 21, 20)
	f(false, connectorFork, 1, 1, 20, 0x14000000)
	f(true, connectorExec, 20, 20)
	f(true, connectorExit, 20, 20)
	f(true, connectorExit, 21, 20)
	// uid, gid, sid (which is exit with its bytes the other way round), ptrace, comm, coredump
	for _, kind := range []connectorKind{0x4, 0x40, 0x80, 0x100, 0x200, 0x40000000} {
		f(false, kind, 20, 20)
	}
}

// Whatever comes is understood or ErrMalformed, never half of it; what was
// understood says the same when it is written down again.
func FuzzConnectorMessage(f *testing.F) {
	f.Add(connectorBytes(connectorAck, 43, 5, 0))
	f.Add(connectorBytes(connectorFork, 0, 6, 11, 10, 20, 20))
	f.Add(connectorBytes(connectorExec, 0, 7, 20, 20))
	f.Add(connectorBytes(connectorExit, 0, 8, 20, 20, 7<<8, 17, 11, 10))
	f.Add(connectorBytes(0x200, 0, 9, 20, 20))
	f.Add(connectorRequest(connectorListen, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseConnectorMessage(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || m != (connectorMessage{}) {
				t.Fatalf("%+v, %v", m, err)
			}
			return
		}
		var data []uint32
		tid, pid, ppid := uint32(m.tid), uint32(m.pid), uint32(m.ppid)
		switch m.kind {
		case connectorAck:
			data = []uint32{uint32(m.errno)}
		case connectorFork:
			data = []uint32{0, ppid, tid, pid}
		case connectorExec:
			data = []uint32{tid, pid}
		case connectorExit:
			data = []uint32{tid, pid, uint32(m.status), 0, 0, ppid}
		}
		again, err := parseConnectorMessage(connectorBytes(m.kind, m.ack, uint64(m.at), data...))
		if err != nil || again != m {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
