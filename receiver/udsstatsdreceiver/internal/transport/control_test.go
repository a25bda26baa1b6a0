package transport_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

func TestParseControl(t *testing.T) {
	type found struct {
		pid   int
		uid   uint32
		pidFD int
	}
	f := func(b []byte, want found, dropped ...int) {
		t.Helper()
		var got found
		var closed []int
		got.pid, got.uid, got.pidFD = transport.ParseControl(b, func(fd int) { closed = append(closed, fd) })
		require.Equal(t, want, got)
		require.Equal(t, dropped, closed)
	}
	const none, noUser = transport.NoPID, uint32(transport.NoUID)
	who := unix.UnixCredentials(&unix.Ucred{Pid: 77, Uid: 1000, Gid: 2000})
	process := message(unix.SOL_SOCKET, unix.SCM_PIDFD, 9)
	f(nil, found{none, noUser, -1})
	f(who, found{77, 1000, -1})
	f(slices.Concat(who, process), found{77, 1000, 9})
	f(slices.Concat(process, who), found{77, 1000, 9})
	f(process[:len(process)-4], found{none, noUser, 9}) // without the room behind it
	f(message(unix.SOL_SOCKET, unix.SCM_PIDFD, -24), found{none, noUser, -1})
	f(slices.Concat(process, process), found{none, noUser, 9}, 9)
	f(slices.Concat(unix.UnixRights(5, 6, 7), who), found{77, 1000, -1}, 5, 6, 7)
	f(slices.Concat(who, unix.UnixRights(5)), found{77, 1000, -1}, 5)
	f(slices.Concat(message(unix.SOL_SOCKET, 99, 1), who), found{77, 1000, -1})          // unknown type
	f(slices.Concat(message(unix.SOL_IP, unix.SCM_RIGHTS, 1), who), found{77, 1000, -1}) // unknown level

	short := slices.Clone(who)
	binary.NativeEndian.PutUint64(short, uint64(unix.CmsgLen(4)))
	f(short, found{none, noUser, -1})
	long := slices.Clone(who)
	binary.NativeEndian.PutUint64(long, uint64(len(who)+1))
	f(long, found{none, noUser, -1})
	f(make([]byte, 64), found{none, noUser, -1}) // a length of 0 must not loop
	f(who[:10], found{none, noUser, -1})
}

func FuzzParseControl(f *testing.F) {
	f.Add(unix.UnixCredentials(&unix.Ucred{Pid: 1, Uid: 2, Gid: 3}))
	f.Add(unix.UnixRights(3, 4))
	f.Add(message(unix.SOL_SOCKET, unix.SCM_PIDFD, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		dropped := 0
		_, _, pidFD := transport.ParseControl(b, func(int) { dropped++ })
		if pidFD >= 0 {
			dropped++
		}
		if dropped*4 > len(b) {
			t.Errorf("%d descriptors from %d bytes", dropped, len(b))
		}
	})
}

// message makes a control message of one number.
func message(level, kind int32, content int32) []byte {
	b := make([]byte, unix.CmsgSpace(4))
	binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(4)))
	binary.NativeEndian.PutUint32(b[8:], uint32(level))
	binary.NativeEndian.PutUint32(b[12:], uint32(kind))
	binary.NativeEndian.PutUint32(b[16:], uint32(content))
	return b
}
