package testkit

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/ownthread"
)

// StillNet is a network with a loopback and nothing else, for programs that take
// every interface that comes or goes for a new network: a browser ends all requests
// then, those to the loopback too (net::ERR_NETWORK_CHANGED), and the containers of
// other tests bring and take interfaces all the time.
//
// Its methods may be called from any goroutine.
type StillNet struct {
	ns *os.File // nil: the network of the host

	mu        sync.Mutex
	listeners map[string]net.Listener // by address
	conns     map[net.Conn]struct{}
	isClosed  bool
	wg        sync.WaitGroup
}

// NewStillNet makes one that lives as long as the test. Without root there is none:
// programs run in the network of the host then, and all else works.
func NewStillNet(t testing.TB) *StillNet {
	t.Helper()
	n := &StillNet{listeners: map[string]net.Listener{}, conns: map[net.Conn]struct{}{}}
	if os.Geteuid() != 0 {
		return n
	}
	InNewNetns(t, func() error {
		var err error
		if n.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return Up("lo")
	})
	t.Cleanup(n.close)
	return n
}

// Enter has a command that is not started yet run in the network. It ends with the
// test process.
func (n *StillNet) Enter(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if n.ns == nil {
		return
	}
	// Of util-linux, which Debian always has; it hands all descriptors on.
	const enter = "/usr/bin/nsenter"
	into := fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), n.ns.Fd())
	cmd.Args = append([]string{enter, into, "--", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = enter
}

// Reach makes a TCP address of the host's loopback ("127.0.0.1:9480") one of the
// network, until the test ends. A second time changes nothing.
func (n *StillNet) Reach(address string) error {
	if n.ns == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[address] != nil || n.isClosed {
		return nil
	}
	var listener net.Listener
	var err error
	ownthread.Do(func() {
		if err = unix.Setns(int(n.ns.Fd()), unix.CLONE_NEWNET); err == nil {
			listener, err = net.Listen("tcp", address)
		}
	})
	if err != nil {
		return fmt.Errorf("reach %s: %w", address, err)
	}
	n.listeners[address] = listener
	n.wg.Go(func() { n.accept(listener, address) })
	return nil
}

func (n *StillNet) accept(listener net.Listener, address string) {
	for {
		inside, err := listener.Accept()
		if err != nil {
			return // closed
		}
		if !n.keep(inside) {
			return
		}
		n.wg.Go(func() {
			defer n.drop(inside)
			n.relay(inside, address)
		})
	}
}

// relay carries bytes both ways until both sides have ended, or one is broken. Where
// nobody listens, the connection ends without an answer.
func (n *StillNet) relay(inside net.Conn, address string) {
	outside, err := net.Dial("tcp", address)
	if err != nil || !n.keep(outside) {
		return
	}
	defer n.drop(outside)
	var both sync.WaitGroup
	carry := func(to, from net.Conn) {
		// A plain reader, not a connection: splice(2) keeps its pipes for the next copy,
		// and leak checks find them.
		_, err := io.Copy(to, struct{ io.Reader }{from})
		if err == nil && to.(*net.TCPConn).CloseWrite() == nil {
			return
		}
		to.Close()
		from.Close()
	}
	both.Go(func() { carry(outside, inside) })
	both.Go(func() { carry(inside, outside) })
	both.Wait()
}

// keep notes a connection that is to end with the network. False: it has ended.
func (n *StillNet) keep(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isClosed {
		c.Close()
		return false
	}
	n.conns[c] = struct{}{}
	return true
}

func (n *StillNet) drop(c net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c.Close()
	delete(n.conns, c)
}

func (n *StillNet) close() {
	n.mu.Lock()
	n.isClosed = true
	for _, listener := range n.listeners {
		listener.Close()
	}
	for c := range n.conns {
		c.Close()
	}
	n.mu.Unlock()
	n.wg.Wait()
	n.ns.Close()
}
