package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// ErrIdle says that nothing came in over a connection for too long.
var ErrIdle = errors.New("connection idle")

// StreamOptions say what [ListenStream] makes.
type StreamOptions struct {
	// Path is absolute, in a directory that exists.
	Path string
	// Mode are the permissions of the file. Senders need to write; 0 means 0722.
	Mode fs.FileMode
	// PidFDs asks for a descriptor of the process of each connection.
	PidFDs bool
	// IdleTimeout ends a connection without traffic; 0 means 5 minutes.
	IdleTimeout time.Duration
	// Store keeps the socket over a restart, under the Name; nil does not.
	// Connections end nevertheless.
	Store *Store
	// Name is unique in the Store: up to 255 ASCII characters, no colon.
	Name string
}

// Peer is the process that connected, which is not always the one that sends:
// children inherit connections.
type Peer struct {
	// PID is 0 if our pid namespace does not show the process.
	PID int
	// UID is the user.
	UID uint32
	// PidFD is -1 without. It is closed with the connection; who wants it for
	// longer sets it to -1 and closes it.
	PidFD int
}

// Session is what becomes of a connection. Its functions are called by one
// goroutine, one after the other; those of several connections at the same time.
type Session struct {
	// Frame is called with the content of each frame, valid until it returns.
	Frame func(payload []byte)
	// Counts is told what was wrong with the stream; to be read in End. May be nil.
	Counts *dogstatsd.Counts
	// End is called once: with nil if the peer or the end of [Listener.Run] ended
	// the connection between two frames, else with [ErrIdle], or what
	// [dogstatsd.Frames.Next] said. May be nil.
	End func(reason error)
}

// StreamStats count since the start.
type StreamStats struct {
	// Accepted and Refused connections.
	Accepted, Refused uint64
	// Open connections, at the moment.
	Open int64
	// Frames that were handed over.
	Frames uint64
}

const (
	// defaultIdle is as long as a metric is remembered that nobody sends. Clients
	// send their own telemetry every 10 s.
	defaultIdle = 5 * time.Minute
	// backlog is how many connections wait; the kernel allows net.core.somaxconn,
	// 4096 by default, and more than 128 starting at once is no usual host.
	backlog = 128
	// retryAfter is for a process or host without free descriptors: they come
	// back when connections end.
	retryAfter = 100 * time.Millisecond
)

// Listener is a bound socket for connections. Close it.
type Listener struct {
	place
	runs
	report Report
	idle   time.Duration

	accepted, refused, frames atomic.Uint64
	open                      atomic.Int64
}

// ListenStream takes the socket that was kept under the options' name, or makes
// one, under the rules of [ListenUnix].
func ListenStream(o StreamOptions) (*Listener, error) {
	if o.Mode == 0 {
		o.Mode = defaultMode
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = defaultIdle
	}
	l := &Listener{place: place{path: o.Path, name: o.Name}, idle: o.IdleTimeout}
	l.fd, l.report.NotRestored = o.Store.restore(o.Name, o.Path, unix.SOCK_STREAM)
	var err error
	if l.fd >= 0 {
		l.report.Restored = true
		err = setMode(o.Path, o.Mode)
	} else {
		err = l.make(o)
	}
	if err == nil {
		l.file, err = inodeOf(o.Path)
	}
	if err != nil {
		l.abandon()
		return nil, err
	}
	l.report.PidFDs = o.PidFDs
	l.keeper, l.report.NotKept = o.Store.keep(o.Name, l.fd)
	return l, nil
}

func (l *Listener) make(o StreamOptions) error {
	if err := claim(o.Path, unix.SOCK_STREAM); err != nil {
		return err
	}
	var err error
	if l.fd, err = newSocket(unix.SOCK_STREAM); err != nil {
		return err
	}
	refuseRights(l.fd)
	return publish(l.fd, unix.SOCK_STREAM, o.Path, o.Mode)
}

// Report tells what the listener has; Depth is none of it.
func (l *Listener) Report() Report { return l.report }

// Stats returns the counters of all Runs.
func (l *Listener) Stats() StreamStats {
	return StreamStats{
		Accepted: l.accepted.Load(), Refused: l.refused.Load(),
		Open: l.open.Load(), Frames: l.frames.Load(),
	}
}

// Close ends every Run, and with it all connections, and waits for it. A socket
// that is kept stays as it is; any other is closed, and its file removed. A
// second call does nothing.
func (l *Listener) Close() error {
	if !l.endAll() {
		return nil
	}
	return l.leave()
}

// Run accepts connections until the context ends or the listener is closed, which
// are no errors, and returns when all of them have ended. Admit is called for
// each, one at a time, from this goroutine; it may refuse. What admitted peers have
// sent when the end comes is handed over still.
func (l *Listener) Run(ctx context.Context, admit func(*Peer) (Session, bool)) error {
	ctx, end, err := l.begin(ctx)
	if err != nil {
		return fmt.Errorf("accept connections: %w", err)
	}
	defer end()
	listener, err := l.accepting()
	if err != nil {
		return fmt.Errorf("accept connections: %w", err)
	}
	defer listener.Close()
	// An end by an error must end the connections too.
	ctx, cancel := context.WithCancel(ctx)
	connections := connections{l: l, ctx: ctx, admit: admit}
	defer connections.group.Wait()
	defer cancel()
	// Of this very context: one above it ends a moment earlier, and the error of
	// Accept would not be known as the end.
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.AcceptUnix()
		switch {
		case err == nil:
			connections.start(conn)
		case ctx.Err() != nil:
			return nil
		case isShortage(err):
			pause(ctx, retryAfter)
		default:
			return fmt.Errorf("accept connections: %w", err)
		}
	}
}

// accepting returns a copy of the socket that is in Go's poller.
func (l *Listener) accepting() (*net.UnixListener, error) {
	fd, err := unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), l.path)
	defer file.Close() // FileListener has a copy of its own
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	// The type is that of the socket, which restore and make have seen to.
	return listener.(*net.UnixListener), nil
}

func isShortage(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) ||
		errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// connections are those of one Run.
type connections struct {
	l     *Listener
	ctx   context.Context
	admit func(*Peer) (Session, bool)
	group sync.WaitGroup
}

func (c *connections) start(conn *net.UnixConn) {
	peer, err := peerOf(conn, c.l.report.PidFDs)
	session, ok := Session{}, false
	if err == nil {
		session, ok = c.admit(&peer)
	}
	if !ok {
		c.l.refused.Add(1)
		peer.close()
		_ = conn.Close()
		return
	}
	c.l.accepted.Add(1)
	c.l.open.Add(1)
	c.group.Go(func() {
		defer c.l.open.Add(-1)
		defer peer.close()
		defer conn.Close()
		reason := c.l.serve(c.ctx, conn, session)
		if session.End != nil {
			session.End(reason)
		}
	})
}

// serve hands over frames until there are no more, and returns why.
func (l *Listener) serve(ctx context.Context, conn *net.UnixConn, session Session) error {
	reader := &connReader{ctx: ctx, conn: conn, idle: l.idle, left: lastBytes}
	// Any time in the past wakes a waiting Read.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	counts := session.Counts
	if counts == nil {
		counts = &dogstatsd.Counts{}
	}
	frames := dogstatsd.NewFrames(reader, counts)
	for {
		payload, err := frames.Next()
		switch {
		case err == nil:
			l.frames.Add(1)
			session.Frame(payload)
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			if frames.Pending() > 0 {
				counts.Add(dogstatsd.FramePartial, 1)
			}
			return ErrIdle
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Woken for the end: what is there is read without waiting.
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}
