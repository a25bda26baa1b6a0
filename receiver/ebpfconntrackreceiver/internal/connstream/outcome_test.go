package connstream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// Nobody listens: told by the end that asked, with the reason.
func TestRefused(t *testing.T) {
	tp, s := open(t, connstream.Options{})
	inNetns(t, func(netns uint64) error {
		if err := refuse(20); err != nil {
			return err
		}
		s.Close()
		all := tp.in(netns)
		for _, r := range all {
			if r.Outcome != connstream.Failed || r.Errno != unix.ECONNREFUSED || r.Direction != connstream.Outgoing ||
				r.PID != os.Getpid() || r.Established != 0 || r.Started == 0 || r.Remote.String() != "127.0.0.1:1" || r.Sent+r.Received != 0 {
				return fmt.Errorf("%+v: %w", r, errWrong)
			}
		}
		if len(all) != 20 {
			return fmt.Errorf("%d records: %w", len(all), errWrong)
		}
		return nil
	})
}

// nowhere makes addresses that nobody answers for: an interface that asks for
// no neighbours, with an end that has no address. One SYN is sent again, after
// a second.
func nowhere() error {
	for _, args := range [][]string{
		{"link", "add", "nowhere", "type", "veth", "peer", "name", "end"},
		{"link", "set", "end", "up"},
		{"address", "add", "10.99.0.1/24", "dev", "nowhere"},
		{"link", "set", "nowhere", "arp", "off", "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	// Since 6.5 as many are sent besides.
	err := os.WriteFile("/proc/sys/net/ipv4/tcp_syn_linear_timeouts", []byte("0"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/tcp_syn_retries", []byte("1"), 0)
}

// begin starts to connect to nowhere.
func begin() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{10, 99, 0, 2}})
	if !errors.Is(err, unix.EINPROGRESS) {
		return -1, errors.Join(err, errWrong, unix.Close(fd))
	}
	return fd, nil
}

// Nobody answers: told by the end that asked, whether the kernel gave up or
// the program.
func TestTimeout(t *testing.T) {
	testkit.NeedCommand(t, "ip")
	f := func(name string, end func(fd int) error, want connstream.Record) {
		t.Run(name, func(t *testing.T) {
			tp, _ := open(t, connstream.Options{}) // its own: inodes of namespaces come again
			inNetns(t, func(netns uint64) error {
				if err := nowhere(); err != nil {
					return err
				}
				var fds []int
				for range 20 {
					fd, err := begin()
					if err != nil {
						return err
					}
					defer unix.Close(fd)
					fds = append(fds, fd)
				}
				for _, fd := range fds {
					if err := poll(func() error { return end(fd) }); err != nil {
						return err
					}
				}
				return allLike(tp, netns, len(fds), want)
			})
		})
	}
	f("kernel", kernelGaveUp, connstream.Record{Outcome: connstream.Timeout, Errno: unix.ETIMEDOUT, Retransmits: 1, SegmentsOut: 2})
	f("program after a second", func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || info.Total_retrans == 0 {
			return fmt.Errorf("no SYN sent again (%v): %w", err, errNotYet)
		}
		return unix.Shutdown(fd, unix.SHUT_RDWR)
	}, connstream.Record{Outcome: connstream.Timeout, Retransmits: 1, SegmentsOut: 2})
	f("program at once", func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) },
		connstream.Record{Outcome: connstream.Failed, SegmentsOut: 1})
}

func kernelGaveUp(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if syscall.Errno(errno) != unix.ETIMEDOUT {
		return fmt.Errorf("socket says %d: %w", errno, errNotYet)
	}
	return nil
}

// allLike asserts that there are n records of a network namespace, all of them
// outgoing to nowhere and like want.
func allLike(tp *tape, netns uint64, n int, want connstream.Record) error {
	all, err := tp.await(netns, n)
	if err != nil {
		return err
	}
	for _, r := range all {
		got := connstream.Record{Outcome: r.Outcome, Errno: r.Errno, Retransmits: r.Retransmits, SegmentsOut: r.SegmentsOut}
		if got != want || r.Direction != connstream.Outgoing || r.Remote.String() != "10.99.0.2:80" || r.PID != os.Getpid() || r.Established != 0 {
			return fmt.Errorf("%+v, want %+v: %w", r, want, errWrong)
		}
	}
	if len(all) != n {
		return fmt.Errorf("%d records: %w", len(all), errWrong)
	}
	return nil
}

