package nat

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
)

// encode writes an entry as the kernel does (ctnetlink_fill_info), as far as it
// is read here.
func (e *entry) encode(t testing.TB) []byte {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	side := func(side tuple) func(*netlink.AttributeEncoder) error {
		return func(ae *netlink.AttributeEncoder) error {
			source, destination := uint16(attrSource4), uint16(attrDestination4)
			if side.source.Addr().Is6() {
				source, destination = attrSource6, attrDestination6
			}
			ae.Nested(attrTupleIP, func(ae *netlink.AttributeEncoder) error {
				ae.Bytes(source, side.source.Addr().AsSlice())
				ae.Bytes(destination, side.destination.Addr().AsSlice())
				return nil
			})
			ae.Nested(attrTuplePort, func(ae *netlink.AttributeEncoder) error {
				ae.Uint8(attrProtocol, uint8(e.transport))
				ae.Uint16(attrSourcePort, side.source.Port())
				ae.Uint16(attrDestinationPort, side.destination.Port())
				return nil
			})
			return nil
		}
	}
	ae.Nested(attrOriginal, side(e.original))
	ae.Nested(attrReply, side(e.reply))
	ae.Uint32(12, 77) // CTA_ID: skipped
	if e.zone != 0 {
		ae.Uint16(attrZone, e.zone)
	}
	attrs, err := ae.Encode()
	require.NoError(t, err)
	return append([]byte{2, 0, 0, 0}, attrs...)
}

func TestParseEntry(t *testing.T) {
	f := func(e entry) {
		t.Helper()
		got, err := parseEntry(e.encode(t))
		require.NoError(t, err)
		require.Equal(t, e, got)
	}
	f(connectionOf(1))
	v6 := entry{
		transport: UDP, zone: 7,
		original: tuple{addrPort(first6, 1), addrPort(host6, published)},
		reply:    tuple{addrPort(second6, inside), addrPort(gateway6, 2)},
	}
	f(v6)

	bad := func(b []byte, want error) {
		t.Helper()
		_, err := parseEntry(b)
		require.ErrorIs(t, err, want)
	}
	bad(nil, errShort)
	icmp := connectionOf(1)
	icmp.transport = 1
	bad(icmp.encode(t), errTransport)
	bad([]byte{2, 0, 0, 0}, errTransport)
	whole := connectionOf(1)
	b := whole.encode(t)
	for cut := range len(b) - 8 { // the last attribute is CTA_ID, which nobody needs
		_, err := parseEntry(b[:cut])
		require.Error(t, err, cut)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := parseEntry(b); err != nil {
			t.Fatal(err)
		}
	}))
}

// FuzzParseEntry: whatever is read is an entry that is written and read the same
// way, with addresses of one family in each tuple.
func FuzzParseEntry(f *testing.F) {
	one := connectionOf(1)
	f.Add(one.encode(f))
	one.zone = 7
	f.Add(one.encode(f))
	f.Add([]byte{2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEntry(b)
		if err != nil {
			require.Equal(t, entry{}, e)
			return
		}
		for _, side := range []tuple{e.original, e.reply} {
			require.Equal(t, side.source.Addr().Is4(), side.destination.Addr().Is4())
		}
		again, err := parseEntry(e.encode(t))
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}

// FuzzSlot: what goes into a slot as a question comes out of it as a tuple.
func FuzzSlot(f *testing.F) {
	f.Add([]byte{172, 30, 0, 2}, []byte{192, 0, 2, 1}, uint32(1<<16|8080))
	f.Add(addrPort(first6, 1).Addr().AsSlice(), addrPort(host6, 1).Addr().AsSlice(), uint32(0xff0000ff))
	f.Fuzz(func(t *testing.T, a, b []byte, ports uint32) {
		source, ok := netip.AddrFromSlice(a)
		destination, fits := netip.AddrFromSlice(b)
		if !ok || !fits {
			return
		}
		q := Query{Transport: TCP, Pair: Pair{
			Local: netip.AddrPortFrom(source, uint16(ports>>16)), Remote: netip.AddrPortFrom(destination, uint16(ports)),
		}}
		want, ok := asked(&q, 0)
		if !ok {
			return
		}
		slot := slotOf(&q, want)
		require.Equal(t, want, slot.Asked.decode(slot.Family))
		require.Equal(t, uint8(TCP), slot.Protocol)
	})
}
