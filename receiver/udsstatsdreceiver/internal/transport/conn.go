package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// lastBytes bounds what is read of a connection after the end has come: more than
// a sender's buffer (net.core.wmem_max, 212,992 bytes by default) was sent later.
const lastBytes = 1 << 20

// peerOf asks the kernel who has connected.
func peerOf(conn *net.UnixConn, pidFD bool) (Peer, error) {
	peer := Peer{PidFD: -1}
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer, fmt.Errorf("ask for peer: %w", err)
	}
	var asked error
	err = raw.Control(func(fd uintptr) {
		credentials, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			asked = err
			return
		}
		peer.PID, peer.UID = int(credentials.Pid), credentials.Uid
		if !pidFD {
			return
		}
		// Refused for a process that has gone, before Linux 6.16.
		if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD); err == nil {
			peer.PidFD = n
		}
	})
	if err := errors.Join(err, asked); err != nil {
		return peer, fmt.Errorf("ask for peer: %w", err)
	}
	return peer, nil
}

func (p *Peer) close() {
	if p.PidFD >= 0 {
		_ = unix.Close(p.PidFD)
	}
	p.PidFD = -1
}

// connReader reads from a connection: with a deadline, and after the end of the
// context what has been sent by then.
type connReader struct {
	ctx  context.Context
	conn *net.UnixConn
	idle time.Duration
	// left is how many bytes are read after the end of the context.
	left int
}

// Read implements io.Reader.
func (r *connReader) Read(b []byte) (int, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(r.idle)); err != nil {
		return 0, err
	}
	// Asked after the deadline is set: an end from now on sets its own.
	if r.ctx.Err() == nil {
		return r.conn.Read(b)
	}
	return r.readLeft(b)
}

func (r *connReader) readLeft(b []byte) (int, error) {
	raw, err := r.conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	n, read := 0, io.EOF
	err = raw.Control(func(fd uintptr) {
		n, _, read = unix.Recvfrom(int(fd), b[:min(len(b), r.left)], unix.MSG_DONTWAIT)
	})
	if err != nil {
		return 0, err
	}
	if read != nil || n == 0 { // EAGAIN, or the peer's end
		return 0, io.EOF
	}
	r.left -= n
	return n, nil
}
