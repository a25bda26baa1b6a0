package transport

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/ownthread"
)

// queueLimit is the number of datagrams that may wait in a socket made in the
// network namespace of the thread that opens the file.
const queueLimit = "/proc/sys/net/unix/max_dgram_qlen"

// deepSocket makes a datagram socket whose queue takes depth datagrams. Where the
// host refuses that, the queue is the host's, and shallow tells why. The number
// returned is proven.
func deepSocket(depth int) (fd, proven int, shallow, err error) {
	fd = -1
	unshare := func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w (needs CAP_SYS_ADMIN)", err)
		}
		return nil
	}
	shallow = inNamespace(unshare, func() error {
		// Not created, not truncated: it is a file of the kernel.
		file, err := os.OpenFile(queueLimit, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("deepen queue: %w (needs a writable /proc/sys)", err)
		}
		_, err = file.WriteString(strconv.Itoa(depth))
		if err := errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("deepen queue: %w (needs a writable /proc/sys)", err)
		}
		if proven, err = fill(depth); err != nil {
			return err
		}
		fd, err = newSocket(unix.SOCK_DGRAM)
		return err
	})
	if shallow == nil {
		return fd, proven, nil, nil
	}
	if fd, err = newSocket(unix.SOCK_DGRAM); err != nil {
		return -1, 0, shallow, err
	}
	if proven, err = fill(depth); err != nil {
		_ = unix.Close(fd)
		return -1, 0, shallow, err
	}
	return fd, proven, shallow, nil
}

func newSocket(kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make socket: %w", err)
	}
	return fd, nil
}

// depthOf proves how many datagrams, up to atMost, a socket from before a restart
// takes, by filling one that is made in the same network namespace. It needs
// CAP_NET_ADMIN and CAP_SYS_ADMIN.
func depthOf(fd, atMost int) (int, error) {
	ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		return 0, fmt.Errorf("find network namespace of kept socket: %w (needs CAP_NET_ADMIN)", err)
	}
	defer unix.Close(ns)
	enter := func() error {
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace of kept socket: %w (needs CAP_SYS_ADMIN)", err)
		}
		return nil
	}
	proven := 0
	err = inNamespace(enter, func() (err error) {
		proven, err = fill(atMost)
		return err
	})
	return proven, err
}

// inNamespace runs f on a thread of its own, of which enter changes the network
// namespace.
func inNamespace(enter, f func() error) error {
	var err error
	ownthread.Do(func() {
		if err = enter(); err == nil {
			err = f()
		}
	})
	return err
}

// probeBuffer lets one sender fill the queue where that is allowed
// (SO_SNDBUFFORCE): a datagram of one byte is charged 768 bytes (212,992 bytes,
// the default, let through 278; Linux 6.18), so this is 87,000 of them.
const probeBuffer = 64 << 20

// fill sends to a socket of this thread's network namespace until it takes no
// more, and returns how many datagrams that were, at most atMost. It takes 31 ms
// (BenchmarkListen) and 12 MB of the kernel's memory for 16,384, given back at once.
func fill(atMost int) (int, error) {
	target, err := newSocket(unix.SOCK_DGRAM)
	if err != nil {
		return 0, err
	}
	defer unix.Close(target)
	// Without a name the kernel gives an abstract one, of this namespace only.
	if err := unix.Bind(target, &unix.SockaddrUnix{}); err != nil {
		return 0, fmt.Errorf("name probe: %w", err)
	}
	address, err := unix.Getsockname(target)
	if err != nil {
		return 0, fmt.Errorf("ask probe for its name: %w", err)
	}
	taken := 0
	for taken < atMost {
		sender, err := newSocket(unix.SOCK_DGRAM)
		if err != nil {
			return 0, err
		}
		// Kept open to the end: datagrams count against who sent them.
		defer unix.Close(sender)
		sent, err := send(sender, address, atMost-taken)
		if err != nil {
			return 0, err
		}
		if sent == 0 { // a sender with an empty buffer is refused: the queue is full
			break
		}
		taken += sent
	}
	return taken, nil
}

// send sends up to n datagrams and returns how many went out before the kernel
// refused one.
func send(fd int, to unix.Sockaddr, n int) (int, error) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, probeBuffer)
	if err := unix.Connect(fd, to); err != nil {
		return 0, fmt.Errorf("connect to probe: %w", err)
	}
	for i := range n {
		err := unix.Send(fd, []byte{0}, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return i, nil
		}
		if err != nil {
			return 0, fmt.Errorf("send to probe: %w", err)
		}
	}
	return n, nil
}
