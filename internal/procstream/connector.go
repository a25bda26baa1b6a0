package procstream

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// ConnectorOptions say what a [Connector] reads and who is told.
type ConnectorOptions struct {
	// Roots.Proc is the procfs of the host: of this kernel, and of its first
	// pid namespace.
	Roots hostfs.Roots
	// UnifiedDir and MemoryDir give the directory of a cgroup, by its path as
	// /proc/PID/cgroup has it, in the unified hierarchy and in the v1 one of
	// the memory controller; anything but an absolute path means that it
	// cannot be reached. The id of the cgroup is the inode of the directory.
	// Nil where there is no such hierarchy: the ids are then 0. They are called
	// by the goroutine that calls Handle, and by OpenConnector.
	UnifiedDir, MemoryDir func(cgroupPath string) string
	// BufferBytes is the size of the receive buffer; 0 is 8 MiB, which holds
	// about 20,000 messages.
	BufferBytes int
	// MaxMessages bounds the messages of one second that are looked at, and so
	// what the stream may cost; 0 is 2000. The others are lost.
	MaxMessages int
	// Handle is called with each event, in order, by one goroutine.
	Handle func(*Event)
	// Lost is called by the same goroutine when events have been lost, once
	// for each time that the buffer was full or there were too many messages,
	// after the events from before. May be nil.
	Lost func()
}

// Connector is what the kernel's proc connector tells of processes, completed
// from /proc. It tells Forked, Executed and Exited.
//
// What is in an event was read when the event came in, a moment after it was
// sent. Of a process that had gone by then an event has what was known before:
// of one that was never read, the cgroups of its parent, a Start that may be
// one tick late, and neither VPID (0) nor, once it has replaced its program,
// Comm. Program is where the file was found, not what execve(2) was given: of a
// script it is the interpreter. Exit has the status only, CPUTime and MaxRSS
// are 0, and OOM is always false.
type Connector struct {
	o    ConnectorOptions
	conn *netlink.Conn
	done chan struct{}
	// listening: the kernel may count us among its subscribers.
	listening bool
	// closing is set before the socket is closed.
	closing atomic.Bool

	// What follows up to the counters belongs to the goroutine.
	look      look
	processes map[int]known
	// unfinished are the processes whose first thread ended before others.
	unfinished map[int]connectorMessage
	// recheckAt is when these are looked at again, also without a message.
	recheckAt time.Time
	// deadline is what the socket has.
	deadline time.Time
	// lossAt is when (CLOCK_MONOTONIC) the kernel told of a loss; 0 is never,
	// or Lost has been called since.
	lossAt time.Duration
	event  Event
	text   []byte
	budget budget

	records, malformed, overflows, forgotten, unread, shed atomic.Uint64
}

const (
	// connectorBuffer is as much as the ring buffer of a [Stream].
	connectorBuffer = 8 << 20
	// answerWithin is ample: the kernel answers before the request returns.
	answerWithin = time.Second
	// settleWithin without a message means that all from before a loss have
	// been handled.
	settleWithin = 10 * time.Millisecond
	// recheckEvery bounds how late the end of a process is told whose first
	// thread went first and whose last one was not told: one that a debugger
	// keeps.
	recheckEvery = 100 * time.Millisecond
)

// OpenConnector subscribes and reads which processes there are. A host that
// cannot do it gives an error that matches [hostfs.ErrNotSupported]. The socket
// belongs to the network namespace of the calling thread, which must be the
// host's. Close it.
func OpenConnector(o ConnectorOptions) (*Connector, error) {
	conn, err := netlink.Dial(unix.NETLINK_CONNECTOR, &netlink.Config{MessageBufferSize: os.Getpagesize()})
	if err != nil {
		return nil, explainConnector(fmt.Errorf("open proc connector: %w", err))
	}
	c := &Connector{
		o: o, conn: conn, done: make(chan struct{}),
		budget: newBudget(o.MaxMessages),
		look:   newLook(o), processes: map[int]known{}, unfinished: map[int]connectorMessage{},
	}
	if err := c.subscribe(); err != nil {
		c.unsubscribe()
		return nil, explainConnector(fmt.Errorf("subscribe to proc connector: %w", err))
	}
	c.walk()
	go c.run()
	return c, nil
}

