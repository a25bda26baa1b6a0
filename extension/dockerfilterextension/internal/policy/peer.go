package policy

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Peer is the process that called connect on a Unix connection, as the kernel
// remembers it. It keeps a descriptor: close it. Not safe for concurrent use.
type Peer struct {
	// PID is 0 for a process that our pid namespace cannot see.
	PID int
	// UID and GID are those at connect, as our user namespace numbers them.
	UID, GID uint32

	pidfd int    // -1 without one
	start uint64 // without a pidfd: ticks since boot, as in /proc/PID/stat
	gone  bool   // it was already dead
}

// Peer asks the kernel who connected. The error is about the socket: a peer
// that is dead or out of sight is no error, but will not be identified.
//
// Call it right after accept. Before kernel 6.5 the process is pinned by its
// start time from here on, and a process that started later than this call is
// not the one that connected; a number that was used again between connect and
// this call is not noticed there.
func (i *Identifier) Peer(conn *net.UnixConn) (*Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("look at peer: %w", err)
	}
	var p *Peer
	var askErr error
	err = raw.Control(func(fd uintptr) { p, askErr = i.ask(int(fd)) })
	if err = errors.Join(err, askErr); err != nil {
		return nil, fmt.Errorf("look at peer: %w", err)
	}
	return p, nil
}

func (i *Identifier) ask(fd int) (*Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, fmt.Errorf("read SO_PEERCRED: %w", err)
	}
	p := &Peer{PID: int(cred.Pid), UID: cred.Uid, GID: cred.Gid, pidfd: -1}
	if p.PID <= 0 {
		p.PID = 0
		return p, nil
	}
	if i.withoutPidfd {
		return p, i.pinByStart(p)
	}
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch {
	case err == nil:
		p.pidfd = pidfd
	case errors.Is(err, unix.ENOPROTOOPT):
		return p, i.pinByStart(p)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return nil, fmt.Errorf("read SO_PEERPIDFD: %w", err)
	default:
		// ESRCH or EINVAL, by release: the kernel has no such process any
		// more. From 6.16 on it gives a descriptor even then.
		p.gone = true
	}
	return p, nil
}

// pinByStart remembers which process has the number now.
func (i *Identifier) pinByStart(p *Peer) error {
	now, err := ticksSinceBoot()
	if err != nil {
		return err
	}
	stat, err := i.stat(p.PID)
	p.gone = err != nil || stat.Ended || stat.Start > now
	p.start = stat.Start
	return nil
}

// ticksSinceBoot is now in the unit and on the clock of the start times in
// /proc/PID/stat: USER_HZ, 10 ms on every architecture Go supports.
func ticksSinceBoot() (uint64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("read CLOCK_BOOTTIME: %w", err)
	}
	return uint64(ts.Nano()) / 10_000_000, nil
}

// lives tells whether the process that connected still does, given the start
// time that its number has now. A process that nobody has waited for does not
// live.
func (p *Peer) lives(start uint64) bool {
	if p.gone {
		return false
	}
	if p.pidfd < 0 {
		return p.start == start
	}
	fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		// It becomes readable when the last thread has ended, and is an error
		// or a hang-up when the process has been waited for.
		return err == nil && fds[0].Revents == 0
	}
}

// Close gives the descriptor back: from here on nothing can be proven of the
// peer. It may be called twice.
func (p *Peer) Close() error {
	pidfd := p.pidfd
	p.pidfd, p.gone = -1, true
	if pidfd < 0 {
		return nil
	}
	err := unix.Close(pidfd)
	if err != nil {
		return fmt.Errorf("close pidfd of peer: %w", err)
	}
	return nil
}
