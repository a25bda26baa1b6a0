package transport

import (
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Datagram is one datagram as it was received.
type Datagram struct {
	// Payload is valid until the handler returns.
	Payload []byte
	// PID is the sender's process as our pid namespace has it: 0 is one that it
	// does not show, [NoPID] none told.
	PID int
	// UID is the sender's user as our user namespace has it, or [NoUID].
	UID uint32
	// PidFD is a descriptor of the sender's process, -1 without. It is closed
	// when the handler has returned; see TakePidFD.
	PidFD int
	// Truncated says that the datagram was longer than the buffer: the end of
	// Payload is cut off.
	Truncated bool
}

// TakePidFD returns PidFD and leaves -1: the caller closes it. It must be called
// on the element of the batch, not on a copy.
func (d *Datagram) TakePidFD() int {
	fd := d.PidFD
	d.PidFD = -1
	return fd
}

// UnixOptions say what [ListenUnix] makes.
type UnixOptions struct {
	// Path is absolute, in a directory that exists.
	Path string
	// Mode are the permissions of the file. Senders need to write; 0 means 0722.
	Mode fs.FileMode
	// Depth is how many datagrams should fit into the queue; 0 means 16,384.
	Depth int
	// PidFDs asks for a descriptor of the sender's process with each datagram.
	PidFDs bool
	// BufferBytes is the longest datagram that is not cut; 0 means 8 KiB, which
	// is what clients send at most. At most 64 KiB.
	BufferBytes int
	// Store keeps the socket over a restart, under the Name; nil does not.
	Store *Store
	// Name is unique in the Store: up to 255 ASCII characters, no colon.
	Name string
}

const (
	// defaultMode lets everybody send and nobody but us look at the file.
	defaultMode = 0o722
	// defaultDepth holds 5 ms of 3 million datagrams a second, and 12 MB of small
	// ones, which are charged to their senders.
	defaultDepth = 16384
	// defaultBuffer is the datagram size of the official clients over Unix sockets.
	defaultBuffer = 8 << 10
	maxBuffer     = 64 << 10
)

// AmpleDepth is a queue in which nobody who sends 2,000 datagrams a second lost any
// beside four senders without a limit (Linux 6.18).
const AmpleDepth = 4096

// Report is what was obtained of what was asked for. Errors in it say why less.
type Report struct {
	// Depth is how many datagrams the queue takes, proven; at most what was asked
	// for. 0 is unknown. Of UDP it is a bound by the size of the buffer.
	Depth int
	// Shallow is why the queue is only as deep as the host makes it.
	Shallow error
	// PidFDs says that datagrams or connections come with a process descriptor.
	PidFDs bool
	// NoPidFDs is why they do not, although asked for.
	NoPidFDs error
	// Restored says that the socket is the one from before a restart.
	Restored bool
	// Empty is what [Socket.MarkEmpty] was told before the restart, 0 if nothing.
	Empty time.Duration
	// NotRestored is why one that was kept is not used; it was given up.
	NotRestored error
	// NotKept is why the socket will not outlive this process.
	NotKept error
}

// Stats count since the start.
type Stats struct {
	// Datagrams and Truncated ones that were handed over.
	Datagrams, Truncated uint64
	// Attached is the number of descriptors that senders attached; all closed.
	Attached uint64
	// Calls of recvmmsg(2), Pauses between them, and Waits for a datagram.
	Calls, Pauses, Waits uint64
}

// Socket is a bound socket for datagrams. Close it.
type Socket struct {
	place
	runs
	report Report
	// size and control are the bytes of a datagram's buffers.
	size, control int
	// timed: the queue is deep enough to be emptied by the clock.
	timed bool
	stats counters
}

type counters struct {
	datagrams, truncated, attached, calls, pauses, waits atomic.Uint64
}

// ListenUnix takes the socket that was kept under the options' name, or makes one
// and gives it the path. A file that is there is replaced only if it is a socket
// that nobody listens at; see [ErrInUse] and its neighbours for what else may be.
func ListenUnix(o UnixOptions) (*Socket, error) {
	o = o.withDefaults()
	if o.BufferBytes < 1 || o.BufferBytes > maxBuffer {
		return nil, fmt.Errorf("receive datagrams of %d bytes: %w (1 to %d)", o.BufferBytes, unix.EINVAL, maxBuffer)
	}
	s := &Socket{place: place{path: o.Path, name: o.Name}, size: o.BufferBytes}
	s.fd, s.report.NotRestored = o.Store.restore(o.Name, o.Path, unix.SOCK_DGRAM)
	var err error
	if s.fd >= 0 {
		err = s.reuse(o)
	} else {
		err = s.make(o)
	}
	if err == nil {
		s.file, err = inodeOf(o.Path)
	}
	if err != nil {
		s.abandon()
		return nil, err
	}
	s.control = controlBytes(true, s.report.PidFDs)
	s.timed = s.report.Depth >= timedDepth
	s.keeper, s.report.NotKept = o.Store.keep(o.Name, s.fd)
	return s, nil
}

func (o UnixOptions) withDefaults() UnixOptions {
	if o.Mode == 0 {
		o.Mode = defaultMode
	}
	if o.Depth == 0 {
		o.Depth = defaultDepth
	}
	if o.BufferBytes == 0 {
		o.BufferBytes = defaultBuffer
	}
	return o
}

func (s *Socket) make(o UnixOptions) error {
	if err := claim(o.Path, unix.SOCK_DGRAM); err != nil {
		return err
	}
	var err error
	if s.fd, s.report.Depth, s.report.Shallow, err = deepSocket(o.Depth); err != nil {
		return err
	}
	// Before the name: nobody can send without credentials.
	if err := s.identify(o.PidFDs); err != nil {
		return err
	}
	return publish(s.fd, unix.SOCK_DGRAM, o.Path, o.Mode)
}

// reuse takes over the socket from before a restart, whose depth is as it was.
func (s *Socket) reuse(o UnixOptions) error {
	s.report.Restored = true
	s.report.Depth, s.report.Shallow = depthOf(s.fd, o.Depth)
	s.report.Empty = emptyMark(o.Path)
	if err := s.identify(o.PidFDs); err != nil {
		return err
	}
	if err := setMode(o.Path, o.Mode); err != nil {
		return fmt.Errorf("set permissions of socket file: %w", err)
	}
	return nil
}

// identify asks the kernel to tell the senders.
func (s *Socket) identify(pidFDs bool) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return fmt.Errorf("ask for credentials: %w", err)
	}
	refuseRights(s.fd)
	want := 0
	if pidFDs {
		want = 1
	}
	err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_PASSPIDFD, want)
	s.report.PidFDs = pidFDs && err == nil
	if pidFDs && err != nil {
		s.report.NoPidFDs = fmt.Errorf("ask for process descriptors: %w (needs Linux 6.5)", err)
	}
	return nil
}