// A reset is told by both ends; which of them sent it shows in the reason.
func TestReset(t *testing.T) {
	tp, _ := open(t, connstream.Options{})
	inNetns(t, func(netns uint64) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		go serve(l)
		client, server, err := converse(tp, netns, l, exchange{up: 10, down: 20, end: endReset})
		if err != nil {
			return err
		}
		if client.Outcome != connstream.Reset || client.Errno != 0 || server.Outcome != connstream.Reset || server.Errno != unix.ECONNRESET {
			return fmt.Errorf("%+v, %+v: %w", client, server, errWrong)
		}
		if client.Sent != server.Received || client.Received != server.Sent || server.Sent != 20 {
			return fmt.Errorf("bytes of %+v, %+v: %w", client, server, errWrong)
		}
		return nil
	})
}

// One side says that it has sent everything long before the other has.
func TestHalfClosed(t *testing.T) {
	tp, _ := open(t, connstream.Options{})
	inNetns(t, func(netns uint64) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		go serve(l)
		const up, down = 3 << 20, 5 << 20
		client, server, err := converse(tp, netns, l, exchange{up: up, down: down, end: endHalf})
		if err != nil {
			return err
		}
		if client.Outcome != connstream.Closed || server.Outcome != connstream.Closed || client.Errno+server.Errno != 0 {
			return fmt.Errorf("%+v, %+v: %w", client, server, errWrong)
		}
		if client.Sent != headerSize+up || server.Received != headerSize+up || client.Received != down || server.Sent != down {
			return fmt.Errorf("bytes of %+v, %+v: %w", client, server, errWrong)
		}
		if setup, known := client.SetupTime(); !known || setup <= 0 || client.Established-server.Established > client.Ended-client.Started {
			return fmt.Errorf("times of %+v, %+v: %w", client, server, errWrong)
		}
		return nil
	})
}

// A connection that the other side never confirmed has no record. Only with TCP
// Fast Open is there a socket for it at all: here for a SYN with data from a
// port that nobody has, so that the kernel itself refuses the answer.
func TestHalfOpen(t *testing.T) {
	tp, s := open(t, connstream.Options{})
	inNetns(t, func(netns uint64) error {
		// Documentation/networking/ip-sysctl.rst: server, without a cookie.
		if err := os.WriteFile("/proc/sys/net/ipv4/tcp_fastopen", []byte("514"), 0); err != nil {
			return err
		}
		// Go listens with MPTCP where it can, which knew no Fast Open before 6.2.
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		if err := allowFastOpen(l.(*net.TCPListener)); err != nil {
			return err
		}
		if err := sendSYN(addrOf(l).Port()); err != nil {
			return err
		}
		if err := poll(func() error {
			if s.Stats().HalfOpen == 0 {
				return errNotYet
			}
			return nil
		}); err != nil {
			return err
		}
		s.Close()
		if got := tp.in(netns); len(got) != 0 {
			return fmt.Errorf("%+v: %w", got, errWrong)
		}
		return nil
	})
}

func allowFastOpen(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 5) })
	return errors.Join(err, set)
}

// sendSYN sends a segment of RFC 9293 from 127.0.0.1:9 to a port: SYN, with
// four bytes of data.
func sendSYN(port uint16) error {
	segment := binary.BigEndian.AppendUint16(nil, 9)
	segment = binary.BigEndian.AppendUint16(segment, port)
	segment = append(segment, 0, 0, 0, 1, 0, 0, 0, 0)                 // sequence, acknowledged
	segment = append(segment, 5<<4, 2, 255, 255, 0, 0, 0, 0)          // header of 5 words, SYN, window, checksum, urgent
	segment = append(segment, "data"...)                              //
	pseudo := []byte{127, 0, 0, 1, 127, 0, 0, 1, 0, unix.IPPROTO_TCP} // and the length
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(segment)))
	sum := uint32(0)
	for b := append(pseudo, segment...); len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(segment[16:], ^uint16(sum))
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, segment, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
}

