package peers

import (
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// encoded is a message with that header and these attributes.
func encoded(header []byte, fill func(*netlink.AttributeEncoder)) []byte {
	attrs := netlink.NewAttributeEncoder()
	fill(attrs)
	b, err := attrs.Encode()
	if err != nil {
		panic(err)
	}
	return append(header, b...)
}

func ifaddrmsg(family, bits, index byte) []byte { return []byte{family, bits, 0, 0, index, 0, 0, 0} }

func TestParseAddress(t *testing.T) {
	f := func(want string, b []byte) {
		t.Helper()
		a, err := parseAddress(b)
		require.NoError(t, err)
		require.Equal(t, want, a.prefix.String())
		require.Equal(t, uint32(7), a.index)
	}
	f("10.0.0.2/24", encoded(ifaddrmsg(unix.AF_INET, 24, 7), func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.IFA_ADDRESS, []byte{10, 0, 0, 2})
		e.Bytes(unix.IFA_LOCAL, []byte{10, 0, 0, 2})
	}))
	// Of a point-to-point link IFA_ADDRESS is the other end.
	f("10.0.0.2/32", encoded(ifaddrmsg(unix.AF_INET, 32, 7), func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.IFA_LOCAL, []byte{10, 0, 0, 2})
		e.Bytes(unix.IFA_ADDRESS, []byte{10, 0, 0, 9})
	}))
	f("fe80::1/64", encoded(ifaddrmsg(unix.AF_INET6, 64, 7), func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.IFA_ADDRESS, []byte{0xfe, 0x80, 15: 1})
	}))
	for _, b := range [][]byte{
		nil, ifaddrmsg(unix.AF_INET, 24, 7)[:7], ifaddrmsg(unix.AF_INET, 24, 7),
		encoded(ifaddrmsg(unix.AF_INET, 33, 7), func(e *netlink.AttributeEncoder) { e.Bytes(unix.IFA_LOCAL, []byte{10, 0, 0, 2}) }),
		encoded(ifaddrmsg(unix.AF_INET, 8, 7), func(e *netlink.AttributeEncoder) { e.Bytes(unix.IFA_LOCAL, []byte{10, 0, 0}) }),
	} {
		_, err := parseAddress(b)
		require.ErrorIs(t, err, errMalformed, "% x", b)
	}
}

func TestParseLink(t *testing.T) {
	header := make([]byte, linkHeader)
	header[4] = 9
	l, err := parseLink(encoded(header, func(e *netlink.AttributeEncoder) {
		e.String(unix.IFLA_IFNAME, "veth1")
		e.Uint32(unix.IFLA_MASTER, 3)
		e.Uint32(unix.IFLA_LINK, 2)
		e.Int32(unix.IFLA_LINK_NETNSID, 0)
	}))
	require.NoError(t, err)
	require.Equal(t, link{name: "veth1", index: 9, master: 3, peer: 2, peerNSID: 0}, l)
	l, err = parseLink(header)
	require.NoError(t, err)
	require.Equal(t, link{index: 9, peerNSID: noNSID}, l, "0 is a number, too")
	_, err = parseLink(header[:15])
	require.ErrorIs(t, err, errMalformed)
	_, err = parseLink(encoded(header, func(e *netlink.AttributeEncoder) { e.Uint8(unix.IFLA_LINK, 1) }))
	require.Error(t, err)
}

// Whatever comes, an address is valid.
func FuzzParseAddress(f *testing.F) {
	f.Add(encoded(ifaddrmsg(unix.AF_INET, 24, 7), func(e *netlink.AttributeEncoder) {
		e.Bytes(unix.IFA_LOCAL, []byte{10, 0, 0, 2})
	}))
	f.Add(ifaddrmsg(unix.AF_INET6, 64, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAddress(b)
		if err == nil && (!a.prefix.IsValid() || a.prefix.Addr().Is4In6()) {
			t.Errorf("%v of % x", a, b)
		}
	})
}

// A link keeps its index whatever follows, and no number means none.
func FuzzParseLink(f *testing.F) {
	f.Add(make([]byte, linkHeader))
	f.Add(encoded(make([]byte, linkHeader), func(e *netlink.AttributeEncoder) { e.Int32(unix.IFLA_LINK_NETNSID, 5) }))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLink(b)
		if err == nil && len(b) == linkHeader && l.peerNSID != noNSID {
			t.Errorf("%+v of % x", l, b)
		}
	})
}

// Without a number in it there is none.
func FuzzParseNSID(f *testing.F) {
	f.Add(make([]byte, nsidHeader))
	f.Add(encoded(make([]byte, nsidHeader), func(e *netlink.AttributeEncoder) { e.Int32(nsidAttr, 3) }))
	f.Fuzz(func(t *testing.T, b []byte) {
		nsid, err := parseNSID(b)
		if (err != nil || len(b) == nsidHeader) && nsid != noNSID {
			t.Errorf("%d of % x", nsid, b)
		}
	})
}
