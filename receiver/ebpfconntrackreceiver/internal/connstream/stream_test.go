package connstream_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

func TestProgramsRun(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	_, s := open(t, connstream.Options{})
	require.Equal(t, map[string]error{"on_state": nil}, s.Programs())
	s.Close()
	s.Close() // again
}

func TestProgramsOfIO(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	_, s := open(t, connstream.Options{IO: true})
	programs := s.Programs()
	require.Len(t, programs, 3)
	require.NoError(t, programs["on_state"])
	for _, name := range []string{"on_send", "on_receive"} {
		if err := programs[name]; err != nil {
			testkit.Lack(t, testkit.Feature{Name: "trace points sock_send_length and sock_recv_length", MinKernel: "6.3"}, err)
		}
	}
}

// Close hands out what was recorded before it.
func TestCloseHandsOut(t *testing.T) {
	tp, s := open(t, connstream.Options{})
	inNetns(t, func(netns uint64) error {
		if err := refuse(10); err != nil {
			return err
		}
		s.Close()
		if got := len(tp.in(netns)); got != 10 {
			return fmt.Errorf("%d records: %w", got, errWrong)
		}
		return nil
	})
}

// end and bytes of one record, as far as the test knows them before.
type told struct {
	direction      connstream.Direction
	client         netip.AddrPort // its end
	sent, received uint64
}

// Every connection has one record for each end, with the bytes that were sent
// and received.
func TestEachEndOnce(t *testing.T) {
	type way struct {
		listen, to string
		dial       func(netip.AddrPort) (net.Conn, error)
		families   [2]uint8 // of the client's and the server's socket
	}
	f := func(name string, w way) {
		t.Run(name, func(t *testing.T) {
			tp, s := open(t, connstream.Options{IO: true})
			inNetns(t, func(netns uint64) error {
				l, err := net.Listen("tcp", w.listen)
				if err != nil {
					return err
				}
				defer l.Close()
				go serve(l)
				server := netip.AddrPortFrom(netip.MustParseAddr(w.to), addrOf(l).Port())
				want, err := many(server, w.dial)
				if err != nil {
					return err
				}
				if _, err := tp.await(netns, len(want)); err != nil {
					return err
				}
				s.Close()
				return compare(tp.in(netns), want, server, w.families)
			})
			stats := s.Stats()
			require.Zero(t, stats.Malformed+stats.RingFull+stats.MapFull)
		})
	}
	f("v4", way{"127.0.0.1:0", "127.0.0.1", dial, [2]uint8{unix.AF_INET, unix.AF_INET}})
	f("v6", way{"[::1]:0", "::1", dial, [2]uint8{unix.AF_INET6, unix.AF_INET6}})
	f("v4 to v6 socket", way{"[::]:0", "127.0.0.1", dial, [2]uint8{unix.AF_INET, unix.AF_INET6}})
	f("mapped", way{"[::]:0", "127.0.0.1", dialMapped, [2]uint8{unix.AF_INET6, unix.AF_INET6}})
}

// many makes a thousand connections of different sizes and ends, and returns
// what their records must say. In short tests it is every ninth of them, so that
// all ends still occur.
func many(server netip.AddrPort, dial func(netip.AddrPort) (net.Conn, error)) ([]told, error) {
	step := uint32(1)
	if testing.Short() {
		step = 9
	}
	var want []told
	for i := uint32(0); i < 1000; i += step {
		x := exchange{up: i * 37 % 9001, down: i * 101 % 70_001, end: end(i % 4)}
		c, err := dial(server)
		if err != nil {
			return nil, err
		}
		local := c.LocalAddr().(*net.TCPAddr).AddrPort()
		local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
		if err := x.ask(c); err != nil {
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
		up, down := uint64(headerSize+x.up), uint64(x.down)
		want = append(want, told{connstream.Outgoing, local, up, down}, told{connstream.Incoming, local, down, up})
	}
	return want, nil
}

func compare(records []connstream.Record, want []told, server netip.AddrPort, families [2]uint8) error {
	left := map[told]int{} // ports may come again
	for _, w := range want {
		left[w]++
	}
	for i := range records {
		r := &records[i]
		client, other, family := r.Local, r.Remote, families[0]
		if r.Direction == connstream.Incoming {
			client, other, family = r.Remote, r.Local, families[1]
		}
		got := told{r.Direction, client, r.Sent, r.Received}
		left[got]--
		if left[got] < 0 || other != server || r.Family != family {
			return fmt.Errorf("not of server %v, family %d, or too often: %+v: %w", server, family, *r, errWrong)
		}
		if err := plausible(r); err != nil {
			return err
		}
	}
	if len(records) != len(want) {
		return fmt.Errorf("%d records, want %d: %w", len(records), len(want), errWrong)
	}
	return nil
}

// plausible looks at what the test does not know exactly.
func plausible(r *connstream.Record) error {
	switch {
	case r.PID != os.Getpid() || r.Command() != comm() || r.Cgroup == 0:
		return fmt.Errorf("not by process %d (%s): %+v: %w", os.Getpid(), comm(), *r, errWrong)
	case r.Started == 0 || r.Started > r.Established || r.Established > r.Ended:
		return fmt.Errorf("times of %+v: %w", *r, errWrong)
	case r.RTT == 0 || r.SegmentsIn == 0 || r.SegmentsOut == 0:
		return fmt.Errorf("segments of %+v: %w", *r, errWrong)
	}
	return nil
}

// comm is the command name of this process.
func comm() string {
	b, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		return err.Error()
	}
	return string(b[:len(b)-1])
}

