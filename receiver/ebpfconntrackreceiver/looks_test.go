package ebpfconntrackreceiver

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/nat"
)

// looking is a rig of looks at this host's own namespace, without anything else.
func looking(t *testing.T, most int) (*looks, *netns.Tracker) {
	t.Helper()
	p := quietPipeline(t)
	l := newLooks(zap.NewNop(), most)
	l.owners, l.peers, l.resolver, l.table = p.owners, p.peers, p.resolver, p.table
	tracker := netns.NewTracker(netns.Options{Roots: hostfs.NewRoots("/")})
	t.Cleanup(tracker.Close)
	return l, tracker
}

func activeSum(l *looks) (n int64) {
	for _, v := range *l.active.Load() {
		n += v
	}
	return n
}

// More sockets than may be looked at are no look: what was known stays, and nothing
// is taken for ended.
func TestTooManySockets(t *testing.T) {
	to := answer(t)
	for range 8 {
		c, err := net.Dial("tcp4", to.String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		exchange(t, c, 1) // the other end is there, too
	}
	l, tracker := looking(t, 65_536)
	l.look(tracker.Refresh(), tracker.Open)
	before := activeSum(l)
	require.GreaterOrEqual(t, before, int64(16))
	l.most = 3
	l.look(tracker.Refresh(), tracker.Open)
	require.NotZero(t, l.stats.dropped.Load())
	require.Equal(t, before, activeSum(l))
}

// A client's port with a listener that has gone is no port of a server.
func TestDirectionOfOpen(t *testing.T) {
	conn := func(local, remote string, incoming bool) *sockdiag.Conn {
		return &sockdiag.Conn{Local: at(local), Remote: at(remote), State: sockdiag.Established, Incoming: incoming}
	}
	for _, c := range []struct {
		conn   *sockdiag.Conn
		answer nat.Answer
		want   edges.Direction
		isSure bool
	}{
		{conn("10.0.0.1:40000", "10.0.0.2:80", false), nat.Answer{}, edges.Outgoing, true},
		{conn("10.0.0.1:80", "10.0.0.2:40000", true), nat.Answer{}, edges.Incoming, true},
		{conn("10.0.0.1:80", "10.0.0.2:40000", false), nat.Answer{}, edges.Incoming, false},
		{conn("10.0.0.1:80", "10.0.0.2:40000", false), nat.Answer{Found: true, Origin: nat.Reply}, edges.Incoming, true},
		{conn("10.0.0.1:20000", "10.0.0.2:50051", false), nat.Answer{Found: true, Origin: nat.Original}, edges.Outgoing, true},
		{conn("10.0.0.1:20000", "10.0.0.2:50051", false), nat.Answer{}, edges.Incoming, false},
	} {
		got, isSure := directionOfOpen(c.conn, c.answer)
		require.Equal(t, c.isSure, isSure, c.conn.Local)
		require.Equal(t, c.want, got, c.conn.Local)
	}
}

// Two containers at one port, on different addresses, are not told apart by it.
func TestListenersOfOnePort(t *testing.T) {
	s := &space{inode: 5}
	l := newLooks(zap.NewNop(), 10)
	o := quietPipeline(t).owners
	s.listen(o, []sockdiag.Listener{{Local: at("0.0.0.0:80")}, {Local: at("[::]:80")}, {Local: at("127.0.0.1:81")}})
	require.False(t, s.listeners[80].isUnclear, "one owner at two addresses")
	s.listeners[81] = listener{owner: "a", isUnclear: true}
	l.spaces[5] = s
	l.publish(map[uint64]struct{}{5: {}})
	_, ok := l.listener(5, 80)
	require.True(t, ok)
	_, ok = l.listener(5, 81)
	require.False(t, ok)
}

// The ports of a process called docker-proxy are known as soon as it listens.
func TestProxyPorts(t *testing.T) {
	own, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = own.Close() })
	var st unix.Stat_t
	require.NoError(t, unix.Stat("/proc/self/ns/net", &st))
	name, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("/proc/self/comm", []byte(dockerProxy), 0))
	t.Cleanup(func() { _ = os.WriteFile("/proc/self/comm", name, 0) })

	p := &proxies{proc: "/proc", reader: procstream.NewReader(hostfs.NewRoots("/"))}
	port := uint16(own.Addr().(*net.TCPAddr).Port)
	testkit.Eventually(t, 30*time.Second, func() error {
		all, err := sockdiag.Dump(nil, sockdiag.Options{ListenersOnly: true})
		require.NoError(t, err)
		p.known = nil
		p.find(all.Listeners, st.Ino)
		if !p.mayServe(edges.Outgoing, port) {
			return fmt.Errorf("port %d is none of %v", port, p.ports)
		}
		return nil
	})
	require.True(t, p.mayServe(edges.Incoming, 40000), "it may have dialled from any port")
	require.False(t, p.mayServe(edges.Outgoing, port+1))
	p.find(nil, st.Ino)
	require.False(t, p.mayServe(edges.Incoming, 40000), "it has gone")
}

// What is not sure while it is open is counted at the end, as a whole.
func TestHeldConnection(t *testing.T) {
	s := &space{poller: sockdiag.NewPoller(), untold: map[uint64]struct{}{}}
	look := func(sent uint64) {
		require.True(t, s.poller.Compare(s.poller.Begin(time.Now()), []sockdiag.Conn{{
			Cookie: 1, Sent: sent, State: sockdiag.Established, Local: at("10.0.0.1:40000"), Remote: at("10.0.0.2:80"),
		}}, func(*sockdiag.Change, sockdiag.Event) {}))
	}
	look(100)
	look(150)
	s.hold(1)
	was, ok := s.take(1, false)
	require.True(t, ok)
	require.Equal(t, uint64(100), was.sent, "it was there before")
	require.False(t, s.isHeld(1, false))

	look(100)
	look(170)
	was, _ = s.take(1, false)
	require.Equal(t, uint64(170), was.sent, "all that was told, and what was there before")
}
