package connstream_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// patience covers a busy machine; what is waited for takes a tenth of a second.
const patience = 30 * time.Second

// tape remembers all records of a stream.
type tape struct {
	mu      sync.Mutex
	records []connstream.Record
	lost    uint64
	hold    chan struct{} // if set, stops the stream until it is closed
}

func (tp *tape) handle(batch []connstream.Record) {
	tp.mu.Lock()
	hold := tp.hold
	tp.records = append(tp.records, batch...)
	tp.mu.Unlock()
	if hold != nil {
		<-hold
	}
}

func (tp *tape) loss(n uint64) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.lost += n
}

// in returns the records of a network namespace.
func (tp *tape) in(netns uint64) []connstream.Record {
	return tp.where(func(r *connstream.Record) bool { return r.Netns == netns })
}

func (tp *tape) where(wanted func(*connstream.Record) bool) []connstream.Record {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	var own []connstream.Record
	for i := range tp.records {
		if wanted(&tp.records[i]) {
			own = append(own, tp.records[i])
		}
	}
	return own
}

// await waits for n records of a network namespace.
func (tp *tape) await(netns uint64, n int) ([]connstream.Record, error) {
	err := poll(func() error {
		if got := len(tp.in(netns)); got < n {
			return fmt.Errorf("%d records, want %d: %w", got, n, errNotYet)
		}
		return nil
	})
	return tp.in(netns), err
}

var (
	errNotYet = errors.New("not yet")
	errWrong  = errors.New("wrong")
)

func poll(condition func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return testkit.Poll(ctx, condition)
}

func open(t testing.TB, o connstream.Options) (*tape, *connstream.Stream) {
	t.Helper()
	testkit.NeedBPF(t)
	tp, s, err := start(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return tp, s
}

// start is open for where a test cannot be ended. Close the stream.
func start(o connstream.Options) (*tape, *connstream.Stream, error) {
	tp := &tape{}
	o.Handle, o.Lost = tp.handle, tp.loss
	s, err := connstream.Open(o)
	return tp, s, err
}

// inNetns runs f in a network namespace of its own, whose loopback is up.
func inNetns(t testing.TB, f func(netns uint64) error) {
	t.Helper()
	testkit.InNewNetns(t, func() error {
		if err := loopbackUp(); err != nil {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Stat("/proc/thread-self/ns/net", &stat); err != nil {
			return err
		}
		return f(stat.Ino)
	})
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// exchange is what one connection carries, and who ends it.
type exchange struct {
	up, down uint32 // bytes, besides the header
	end      end
}

type end uint32

// The client says that it has sent everything, and is answered then; or it
// leaves when it has the answer; or the server does.
const (
	endHalf end = iota
	endClient
	endServer
	endReset // the client leaves without saying so
)

const headerSize = 12

// ask is the client's part. The connection is closed.
func (x exchange) ask(c net.Conn) error {
	defer c.Close()
	header := binary.LittleEndian.AppendUint32(nil, x.up)
	header = binary.LittleEndian.AppendUint32(header, x.down)
	header = binary.LittleEndian.AppendUint32(header, uint32(x.end))
	if _, err := c.Write(append(header, make([]byte, x.up)...)); err != nil {
		return err
	}
	if x.end == endHalf {
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
	}
	if _, err := io.ReadFull(c, make([]byte, x.down)); err != nil {
		return err
	}
	switch x.end {
	case endReset:
		return c.(*net.TCPConn).SetLinger(0)
	case endClient:
		return nil
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("%d bytes more, %v: %w", n, err, errWrong)
	}
	return nil
}

// serve answers connections until the listener is closed.
func serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go answer(c)
	}
}

// answer is the server's part. What goes wrong is seen by the client, or in
// the records.
func answer(c net.Conn) {
	defer c.Close()
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(c, header); err != nil {
		return
	}
	up, down := binary.LittleEndian.Uint32(header), binary.LittleEndian.Uint32(header[4:])
	if _, err := io.CopyN(io.Discard, c, int64(up)); err != nil {
		return
	}
	how := end(binary.LittleEndian.Uint32(header[8:]))
	if how == endHalf {
		if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			return
		}
	}
	if _, err := c.Write(make([]byte, down)); err != nil {
		return
	}
	if how == endClient || how == endReset {
		_, _ = c.Read(make([]byte, 1))
	}
}

// dialMapped connects an IPv6 socket to an IPv4 address.
func dialMapped(to netip.AddrPort) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "mapped")
	defer file.Close() // net.FileConn has its own
	if err := unix.Connect(fd, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}); err != nil {
		return nil, err
	}
	return net.FileConn(file)
}

// dial connects; who listens at all addresses is reached at 127.0.0.1.
func dial(to netip.AddrPort) (net.Conn, error) {
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port())
	}
	return net.Dial("tcp", to.String())
}

func addrOf(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

// one asserts that there is exactly one record of a direction.
func one(records []connstream.Record, d connstream.Direction) (connstream.Record, error) {
	others := func(r connstream.Record) bool { return r.Direction != d }
	got := slices.DeleteFunc(slices.Clone(records), others)
	if len(got) != 1 {
		return connstream.Record{}, fmt.Errorf("%d records of direction %d in %+v: %w", len(got), d, records, errWrong)
	}
	return got[0], nil
}

// converse makes one exchange with a server of its own at an address, and
// returns the records of both ends.
func converse(tp *tape, netns uint64, l net.Listener, x exchange) (client, server connstream.Record, err error) {
	before := len(tp.in(netns))
	c, err := dial(addrOf(l))
	if err != nil {
		return client, server, err
	}
	if err := x.ask(c); err != nil {
		return client, server, err
	}
	all, err := tp.await(netns, before+2)
	if err != nil {
		return client, server, err
	}
	client, errClient := one(all[before:], connstream.Outgoing)
	server, errServer := one(all[before:], connstream.Incoming)
	return client, server, errors.Join(errClient, errServer)
}

// refuse makes connections that are refused.
func refuse(n int) error {
	for range n {
		c, err := net.Dial("tcp", "127.0.0.1:1")
		if err == nil {
			return errors.Join(c.Close(), errWrong)
		}
		if !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
	}
	return nil
}