// What the network delays and loses shows in the records, and their bytes stay
// exact. All packets leave by the loopback, so that a round trip passes its queue
// twice: 10 ms there are 20.
func TestLossAndDelay(t *testing.T) {
	needNetem(t)
	f := func(name string, network []string, x exchange, check func(client, server *connstream.Record) error) {
		t.Run(name, func(t *testing.T) {
			tp, _ := open(t, connstream.Options{})
			inNetns(t, func(netns uint64) error {
				if err := netem(network...); err != nil {
					return err
				}
				return meet(tp, netns, x, check)
			})
		})
	}
	// A request and an answer: no queue, and no acknowledgement that waits. Twice
	// as much would be one way taken for both; of eight, so that a machine which
	// stalls in between does not count.
	fastest := [2]time.Duration{time.Hour, time.Hour}
	f("delay", []string{"delay", "10ms"}, exchange{up: 100, down: 100, end: endClient}, func(client, server *connstream.Record) error {
		for i, r := range []*connstream.Record{client, server} {
			if r.RTT < 20*time.Millisecond {
				return fmt.Errorf("round trip of %v in %+v: %w", r.RTT, *r, errWrong)
			}
			fastest[i] = min(fastest[i], r.RTT)
		}
		if setup, known := client.SetupTime(); !known || setup < 20*time.Millisecond {
			return fmt.Errorf("setup of %v in %+v: %w", setup, *client, errWrong)
		}
		return nil
	})
	require.Less(t, max(fastest[0], fastest[1]), 40*time.Millisecond, "round trips of client and server")
	// About 17 packets of 64 kB each way and connection: that none of 270 is lost
	// happens once in a million times.
	again := uint32(0)
	f("loss", []string{"delay", "10ms", "loss", "5%", "limit", "10000"}, exchange{up: 1 << 20, down: 1 << 20, end: endClient}, func(client, server *connstream.Record) error {
		for _, r := range []*connstream.Record{client, server} {
			again += r.Retransmits
			if r.RTT < 20*time.Millisecond || r.Retransmits > r.SegmentsOut {
				return fmt.Errorf("round trip, segments of %+v: %w", *r, errWrong)
			}
		}
		return nil
	})
	require.NotZero(t, again, "segments sent again")
}

// needNetem skips where the kernel cannot delay packets.
func needNetem(t *testing.T) {
	t.Helper()
	testkit.NeedBuilt(t, "CONFIG_NET_SCH_NETEM")
	testkit.NeedCommand(t, "tc")
	var lack error
	inNetns(t, func(uint64) error {
		lack = netem("delay", "10ms")
		return nil
	})
	if lack != nil {
		testkit.Lack(t, testkit.Feature{Name: "netem (CONFIG_NET_SCH_NETEM)"}, lack)
	}
}

// netem has the kernel treat the loopback's packets so: tc-netem(8).
func netem(network ...string) error {
	args := append([]string{"qdisc", "add", "dev", "lo", "root", "netem"}, network...)
	if out, err := exec.Command("tc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("tc %v: %w: %s", args, err, out)
	}
	return nil
}

// meet makes eight exchanges, whose bytes must be exact, and checks the records
// of each.
func meet(tp *tape, netns uint64, x exchange, check func(client, server *connstream.Record) error) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go serve(l)
	up, down := uint64(headerSize+x.up), uint64(x.down)
	for range 8 {
		client, server, err := converse(tp, netns, l, x)
		if err != nil {
			return err
		}
		if client.Sent != up || server.Received != up || server.Sent != down || client.Received != down {
			return fmt.Errorf("bytes of %+v, %+v: %w", client, server, errWrong)
		}
		if err := check(&client, &server); err != nil {
			return err
		}
	}
	return nil
}
