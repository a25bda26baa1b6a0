package connstream

import (
	"net/netip"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// bytesOf is a record as the ring buffer hands it out.
func bytesOf(r *connectionRecord) []byte {
	words := make([]uint64, (unsafe.Sizeof(*r)+7)/8) // aligned
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), unsafe.Sizeof(*r))
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r)))
	return b
}

func example() connectionRecord {
	r := connectionRecord{
		Started: 1_000, Established: 3_000, Ended: 10_000, Cgroup: 11, Memory: 12, Sent: 13, Received: 14, Cookie: 15,
		Netns: 4026531840, Pid: 100, Rtt: 20, Retransmits: 1, SegmentsIn: 2, SegmentsOut: 3,
		LocalPort: 40000, RemotePort: 443, Family: unix.AF_INET, State: 5, Direction: uint8(Outgoing),
		Local: [16]byte{10, 0, 0, 1}, Remote: [16]byte{10, 0, 0, 2},
	}
	copy(r.Comm[:], "curl")
	return r
}

func TestParseRecord(t *testing.T) {
	f := func(raw connectionRecord, change func(*Record)) {
		t.Helper()
		want := Record{
			Netns: 4026531840, Family: unix.AF_INET,
			Local: netip.MustParseAddrPort("10.0.0.1:40000"), Remote: netip.MustParseAddrPort("10.0.0.2:443"),
			Direction: Outgoing, Cgroup: 11, MemoryCgroup: 12, Cookie: 15, PID: 100, Comm: [16]byte{'c', 'u', 'r', 'l'},
			Started: 1_000, Established: 3_000, Ended: 10_000, Sent: 13, Received: 14,
			Retransmits: 1, SegmentsIn: 2, SegmentsOut: 3, RTT: 20 * time.Microsecond,
		}
		change(&want)
		var got Record
		require.NoError(t, parseRecord(bytesOf(&raw), &got))
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	f(example(), func(*Record) {})

	six := example()
	six.Family = unix.AF_INET6
	six.Local, six.Remote = netip.MustParseAddr("fd00::1").As16(), netip.MustParseAddr("fd00::2").As16()
	f(six, func(r *Record) {
		r.Family = unix.AF_INET6
		r.Local, r.Remote = netip.MustParseAddrPort("[fd00::1]:40000"), netip.MustParseAddrPort("[fd00::2]:443")
	})

	mapped := example()
	mapped.Family = unix.AF_INET6
	mapped.Local, mapped.Remote = netip.MustParseAddr("::ffff:10.0.0.1").As16(), netip.MustParseAddr("::ffff:10.0.0.2").As16()
	f(mapped, func(r *Record) { r.Family = unix.AF_INET6 })

	refused := example()
	refused.State, refused.Error, refused.Established = stateSynSent, uint16(unix.ECONNREFUSED), 0
	f(refused, func(r *Record) { r.Outcome, r.Errno, r.Established = Failed, unix.ECONNREFUSED, 0 })

	long := example()
	copy(long.Comm[:], "sixteen letters!")
	f(long, func(r *Record) { copy(r.Comm[:], "sixteen letters!") })
}

func TestParseRecordRefuses(t *testing.T) {
	f := func(sample []byte) {
		t.Helper()
		before := Record{PID: 1}
		got := before
		require.ErrorIs(t, parseRecord(sample, &got), ErrMalformed)
		require.Equal(t, before, got)
	}
	whole, family, direction := example(), example(), example()
	family.Family = unix.AF_UNIX
	direction.Direction = 3
	f(nil)
	f(bytesOf(&whole)[:unsafe.Sizeof(whole)-8])
	f(bytesOf(&family))
	f(bytesOf(&direction))
	f(append([]byte{0}, bytesOf(&whole)...)[1:])
}

func TestOutcome(t *testing.T) {
	const finWait2, closing, lastAck = 5, 11, 9
	f := func(state uint8, errno syscall.Errno, retransmits uint32, want Outcome) {
		t.Helper()
		require.Equal(t, want.String(), outcome(state, errno, retransmits).String(), "state %d, errno %d", state, errno)
	}
	for _, state := range []uint8{finWait2, closing, lastAck} {
		f(state, 0, 0, Closed)
		f(state, 0, 7, Closed)
		f(state, unix.ECONNRESET, 0, Reset)
		f(state, unix.ETIMEDOUT, 7, Timeout)
	}
	f(stateEstablished, 0, 0, Reset) // by this side
	f(stateEstablished, unix.ECONNRESET, 0, Reset)
	f(stateEstablished, unix.ECONNABORTED, 0, Reset) // ss -K
	f(stateEstablished, unix.ETIMEDOUT, 15, Timeout)
	f(stateEstablished, unix.EHOSTUNREACH, 15, Timeout)
	f(stateCloseWait, unix.EPIPE, 0, Reset)
	f(stateCloseWait, 0, 0, Reset)
	f(stateFinWait1, 0, 0, Reset)
	f(stateSynSent, unix.ECONNREFUSED, 0, Failed)
	f(stateSynSent, unix.EHOSTUNREACH, 2, Failed)
	f(stateSynSent, unix.ETIMEDOUT, 6, Timeout)
	f(stateSynSent, 0, 0, Failed)  // no free port, or the program gave up at once
	f(stateSynSent, 0, 1, Timeout) // the program gave up
	f(stateSynRecv, unix.ETIMEDOUT, 5, Timeout)
	f(stateSynRecv, 0, 0, Failed)
}

func TestDerived(t *testing.T) {
	f := func(r Record, want time.Duration, known bool) {
		t.Helper()
		got, ok := r.SetupTime()
		require.Equal(t, known, ok)
		require.Equal(t, want, got)
	}
	f(Record{Direction: Outgoing, Started: 10, Established: 30}, 20, true)
	f(Record{Direction: Outgoing, Started: 10}, 0, false)
	f(Record{Direction: Outgoing, Established: 30}, 0, false)
	f(Record{Direction: Incoming, Started: 30, Established: 30}, 0, false)

	require.Equal(t, "curl", (&Record{Comm: [16]byte{'c', 'u', 'r', 'l', 0, 'x'}}).Command())
	require.Empty(t, (&Record{}).Command())
}

func TestListenerEntry(t *testing.T) {
	f := func(local string, family uint16, address [16]byte) {
		t.Helper()
		l := Listener{Netns: 7, Local: netip.MustParseAddrPort(local), PID: 8, Comm: "a-command-of-twenty", Cgroup: 9, MemoryCgroup: 10}
		key, value := l.entry()
		require.Equal(t, connectionListenerKey{Netns: 7, Port: 80, Family: family, Address: address}, key)
		require.Equal(t, uint32(8), value.Owner.Pid)
		require.Equal(t, "a-command-of-tw\x00", string(value.Owner.Comm[:]))
		require.Equal(t, [2]uint64{9, 10}, [2]uint64{value.Owner.Cgroup, value.Owner.Memory})
		require.Zero(t, value.Socket)
		require.Zero(t, value.Owner.Exact)
	}
	f("0.0.0.0:80", unix.AF_INET, [16]byte{})
	f("127.0.0.1:80", unix.AF_INET, [16]byte{127, 0, 0, 1})
	f("[::]:80", unix.AF_INET6, [16]byte{})
	f("[::1]:80", unix.AF_INET6, [16]byte{15: 1})
	f("[::ffff:127.0.0.1]:80", unix.AF_INET6, [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1})
}

// FuzzParseRecord: bytes are refused as malformed, or give a record that says
// what they say.
func FuzzParseRecord(f *testing.F) {
	four, six, bad := example(), example(), example()
	six.Family, bad.Family = unix.AF_INET6, unix.AF_UNIX
	f.Add(bytesOf(&four))
	f.Add(bytesOf(&six))
	f.Add(bytesOf(&bad))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, sample []byte) {
		var r Record
		if err := parseRecord(sample, &r); err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		raw, err := view(sample)
		require.NoError(t, err)
		require.True(t, r.Local.Addr().IsValid() && r.Remote.Addr().IsValid() && !r.Local.Addr().Is4In6())
		require.Equal(t, [3]uint64{raw.Sent, raw.Received, raw.Cgroup}, [3]uint64{r.Sent, r.Received, r.Cgroup})
		require.Equal(t, [2]uint16{raw.LocalPort, raw.RemotePort}, [2]uint16{r.Local.Port(), r.Remote.Port()})
		require.LessOrEqual(t, r.Outcome, Timeout)
		if raw.Family == unix.AF_INET6 {
			require.Equal(t, raw.Remote, r.Remote.Addr().As16())
		}
	})
}

func TestParseRecordAllocatesNothing(t *testing.T) {
	raw := example()
	sample := bytesOf(&raw)
	var r Record
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := parseRecord(sample, &r); err != nil {
			t.Fatal(err)
		}
	}))
}

func BenchmarkParseRecord(b *testing.B) {
	raw := example()
	sample := bytesOf(&raw)
	var r Record
	b.ReportAllocs()
	for b.Loop() {
		if err := parseRecord(sample, &r); err != nil {
			b.Fatal(err)
		}
	}
}
