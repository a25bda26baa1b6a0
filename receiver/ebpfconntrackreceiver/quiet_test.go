package ebpfconntrackreceiver

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// A real container that sleeps is looked at once in six times. Who listens there is
// known at the next look, and so is a connection that its own process has not even
// accepted; while there is one, all looks are made.
func TestQuietNamespace(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "unshare", "ip")
	r := startRig(t, nil)
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	group := testkit.Cgroup(t, "/tallyman-test-quiet/"+hex.EncodeToString(raw))
	cmd := testkit.Run(t, group, "unshare", "-n", "sh", "-c", "ip link set lo up; exec sleep 600")
	inode, l := uint64(0), r.server.looks
	testkit.Eventually(t, time.Minute, func() error {
		info, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
		require.NoError(t, err)
		if inode = info.Sys().(*syscall.Stat_t).Ino; inode == l.own {
			return errors.New("it has no namespace of its own yet")
		}
		return nil
	})
	skips := func(n uint64) {
		t.Helper()
		from := l.stats.skipped.Load()
		testkit.Eventually(t, time.Minute, func() error {
			if now := l.stats.skipped.Load(); now < from+n {
				return fmt.Errorf("%d looks were left out", now-from)
			}
			return nil
		})
	}
	skips(7) // a look in between was made
	var server net.Listener
	testkit.InNetns(t, cmd.Process.Pid, func() (err error) {
		server, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	})
	defer server.Close()
	port := uint16(server.Addr().(*net.TCPAddr).Port)
	testkit.Eventually(t, time.Minute, func() error {
		if _, ok := (*l.listeners.Load())[listenerKey{inode, port}]; !ok {
			return errors.New("nobody listens")
		}
		return nil
	})
	skips(1)
	testkit.InNetns(t, cmd.Process.Pid, func() error {
		c, err := net.Dial("tcp4", server.Addr().String())
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		return err
	})
	testkit.Eventually(t, time.Minute, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if n := l.spaces[inode].poller.Len(); n != 2 {
			return fmt.Errorf("%d ends of the connection", n)
		}
		return nil
	})
}

// Each of the things that a look would find forbids to leave it out.
func TestIsQuiet(t *testing.T) {
	l := newLooks(zap.NewNop(), 10)
	s := l.space(&netns.Namespace{Inode: 6}) // 6: the first of six is left out
	calm := netns.Activity{IsKnown: true, CPU: 1, Sockets: 1}
	require.False(t, s.isQuiet(netns.Activity{}), "nothing is known")
	require.False(t, s.isQuiet(calm), "there was no look")
	s.activity = calm
	for _, other := range []netns.Activity{{IsKnown: true, CPU: 2, Sockets: 1}, {IsKnown: true, CPU: 1, Sockets: 2}, {CPU: 1, Sockets: 1}} {
		require.False(t, s.isQuiet(other))
	}
	for range 3 {
		for range maxSkipped {
			require.True(t, s.isQuiet(calm))
		}
		require.False(t, s.isQuiet(calm), "now and then there is one")
	}
	s.active[activeKey{}] = 1
	require.False(t, s.isQuiet(calm))
}
