package container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// watchMask: directories coming and going. cgroup v1 also allows a rename.
// Control files are made by the kernel itself and raise no events.
const watchMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
	unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW

// inotify is one inotify instance. Watches may be changed and events read by
// one goroutine; close may be called by any.
//
// A poller goroutine says on ready that there is something to read and then
// waits for rearm, so that the reader can select on other things as well.
type inotify struct {
	fd    int
	wake  int // eventfd that ends the poller
	ready chan struct{}
	rearm chan struct{}
	done  chan struct{} // closed by close
	once  sync.Once
	wg    sync.WaitGroup
}

func openInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open inotify: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open eventfd: %w", err)
	}
	return &inotify{
		fd:    fd,
		wake:  wake,
		ready: make(chan struct{}),
		rearm: make(chan struct{}, 1),
		done:  make(chan struct{}),
	}, nil
}

// start begins to watch for readiness.
func (n *inotify) start() { n.wg.Go(n.poll) }

func (n *inotify) poll() {
	for n.waitReadable() {
		select {
		case n.ready <- struct{}{}:
		case <-n.done:
			return
		}
		select {
		case <-n.rearm:
		case <-n.done:
			return
		}
	}
}

// waitReadable blocks until there are events (true) or close (false).
func (n *inotify) waitReadable() bool {
	fds := []unix.PollFd{
		{Fd: int32(n.fd), Events: unix.POLLIN},
		{Fd: int32(n.wake), Events: unix.POLLIN},
	}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil, fds[1].Revents != 0:
			return false
		}
		return fds[0].Revents != 0
	}
}

// read fills buf with events; 0 means that there are none now.
func (n *inotify) read(buf []byte) int {
	for {
		count, err := unix.Read(n.fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0
		}
		return count
	}
}

// watch adds a directory and returns its watch descriptor.
func (n *inotify) watch(dir string) (int32, error) {
	wd, err := unix.InotifyAddWatch(n.fd, dir, watchMask)
	return int32(wd), err
}

// unwatch gives a watch back. The kernel may have dropped it before.
func (n *inotify) unwatch(wd int32) { _, _ = unix.InotifyRmWatch(n.fd, uint32(wd)) }

// close ends the poller, waits for it and releases both descriptors.
func (n *inotify) close() {
	n.once.Do(func() {
		close(n.done)
		one := binary.NativeEndian.AppendUint64(nil, 1)
		_, _ = unix.Write(n.wake, one) // cannot block: the counter is at 0
		n.wg.Wait()
		_ = unix.Close(n.fd)
		_ = unix.Close(n.wake)
	})
}

// event is one struct inotify_event, see inotify(7).
type event struct {
	wd   int32
	mask uint32
	name []byte // within the buffer
}

// parseEvent takes the first event off buf. It returns false when there is no
// complete one.
//
//	s32 wd; u32 mask; u32 cookie; u32 len; char name[len], padded with NUL
func parseEvent(buf []byte) (e event, rest []byte, ok bool) {
	if len(buf) < unix.SizeofInotifyEvent {
		return event{}, nil, false
	}
	size := binary.NativeEndian.Uint32(buf[12:])
	body := buf[unix.SizeofInotifyEvent:]
	if uint64(size) > uint64(len(body)) {
		return event{}, nil, false
	}
	name, _, _ := bytes.Cut(body[:size], []byte{0})
	return event{
		wd:   int32(binary.NativeEndian.Uint32(buf)),
		mask: binary.NativeEndian.Uint32(buf[4:]),
		name: name,
	}, body[size:], true
}