// errNoAnswer: the request went out and nothing came back.
var errNoAnswer = errors.New("no answer")

func (c *Connector) subscribe() error {
	size := c.o.BufferBytes
	if size == 0 {
		size = connectorBuffer
	}
	// Beyond net.core.rmem_max with CAP_NET_ADMIN only, else up to it.
	if err := c.conn.SetReadBuffer(size); err != nil {
		return err
	}
	filter, err := connectorFilter()
	if err != nil {
		return err
	}
	if err := c.conn.SetBPF(filter); err != nil {
		return err
	}
	if err := c.conn.JoinGroup(connectorIndex); err != nil {
		return err
	}
	ack := rand.Uint32() // answers go to all subscribers; this one is ours
	if err := c.request(connectorListen, ack); err != nil {
		return err
	}
	c.listening = true
	return c.awaitAnswer(ack + 1)
}

// request sends an operation; connector messages have the type NLMSG_DONE
// (drivers/connector/connector.c).
func (c *Connector) request(operation, ack uint32) error {
	_, err := c.conn.Send(netlink.Message{
		Header: netlink.Header{Type: netlink.Done}, Data: connectorRequest(operation, ack),
	})
	return err
}

// awaitAnswer reads until the kernel's answer. Events before it are of somebody
// else's subscription: they come to all in the group, also where ours is
// ignored, and prove nothing.
func (c *Connector) awaitAnswer(ack uint32) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	for {
		messages, err := c.conn.Receive()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errNoAnswer
		}
		if errors.Is(err, unix.ENOBUFS) {
			continue
		}
		if err != nil {
			return err
		}
		for _, message := range messages {
			m, err := parseConnectorMessage(message.Data)
			if err != nil || m.kind != connectorAck || m.ack != ack {
				continue
			}
			if m.errno != 0 {
				c.listening = false
				return m.errno
			}
			return c.conn.SetReadDeadline(time.Time{})
		}
	}
}

// unsubscribe tells the kernel, which counts its subscribers, does not see by
// itself that one has gone, and would go on making messages for nobody. Who was
// not counted must not do it: that would end the subscription of another one
// (before Linux 6.6).
func (c *Connector) unsubscribe() {
	if c.listening {
		_ = c.request(connectorIgnore, 0)
	}
	_ = c.conn.Close()
}

// Close stops the stream; Handle is not called any more when it returns. It is
// safe to call twice, but not from Handle or Lost.
func (c *Connector) Close() {
	if c.closing.CompareAndSwap(false, true) {
		c.unsubscribe()
	}
	<-c.done
}

// Stats returns the figures so far. Dropped counts, as "connector_overflow",
// how often the receive buffer was full (how many events were lost with it the
// kernel does not say), and as "connector_table" the processes that were not
// remembered because there were too many: their events have only what /proc
// still says; and as "connector_budget" the events that were not looked at because
// there were too many in that second. It is safe for concurrent use.
func (c *Connector) Stats() StreamStats {
	return StreamStats{
		Records: c.records.Load(), Malformed: c.malformed.Load(),
		Dropped: map[string]uint64{
			"connector_overflow": c.overflows.Load(),
			"connector_table":    c.forgotten.Load(),
			"connector_budget":   c.shed.Load(),
		},
	}
}

// Unread is the number of forks and execs whose process had gone before it
// could be read. It is safe for concurrent use.
func (c *Connector) Unread() uint64 { return c.unread.Load() }

