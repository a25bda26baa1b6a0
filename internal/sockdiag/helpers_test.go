package sockdiag_test

import (
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
)

// dump asks for the sockets of this process' namespace.
func dump(t testing.TB) *sockdiag.Sockets {
	t.Helper()
	all, err := sockdiag.Dump(nil, sockdiag.Options{})
	require.NoError(t, err)
	require.Zero(t, all.Malformed)
	require.Zero(t, all.Dropped)
	return all
}

// conn finds an end of a connection by its addresses.
func conn(s *sockdiag.Sockets, c net.Conn) *sockdiag.Conn {
	local, remote := addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	for i := range s.Conns {
		if s.Conns[i].Local == local && s.Conns[i].Remote == remote {
			return &s.Conns[i]
		}
	}
	return nil
}

func listener(s *sockdiag.Sockets, l net.Listener) *sockdiag.Listener {
	for i := range s.Listeners {
		if s.Listeners[i].Local == addrPort(l.Addr()) {
			return &s.Listeners[i]
		}
	}
	return nil
}

func addrPort(a net.Addr) netip.AddrPort {
	all := netip.MustParseAddrPort(a.String())
	return netip.AddrPortFrom(all.Addr().Unmap(), all.Port())
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// pair is a connection with both its ends.
func pair(t testing.TB, l net.Listener) (client, server net.Conn) {
	t.Helper()
	client, err := net.Dial(l.Addr().Network(), l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	server, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	return client, server
}

// send sends n bytes and waits until they have been read.
func send(t testing.TB, from, to net.Conn, n int) {
	t.Helper()
	_, err := from.Write(make([]byte, n))
	require.NoError(t, err)
	_, err = io.ReadFull(to, make([]byte, n))
	require.NoError(t, err)
}

// namespaceOf opens the network namespace of a process.
func namespaceOf(t testing.TB, path string) *os.File {
	t.Helper()
	ns, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns
}
