package sockdiag_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Who waits is told, from one door again and again: more of TCP than a datagram
// holds, of UDP whoever has no other end, each by its inode.
func TestServers(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	const count, firstPort = 1000, 10_000
	testkit.InNewNetns(t, func() error {
		if err := testkit.Up("lo"); err != nil {
			return err
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		want := map[uint64]string{}
		for port := range count {
			l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", firstPort+port))
			if err != nil {
				return err
			}
			defer l.Close()
			want[inodeOfConn(l.(*net.TCPListener))] = l.Addr().String()
		}
		server, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback, Port: 53})
		if err != nil {
			return err
		}
		defer server.Close()
		client, err := net.DialUDP("udp6", nil, server.LocalAddr().(*net.UDPAddr))
		if err != nil {
			return err
		}
		defer client.Close()
		done := make(chan error, 1)
		go func() { done <- askTwice(ns, want, map[uint64]string{inodeOfConn(server): "[::1]:53"}) }()
		return <-done
	})
}

func inodeOfConn(c interface{ File() (*os.File, error) }) uint64 {
	f, err := c.File()
	if err != nil {
		return 0
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return inodeOf(info)
}

func askTwice(ns *os.File, tcp, udp map[uint64]string) error {
	door, err := sockdiag.Open(ns, make([]byte, sockdiag.AnswerSize))
	if err != nil {
		return err
	}
	defer door.Close()
	for range 2 {
		for protocol, want := range map[int]map[uint64]string{unix.IPPROTO_TCP: tcp, unix.IPPROTO_UDP: udp} {
			left := len(want)
			err := door.Servers(protocol, func(l sockdiag.Listener) {
				if want[l.Inode] == l.Local.String() {
					left--
					return
				}
				left = 1 << 20
			})
			if err != nil || left != 0 {
				return fmt.Errorf("protocol %d: %d of %d are missing, %w", protocol, left, len(want), err)
			}
		}
	}
	return nil
}

// What the kernel refuses has its errno, and the door stays good.
func TestServersRefused(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	door, err := sockdiag.Open(nil, make([]byte, sockdiag.AnswerSize))
	require.NoError(t, err)
	defer door.Close()
	const noProtocol = 200 // IANA has not given it to anybody
	err = door.Servers(noProtocol, func(sockdiag.Listener) { t.Error("a socket of nobody's protocol") })
	require.ErrorIs(t, err, unix.ENOENT)
	var found []string
	require.NoError(t, door.Servers(unix.IPPROTO_TCP, func(l sockdiag.Listener) { found = append(found, l.Local.String()) }))
	require.True(t, slices.Contains(found, l.Addr().String()), "%v", found)

	small, err := sockdiag.Open(nil, make([]byte, 16))
	require.NoError(t, err)
	defer small.Close()
	require.ErrorContains(t, small.Servers(unix.IPPROTO_TCP, func(sockdiag.Listener) {}), "into 16")

	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	_, err = sockdiag.Open(file, nil)
	require.ErrorIs(t, err, unix.EINVAL)
	require.False(t, errors.Is(err, fs.ErrPermission))
}

// BenchmarkDoorServers is a question at an open door, in a namespace with so many that
// listen.
func BenchmarkDoorServers(b *testing.B) {
	for _, count := range []int{0, 100, 1000} {
		b.Run(fmt.Sprintf("listeners=%d", count), func(b *testing.B) {
			testkit.InNewNetns(b, func() error {
				for range count {
					listen(b, "tcp4", "0.0.0.0:0")
				}
				door, err := sockdiag.Open(nil, make([]byte, sockdiag.AnswerSize))
				if err != nil {
					return err
				}
				defer door.Close()
				b.ReportAllocs()
				for b.Loop() {
					found := 0
					if err := door.Servers(unix.IPPROTO_TCP, func(sockdiag.Listener) { found++ }); err != nil || found != count {
						return fmt.Errorf("%d of %d: %w", found, count, err)
					}
				}
				return nil
			})
		})
	}
}