// What was open before the stream ends with what the kernel counted, but
// without a beginning.
func TestThereBefore(t *testing.T) {
	var (
		inode  uint64
		l      net.Listener
		before net.Conn
	)
	inNetns(t, func(netns uint64) error {
		var err error
		inode = netns
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		before, err = dial(addrOf(l))
		return err
	})
	defer l.Close()
	go serve(l)
	tp, s := open(t, connstream.Options{})
	require.NoError(t, s.Seed([]connstream.Listener{{Netns: inode, Local: addrOf(l), PID: 4711, Comm: "seeded"}}))
	require.NoError(t, exchange{up: 100, down: 200}.ask(before))
	all, err := tp.await(inode, 2)
	require.NoError(t, err)
	s.Close()

	client, err := one(all, connstream.Unknown)
	require.NoError(t, err)
	require.Equal(t, [2]uint64{headerSize + 100, 200}, [2]uint64{client.Sent, client.Received})
	require.Zero(t, client.Started+client.Established)
	require.Zero(t, client.PID)
	require.NotZero(t, client.Cgroup)

	server, err := one(all, connstream.Incoming)
	require.NoError(t, err)
	require.Equal(t, [2]uint64{200, headerSize + 100}, [2]uint64{server.Sent, server.Received})
	require.Zero(t, server.Started+server.Established)
	require.Equal(t, 4711, server.PID)
	require.Equal(t, "seeded", server.Command())
	require.GreaterOrEqual(t, s.Stats().Unseen, uint64(2))
}

// More connections than are remembered are told all the same.
func TestForgotten(t *testing.T) {
	const connections = 1000
	tp, s := open(t, connstream.Options{MaxConnections: 64})
	inNetns(t, func(netns uint64) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		go serve(l)
		var all []net.Conn
		for range connections {
			c, err := dial(addrOf(l))
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		for _, c := range all {
			if err := (exchange{up: 1, down: 2}).ask(c); err != nil {
				return err
			}
		}
		records, err := tp.await(netns, 2*connections)
		if err != nil {
			return err
		}
		s.Close()
		bytes := uint64(0)
		for _, r := range records {
			bytes += r.Sent
		}
		unseen := func(r connstream.Record) bool { return r.Started == 0 }
		switch {
		case len(tp.in(netns)) != 2*connections || bytes != connections*(headerSize+1+2):
			return fmt.Errorf("%d records, %d bytes: %w", len(tp.in(netns)), bytes, errWrong)
		case !slices.ContainsFunc(records, unseen) || s.Stats().Unseen < connections:
			return fmt.Errorf("%+v: %w", s.Stats(), errWrong)
		}
		return nil
	})
}

// A reader that stalls loses records, which are counted and told: each is
// either handed out or lost.
func TestOverflow(t *testing.T) {
	const ends = 401
	all, _ := open(t, connstream.Options{}) // sees what others on this host do meanwhile
	tp, s := open(t, connstream.Options{RingBytes: 4 << 10})
	inNetns(t, func(netns uint64) error {
		hold := make(chan struct{})
		tp.mu.Lock()
		tp.hold = hold
		tp.mu.Unlock()
		if err := refuse(1); err != nil {
			return err
		}
		if _, err := tp.await(netns, 1); err != nil { // stands still now
			return err
		}
		if err := refuse(ends - 1); err != nil {
			return err
		}
		lost, err := s.KernelLost()
		if err != nil || lost == 0 {
			return fmt.Errorf("nothing lost (%v): %w", err, errWrong)
		}
		tp.mu.Lock()
		tp.hold = nil
		tp.mu.Unlock()
		close(hold)
		if _, err := all.await(netns, ends); err != nil {
			return err
		}
		if err := poll(func() error { return sumUp(tp, s, netns, ends) }); err != nil {
			return err
		}
		s.Close()
		foreign := uint64(len(all.where(func(r *connstream.Record) bool { return r.Netns != netns })))
		handed := uint64(len(tp.in(netns)))
		lost = s.Stats().RingFull
		if handed+lost < ends || handed+lost > ends+foreign || handed == 0 || tp.lost != lost {
			return fmt.Errorf("%d handed out, %d lost, %d told, of %d and at most %d of others: %w", handed, lost, tp.lost, ends, foreign, errWrong)
		}
		return nil
	})
}

func sumUp(tp *tape, s *connstream.Stream, netns uint64, want int) error {
	if got := len(tp.in(netns)) + int(s.Stats().RingFull); got < want {
		return fmt.Errorf("%d records handed out and lost: %w", got, errNotYet)
	}
	return nil
}
