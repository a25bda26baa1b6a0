package sockdiag_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Bytes are those that were sent and received, to the byte, on both ends.
func TestCounters(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			l := listen(t, "tcp", address)
			client, server := pair(t, l)
			send(t, client, server, 12_345)
			send(t, server, client, 67)
			all := dump(t)
			require.NotNil(t, listener(all, l))
			out, in := conn(all, client), conn(all, server)
			require.NotNil(t, out)
			require.NotNil(t, in)
			require.False(t, out.Incoming)
			require.True(t, in.Incoming)
			require.Equal(t, sockdiag.Established, out.State)
			require.Equal(t, []uint64{12_345, 67, 67, 12_345}, []uint64{out.Sent, out.Received, in.Sent, in.Received})
			require.NotZero(t, out.RTT)
			require.NotZero(t, out.SegmentsOut)
			require.NotEqual(t, out.Cookie, in.Cookie)
			require.Equal(t, uint32(os.Geteuid()), out.UID)

			require.NoError(t, client.(*net.TCPConn).CloseWrite())
			_, err := server.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			in = conn(dump(t), server)
			require.Equal(t, sockdiag.CloseWait, in.State)
			require.Equal(t, uint64(12_345), in.Received, "a FIN is no byte")
		})
	}
}

// A listener at [::] takes IPv4 too, unless it says no; its IPv4 connections have
// IPv4 addresses.
func TestListenersOfBothFamilies(t *testing.T) {
	both := listen(t, "tcp", "[::]:0")
	only := listen(t, "tcp6", "[::]:0")
	_, port, err := net.SplitHostPort(both.Addr().String())
	require.NoError(t, err)
	client, err := net.Dial("tcp4", "127.0.0.1:"+port)
	require.NoError(t, err)
	defer client.Close()
	server, err := both.Accept()
	require.NoError(t, err)
	defer server.Close()

	all := dump(t)
	require.False(t, listener(all, both).V6Only)
	require.True(t, listener(all, only).V6Only)
	in := conn(all, server)
	require.NotNil(t, in, "it is known by its IPv4 address")
	require.True(t, in.Local.Addr().Is4())
	require.True(t, in.Incoming)
}

// Sockets are those of the namespace that was asked for.
func TestOtherNamespace(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.InNewNetns(t, func() error {
		// This thread is in a namespace without anything; lo is down, which a
		// listener does not mind.
		l, err := net.Listen("tcp4", "0.0.0.0:12321")
		if err != nil {
			return err
		}
		defer l.Close()
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		found := make(chan error, 1)
		go func() { found <- findOnly(ns, l) }() // from a thread elsewhere
		return <-found
	})
}

func findOnly(ns *os.File, l net.Listener) error {
	for range 3 {
		all, err := sockdiag.Dump(ns, sockdiag.Options{})
		if err != nil {
			return err
		}
		if len(all.Listeners) != 1 || listener(all, l) == nil || len(all.Conns) != 0 {
			return fmt.Errorf("sockets of a namespace with one listener: %+v", all)
		}
	}
	all, err := sockdiag.Dump(nil, sockdiag.Options{ListenersOnly: true})
	if err != nil {
		return err
	}
	if listener(all, l) != nil {
		return fmt.Errorf("%v is said to be in our own namespace", l.Addr())
	}
	return nil
}

func TestLimit(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	for range 3 {
		pair(t, l)
	}
	all, err := sockdiag.Dump(nil, sockdiag.Options{MaxSockets: 2})
	require.NoError(t, err)
	require.Equal(t, 2, len(all.Listeners)+len(all.Conns))
	require.GreaterOrEqual(t, all.Dropped, 5)

	all, err = sockdiag.Dump(nil, sockdiag.Options{ListenersOnly: true})
	require.NoError(t, err)
	require.Empty(t, all.Conns)
	require.NotNil(t, listener(all, l))
}

// The cgroup is that of who made the socket, as the kernel has it.
func TestCgroup(t *testing.T) {
	testkit.NeedUnified(t)
	l := listen(t, "tcp", "127.0.0.1:0")
	client, server := pair(t, l)
	want := unifiedID(t, os.Getpid())
	all := dump(t)
	require.Equal(t, want, listener(all, l).Cgroup)
	require.Equal(t, want, conn(all, client).Cgroup)
	require.Equal(t, want, conn(all, server).Cgroup)
}

func one(pid int) func(func(int) bool) { return func(yield func(int) bool) { yield(pid) } }

func TestOwners(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	client, server := pair(t, l)
	all := dump(t)
	inodes := map[uint64]struct{}{
		0:                       {},
		listener(all, l).Inode:  {},
		conn(all, client).Inode: {},
		conn(all, server).Inode: {},
	}
	ns := namespaceOf(t, "/proc/self/ns/net")
	info, err := ns.Stat()
	require.NoError(t, err)
	search := sockdiag.Search{Proc: "/proc", Namespace: inodeOf(info)}
	found := sockdiag.Owners(search, inodes)
	require.Len(t, found.Pids, 3)
	for _, pid := range found.Pids {
		require.Equal(t, os.Getpid(), pid)
	}
	require.False(t, found.Truncated)

	search.Namespace++
	require.Empty(t, sockdiag.Owners(search, inodes).Pids, "nobody is in that namespace")
	search.Namespace, search.MaxDescriptors, search.Pids = 0, 1, one(os.Getpid())
	few := sockdiag.Owners(search, inodes)
	require.True(t, few.Truncated)
	require.Equal(t, 1, few.Descriptors)
	search.MaxDescriptors, search.Proc = 0, "/proc/"+strconv.Itoa(os.Getpid())
	require.Empty(t, sockdiag.Owners(search, inodes).Pids, "no processes there")
}
