package sockdiag

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// datagram has one message after the other: its kind, number and content.
func datagram(kind uint16, seq uint32, content string) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, 64)
	binary.NativeEndian.PutUint32(b, uint32(unix.SizeofNlMsghdr+len(content)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint32(b[8:], seq)
	b = append(b, content...)
	return append(b, make([]byte, -len(b)&(unix.NLMSG_ALIGNTO-1))...)
}

func TestMessages(t *testing.T) {
	f := func(b []byte, isLast bool, want ...string) {
		t.Helper()
		var got []string
		last, err := messages(b, 7, func(data []byte) { got = append(got, string(data)) })
		require.NoError(t, err)
		require.Equal(t, isLast, last)
		require.Equal(t, want, got)
	}
	one, two := datagram(unix.SOCK_DIAG_BY_FAMILY, 7, "one"), datagram(unix.SOCK_DIAG_BY_FAMILY, 7, "second")
	done, other := datagram(unix.NLMSG_DONE, 7, "\x00\x00\x00\x00"), datagram(unix.NLMSG_DONE, 6, "\x00\x00\x00\x00")
	f(nil, false)
	f(slices.Concat(one, two), false, "one", "second")
	f(slices.Concat(one, done, two), true, "one")
	f(slices.Concat(other, one), false, "one")
	f(datagram(unix.NLMSG_DONE, 7, ""), true)
	f(one[:unix.SizeofNlMsghdr+3], false, "one") // the last one may be without padding

	for _, bad := range [][]byte{one[:5], one[:unix.SizeofNlMsghdr+2], make([]byte, unix.SizeofNlMsghdr)} {
		_, err := messages(bad, 7, func([]byte) {})
		require.ErrorIs(t, err, errShort)
	}
	refusal := binary.NativeEndian.AppendUint32(nil, ^uint32(unix.EPERM)+1)
	isLast, err := messages(datagram(unix.NLMSG_ERROR, 7, string(refusal)), 7, func([]byte) {})
	require.True(t, isLast)
	require.ErrorIs(t, err, unix.EPERM)
}

// What is handed on is part of the datagram, whatever that is.
func FuzzMessages(f *testing.F) {
	f.Add(datagram(unix.SOCK_DIAG_BY_FAMILY, 7, "one"), uint32(7))
	f.Add(datagram(unix.NLMSG_DONE, 7, "\x00\x00\x00\x00"), uint32(7))
	f.Fuzz(func(t *testing.T, b []byte, seq uint32) {
		left := len(b)
		isLast, err := messages(b, seq, func(data []byte) { left -= unix.SizeofNlMsghdr + len(data) })
		if left < 0 || err == nil && !isLast && len(b) > 0 && left == len(b) && binary.NativeEndian.Uint32(b[8:]) == seq {
			t.Errorf("%d bytes are left of %d, %v", left, len(b), err)
		}
	})
}
