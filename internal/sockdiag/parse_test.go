package sockdiag

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// header is an inet_diag_msg of 10.0.0.1:80 and 10.0.0.2:1234.
func header(state State) []byte {
	b := make([]byte, headerLen)
	b[0], b[atState] = unix.AF_INET, byte(state)
	binary.BigEndian.PutUint16(b[atSport:], 80)
	binary.BigEndian.PutUint16(b[atDport:], 1234)
	copy(b[atSrc:], []byte{10, 0, 0, 1})
	copy(b[atDst:], []byte{10, 0, 0, 2})
	binary.NativeEndian.PutUint32(b[atCookie:], 7)
	binary.NativeEndian.PutUint32(b[atCookie+4:], 1)
	binary.NativeEndian.PutUint32(b[atInode:], 99)
	return b
}

// withInfo adds a tcp_info that is as long as a kernel's.
func withInfo(b []byte, info unix.TCPInfo, length uintptr) []byte {
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))[:length]
	attrs := netlink.NewAttributeEncoder()
	attrs.Bytes(attrInfo, raw)
	attrs.Uint64(attrCgroupID, 4242)
	encoded, err := attrs.Encode()
	if err != nil {
		panic(err)
	}
	return append(b, encoded...)
}

func TestParse(t *testing.T) {
	info := unix.TCPInfo{Rtt: 1500, Bytes_acked: 101, Bytes_received: 51, Bytes_sent: 130, Bytes_retrans: 30, Total_retrans: 2}
	f := func(state State, length uintptr, sent, received uint64) {
		t.Helper()
		m := message{cgroup: 1, inode: 2} // what the one before had
		require.NoError(t, m.parse(withInfo(header(state), info, length)))
		c := m.conn()
		require.Equal(t, "10.0.0.1:80", c.Local.String())
		require.Equal(t, "10.0.0.2:1234", c.Remote.String())
		require.Equal(t, uint64(1<<32|7), c.Cookie)
		require.Equal(t, uint64(99), c.Inode)
		require.Equal(t, uint64(4242), c.Cgroup)
		require.Equal(t, sent, c.Sent)
		require.Equal(t, received, c.Received)
	}
	f(Established, unsafe.Sizeof(info), 100, 51)
	f(CloseWait, unsafe.Sizeof(info), 100, 50)
	f(Established, infoToSent, 100, 51)
	f(Established, infoToReceived, 100, 51) // before 4.19: from what was acknowledged
	f(Established, infoToReceived-8, 0, 0)  // before 4.1: nothing
}

func TestParseRefuses(t *testing.T) {
	var m message
	b := header(Established)
	b[0] = unix.AF_UNIX
	require.ErrorContains(t, m.parse(b), "address family 1")
	f := func(b ...byte) {
		t.Helper()
		require.ErrorIs(t, m.parse(b), errShort)
	}
	f(header(Established)[:headerLen-1]...)
	f(append(header(Established), 4, 0, attrInfo)...)                  // half an attribute
	f(append(header(Established), 200, 0, attrInfo, 0)...)             // longer than what is left
	f(append(header(Established), 3, 0, attrInfo, 0)...)               // shorter than itself
	f(append(header(Established), 4, 0, attrV6Only, 0)...)             // nothing in it
	f(append(header(Listening), 8, 0, attrCgroupID, 0, 1, 0, 0, 0)...) // half a number
}

// What is not known is skipped, its padding too, and flags are no part of a type.
func TestParseSkips(t *testing.T) {
	var m message
	b := append(header(Listening), 5, 0, 99, 0, 7, 0, 0, 0)
	require.NoError(t, m.parse(append(b, 5, 0, attrV6Only, 0x80, 1)))
	require.True(t, m.listener().V6Only)
}

func TestTakeSkipsRemains(t *testing.T) {
	var s Sockets
	var m message
	s.take(&m, header(FinWait2), 10) // no tcp_info: no socket
	s.take(&m, header(Listening), 10)
	s.take(&m, []byte{1}, 10)
	require.Len(t, s.Listeners, 1)
	require.Empty(t, s.Conns)
	require.Equal(t, 1, s.Malformed)
}

func TestParseSocket(t *testing.T) {
	f := func(text string, want uint64, isOK bool) {
		t.Helper()
		got, ok := parseSocket(text)
		require.Equal(t, isOK, ok)
		require.Equal(t, want, got)
	}
	f("socket:[123]", 123, true)
	f("socket:[18446744073709551615]", 1<<64-1, true)
	f("socket:[]", 0, false)
	f("socket:[-1]", 0, false)
	f("socket:[1", 0, false)
	f("pipe:[1]", 0, false)
	f("/dev/null", 0, false)
}

// Whatever comes, addresses are valid and no counter wraps around.
func FuzzParse(f *testing.F) {
	full := withInfo(header(Established), unix.TCPInfo{Bytes_sent: 1, Bytes_retrans: 2, Bytes_acked: 0}, unsafe.Sizeof(unix.TCPInfo{}))
	f.Add(full)
	f.Add(full[:headerLen+20])
	f.Add(withInfo(header(CloseWait), unix.TCPInfo{}, infoToReceived))
	f.Add(header(Listening))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message
		if m.parse(b) != nil {
			return
		}
		c := m.conn()
		if !c.Local.IsValid() || !c.Remote.IsValid() || c.Local.Addr().Is4In6() {
			t.Errorf("addresses %v and %v", c.Local, c.Remote)
		}
		if c.Sent > max(m.info.Bytes_sent, m.info.Bytes_acked) || c.Received > m.info.Bytes_received {
			t.Errorf("%d sent and %d received of %+v", c.Sent, c.Received, m.info)
		}
		l := m.listener()
		if l.Local != c.Local {
			t.Errorf("%v is not %v", l.Local, c.Local)
		}
	})
}
