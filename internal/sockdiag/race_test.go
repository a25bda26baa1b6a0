package sockdiag_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// enough connections are closed while dumps follow each other for several of them to
// be read at that very moment: 2000 gave about 100 (AMD EPYC, 2 cores, Linux 6.18).
const enough = 2000

// closing is a namespace in which connections are closed all the time.
type closing struct {
	ns     *os.File
	poller *sockdiag.Poller
	isOver atomic.Bool
	// tooMany counts the sockets that a dump had with a byte too many.
	tooMany int

	mu      sync.Mutex        // guards what follows
	payload map[uint64]uint64 // by cookie: what the socket will receive
	sums    map[uint64]uint64 // by cookie: what was told
}

// Real connections are closed while a poller looks at them again and again: at no
// time it has told more than they received, and with news of their end just that.
func TestFinDuringRealDump(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.InNewNetns(t, func() error {
		// The kernel's table of connections is the shorter the less time is between
		// two looks at one of them. Before 6.1 it is the same for all namespaces.
		longTable := os.WriteFile("/proc/sys/net/ipv4/tcp_child_ehash_entries", []byte("64"), 0)
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := testkit.Up("lo"); err != nil {
			return err
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		c := &closing{
			ns: ns, poller: sockdiag.NewPatientPoller(time.Hour),
			payload: map[uint64]uint64{}, sums: map[uint64]uint64{},
		}
		looked := make(chan error, 1)
		go func() { looked <- c.look() }()
		err = c.talk(t)
		c.isOver.Store(true)
		if lookErr := <-looked; err == nil {
			err = lookErr
		}
		t.Logf("%d sockets were read with a byte too many", c.tooMany)
		if err == nil && c.tooMany == 0 && longTable == nil {
			err = fmt.Errorf("no socket of %d was read just when its FIN came", 2*enough)
		}
		return err
	})
}

// look looks until it is over.
func (c *closing) look() error {
	for !c.isOver.Load() {
		begun := c.poller.Begin(time.Now())
		all, err := sockdiag.Dump(c.ns, sockdiag.Options{})
		if err != nil {
			return err
		}
		c.poller.Compare(begun, all.Conns, func(change *sockdiag.Change, _ sockdiag.Event) {
			if noteErr := c.note(change); err == nil {
				err = noteErr
			}
		})
		c.count(all.Conns)
		if err != nil {
			return err
		}
	}
	return nil
}

// note adds up what is told.
func (c *closing) note(change *sockdiag.Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sums[change.Cookie] += change.ReceivedSince
	all, isKnown := c.payload[change.Cookie]
	if told := change.ReceivedBefore + c.sums[change.Cookie]; isKnown && told > all {
		return fmt.Errorf("%d of %d bytes were told: %+v", told, all, change)
	}
	return nil
}

// count counts what would be told without a poller's care.
func (c *closing) count(conns []sockdiag.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range conns {
		if all, isKnown := c.payload[conns[i].Cookie]; isKnown && conns[i].Received > all {
			c.tooMany++
		}
	}
}

// talk opens connections and closes them, in the namespace of the calling thread.
func (c *closing) talk(t *testing.T) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	random := rand.New(rand.NewPCG(3, 4))
	for range enough {
		client, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			return err
		}
		server, err := l.Accept()
		if err != nil {
			_ = client.Close()
			return err
		}
		err = c.exchange(t, client.(*net.TCPConn), server.(*net.TCPConn), random)
		_, _ = client.Close(), server.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// exchange has each end receive some bytes and a FIN, and tells of both ends.
func (c *closing) exchange(t *testing.T, client, server *net.TCPConn, random *rand.Rand) error {
	ends := []*net.TCPConn{client, server}
	for i, to := range ends {
		cookie, bytes := cookieOf(t, to), 1+random.Uint64N(3)
		c.mu.Lock()
		c.payload[cookie] = bytes
		c.mu.Unlock()
		if _, err := ends[1-i].Write(make([]byte, bytes)); err != nil {
			return err
		}
	}
	for range random.IntN(3) {
		runtime.Gosched() // now and then there is a look in between
	}
	for i, to := range ends {
		if err := ends[1-i].CloseWrite(); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, to); err != nil {
			return err
		}
	}
	for _, end := range ends {
		if err := c.settle(cookieOf(t, end)); err != nil {
			return err
		}
	}
	return nil
}

// settle is the news of an end.
func (c *closing) settle(cookie uint64) error {
	change, _ := c.poller.Forget(cookie)
	c.mu.Lock()
	defer c.mu.Unlock()
	told, all := change.Received-change.ReceivedBefore, c.payload[cookie]
	if told != c.sums[cookie] || change.Received > all {
		return fmt.Errorf("%d of %d bytes were told of %+v", c.sums[cookie], all, change)
	}
	return nil
}