// refuseRights makes sending fail for who attaches descriptors, as far as the
// kernel can (6.16). Closing them would be ours, and may take any time: that
// depends on what they are.
func refuseRights(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
}

// Report tells what the socket has.
func (s *Socket) Report() Report { return s.report }

// Stats returns the counters of all Runs.
func (s *Socket) Stats() Stats {
	return Stats{
		Datagrams: s.stats.datagrams.Load(), Truncated: s.stats.truncated.Load(),
		Attached: s.stats.attached.Load(),
		Calls:    s.stats.calls.Load(), Pauses: s.stats.pauses.Load(), Waits: s.stats.waits.Load(),
	}
}

// MarkEmpty notes in the file of a socket that is kept when its queue was seen
// empty, as the time since boot: nothing in it is older. The place for it is the
// file's time of modification, which nothing else changes: who connects changes
// that of the last access.
func (s *Socket) MarkEmpty(at time.Duration) error {
	if s.keeper == nil || at <= 0 {
		return nil
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(int64(at))}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, s.path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("mark socket file: %w", err)
	}
	return nil
}

// emptyMark is what MarkEmpty wrote. A file that was never marked has a time
// decades after 1970, which no host is up for.
func emptyMark(path string) time.Duration {
	const longest = 10 * 365 * 24 * time.Hour
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mtim.Nano() > int64(longest) {
		return 0
	}
	return time.Duration(st.Mtim.Nano())
}

// Close ends every Run and waits for it. A socket that is kept stays as it is;
// any other is closed, and its file removed. A second call does nothing.
func (s *Socket) Close() error {
	if !s.endAll() {
		return nil
	}
	return s.leave()
}
