package api

import (
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// scripted is a listener whose connections come from addresses of the test.
type scripted struct{ from chan string }

// Accept waits for the next.
func (s scripted) Accept() (net.Conn, error) {
	address, ok := <-s.from
	if !ok {
		return nil, net.ErrClosed
	}
	here, there := net.Pipe()
	_ = there.Close()
	return addressed{here, address}, nil
}

// Close does nothing.
func (scripted) Close() error { return nil }

// Addr is none.
func (scripted) Addr() net.Addr { return nil }

type addressed struct {
	net.Conn
	from string
}

// RemoteAddr is where it comes from.
func (a addressed) RemoteAddr() net.Addr {
	address, err := net.ResolveTCPAddr("tcp", a.from)
	if err != nil {
		panic(err)
	}
	return address
}

// TestShare has one address that wants all places.
func TestShare(t *testing.T) {
	from := make(chan string, 100)
	var denied atomic.Uint64
	l := newBoundedListener(scripted{from}, 8, &denied)
	accept := func() net.Conn {
		t.Helper()
		conn, err := l.Accept()
		require.NoError(t, err)
		return conn
	}
	for range 5 {
		from <- "192.0.2.1:1000"
	}
	from <- "[::ffff:192.0.2.1]:1000"
	from <- "192.0.2.2:1000"
	first, second, other := accept(), accept(), accept()
	require.Equal(t, "192.0.2.2:1000", other.RemoteAddr().String(), "two are the share of the first")
	require.EqualValues(t, 4, denied.Load())
	require.NoError(t, first.Close())
	_ = first.Close() // frees no second place
	from <- "192.0.2.1:1000"
	third := accept()
	from <- "192.0.2.1:1000"
	from <- "[2001:db8::1]:1"
	from <- "[2001:db8::2]:1"
	from <- "[2001:db8::3]:1"
	from <- "[2001:db8:0:1::1]:1"
	sixth := []net.Conn{accept(), accept(), accept()}
	require.EqualValues(t, 6, denied.Load(), "one of IPv4 and the third of a network of IPv6")
	from <- "127.0.0.1:1"
	from <- "127.0.0.1:1"
	sixth = append(sixth, accept(), accept())
	require.Len(t, l.places, 8)
	for _, conn := range append(sixth, second, other, third) {
		_ = conn.Close()
	}
	require.Empty(t, l.places)
	require.Empty(t, l.held)
	close(from)
	_, err := l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	require.Empty(t, l.places)
}

// TestPlacesAreSeparate: who fills TCP does not keep the host's own tools out.
func TestPlacesAreSeparate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r := newRig(t, func(o *Options) {
		o.Limits.Connections = 1
		o.Endpoints = append(o.Endpoints, "unix://"+path)
	})
	conn := dialRaw(t, r)
	_, err := conn.Write([]byte("GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	require.NoError(t, err)
	response, err := overSocket(t, path).Get("http://recorder/api/status")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
}

func TestParty(t *testing.T) {
	f := func(address, want string) {
		t.Helper()
		got := ""
		if who := party(addressed{from: address}.RemoteAddr()); who.IsValid() {
			got = who.String()
		}
		require.Equal(t, want, got, address)
	}
	f("192.0.2.1:1", "192.0.2.1/32")
	f("[::ffff:192.0.2.1]:1", "192.0.2.1/32")
	f("[2001:db8::1]:1", "2001:db8::/64")
	f("127.0.0.1:1", "")
	f("127.1.2.3:1", "")
	f("[::1]:1", "")
	f("[::ffff:127.0.0.1]:1", "")
	require.False(t, party(&net.UnixAddr{Name: "@"}).IsValid())
}