// run handles messages until the socket is closed.
func (c *Connector) run() {
	defer close(c.done)
	for {
		c.setDeadline()
		messages, err := c.conn.Receive()
		switch {
		case c.closing.Load():
			return
		case err == nil:
			for i := range messages {
				c.handle(messages[i].Data)
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.idle()
		default: // ENOBUFS, or another reason to doubt that all is told
			c.lossBegins()
		}
	}
}

// setDeadline says when to stop waiting for a message.
func (c *Connector) setDeadline() {
	var at time.Time // never
	switch {
	case c.lossAt != 0:
		at = time.Now().Add(settleWithin)
	case c.budget.overdrawn:
		at = c.budget.renewed.Add(budgetPeriod)
	case len(c.unfinished) > 0:
		at = c.recheckAt
	}
	if at != c.deadline {
		_ = c.conn.SetReadDeadline(at) // an error is one of Receive, too
		c.deadline = at
	}
}

func (c *Connector) idle() {
	if c.lossAt != 0 || c.budget.overdrawn {
		c.budget.overdrawn = false
		c.tellLoss()
		return
	}
	c.recheck()
}

// lossBegins: the kernel says so at once, but events from before the loss are
// still in the buffer. It takes no new ones until that is empty
// (net/netlink/af_netlink.c: NETLINK_S_CONGESTED), so a later one marks the end.
func (c *Connector) lossBegins() {
	c.overflows.Add(1)
	if c.lossAt == 0 {
		c.lossAt = clock(unix.CLOCK_MONOTONIC)
	}
}

// tellLoss starts anew: what is known may be of processes that have gone.
func (c *Connector) tellLoss() {
	c.lossAt = 0
	clear(c.processes)
	c.walk()
	c.recheck()
	if c.o.Lost != nil {
		c.o.Lost()
	}
}

func (c *Connector) handle(data []byte) {
	m, err := parseConnectorMessage(data)
	if err != nil {
		c.malformed.Add(1)
		return
	}
	if c.lossAt != 0 && m.at > c.lossAt || c.budget.renew(time.Now()) {
		c.tellLoss()
	}
	if !c.budget.take() {
		c.shed.Add(1)
		return
	}
	m.at = c.look.sinceBoot(m.at)
	switch {
	case m.kind == connectorFork && m.tid == m.pid:
		c.forked(m)
	case m.kind == connectorExec:
		c.executed(m)
	case m.kind == connectorExit && m.tid == m.pid:
		c.firstThreadEnded(m)
	case m.kind == connectorExit:
		c.threadEnded(m)
	}
}

func clock(id int32) time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(id, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// Inodes of the first namespaces: enum in include/linux/proc_ns.h, since Linux
// 6.18 in include/uapi/linux/nsfs.h.
const (
	firstUserNS = "user:[4026531837]"
	firstPIDNS  = "pid:[4026531836]"
)

// explainConnector turns what tells that this host cannot do it into a
// [hostfs.NotSupportedError].
func explainConnector(err error) error {
	remedy := ""
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		remedy = "needs a kernel with CONFIG_CONNECTOR and CONFIG_PROC_EVENTS"
	case errors.Is(err, unix.ECONNREFUSED):
		remedy = "needs the host's network namespace: hostNetwork, network_mode: host"
	case errors.Is(err, unix.EPERM):
		remedy = "needs CAP_NET_ADMIN in the host's network namespace"
	case errors.Is(err, errNoAnswer):
		remedy = whyNoAnswer(ownNamespace("user"), ownNamespace("pid"))
	default:
		return err
	}
	return &hostfs.NotSupportedError{Feature: "proc connector", Remedy: remedy, Err: err}
}

// whyNoAnswer: the kernel leaves requests from other namespaces unanswered
// (cn_proc_mcast_ctl in drivers/connector/cn_proc.c).
func whyNoAnswer(user, pid string) string {
	switch {
	case user != firstUserNS:
		return "needs the host's user namespace: no rootless engine, no user remapping"
	case pid != firstPIDNS:
		return "needs the host's pid namespace: hostPID, pid: host"
	}
	return "needs a kernel with CONFIG_PROC_EVENTS: this one does not answer"
}

func ownNamespace(kind string) string {
	link, err := os.Readlink(filepath.Join("/proc/self/ns", kind))
	if err != nil {
		return ""
	}
	return link
}
