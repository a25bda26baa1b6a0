package connstream_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// A socket's cookie is the one that was given to who asked for it while it was
// open, by sock_diag or by the process itself. Nobody else makes it have one.
func TestCookie(t *testing.T) {
	f := func(name string, ask func(client, server *net.TCPConn) ([2]uint64, error)) {
		t.Run(name, func(t *testing.T) {
			tp, _ := open(t, connstream.Options{})
			inNetns(t, func(netns uint64) error {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				defer l.Close()
				client, err := dial(addrOf(l))
				if err != nil {
					return err
				}
				server, err := l.Accept()
				if err != nil {
					return err
				}
				want, err := ask(client.(*net.TCPConn), server.(*net.TCPConn))
				if err := errors.Join(err, client.Close(), server.Close()); err != nil {
					return err
				}
				all, err := tp.await(netns, 2)
				if err != nil {
					return err
				}
				out, errOut := one(all, connstream.Outgoing)
				in, errIn := one(all, connstream.Incoming)
				if got := [2]uint64{out.Cookie, in.Cookie}; got != want {
					return fmt.Errorf("cookies %v, want %v: %w", got, want, errWrong)
				}
				return errors.Join(errOut, errIn)
			})
		})
	}
	f("sock_diag", cookiesBySockDiag)
	f("SO_COOKIE of one", func(client, _ *net.TCPConn) ([2]uint64, error) {
		cookie, err := cookieOf(client)
		return [2]uint64{cookie, 0}, err
	})
	f("nobody asks", func(_, _ *net.TCPConn) ([2]uint64, error) { return [2]uint64{}, nil })
}

// cookiesBySockDiag finds both ends in what the kernel lists.
func cookiesBySockDiag(client, server *net.TCPConn) (cookies [2]uint64, err error) {
	sockets, err := sockdiag.Dump(nil, sockdiag.Options{})
	if err != nil {
		return cookies, err
	}
	for i, c := range []*net.TCPConn{client, server} {
		for _, s := range sockets.Conns {
			if s.Local == portOf(c.LocalAddr()) && s.Remote == portOf(c.RemoteAddr()) {
				cookies[i] = s.Cookie
			}
		}
		if cookies[i] == 0 {
			return cookies, fmt.Errorf("no cookie of %v in %+v: %w", c.LocalAddr(), sockets.Conns, errWrong)
		}
	}
	return cookies, nil
}

func portOf(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

func cookieOf(c *net.TCPConn) (cookie uint64, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var asked error
	err = raw.Control(func(fd uintptr) { cookie, asked = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE) })
	if err := errors.Join(err, asked); err != nil {
		return 0, err
	}
	if cookie == 0 {
		return 0, fmt.Errorf("SO_COOKIE gave none: %w", errWrong)
	}
	return cookie, nil
}
