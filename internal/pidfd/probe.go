package pidfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

var (
	errNoDescriptor = errors.New("the datagram of an ended process came without a descriptor")
	errNoExit       = errors.New("the descriptor of an ended process does not tell its cgroup")
)

// Probe tries whether the cgroup of an ended sender can be told: a child
// sends a datagram, ends and is waited for, and only then it is received. The
// error matches [hostfs.ErrNotSupported].
func Probe() error {
	if err := try(); err != nil {
		return &hostfs.NotSupportedError{
			Feature: "senders by pidfd",
			Remedy:  "Linux 6.15 or newer tells the cgroup of ended senders, some releases only after 6.17",
			Err:     err,
		}
	}
	return nil
}

func try() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("make sockets: %w", err)
	}
	defer func() {
		_ = unix.Close(pair[0]) // nothing was written that could be lost
		_ = unix.Close(pair[1])
	}()
	for _, option := range []int{unix.SO_PASSCRED, unix.SO_PASSPIDFD} {
		if err := unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, option, 1); err != nil {
			return fmt.Errorf("set socket option %d: %w", option, err)
		}
	}
	text := new([1]byte)
	pid, err := Fork([]Call{{unix.SYS_SENDTO, uintptr(pair[1]), uintptr(unsafe.Pointer(text)), 1}})
	runtime.KeepAlive(text)
	if pid > 0 {
		err = errors.Join(err, Wait(pid))
	}
	if err != nil {
		return err
	}
	return tryReceive(pair[0])
}

func tryReceive(socket int) error {
	oob := make([]byte, 128) // credentials and a descriptor take 56
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return fmt.Errorf("receive from ended process: %w", err)
	}
	fd := Descriptor(oob[:n])
	if fd < 0 {
		return errNoDescriptor
	}
	defer func() { _ = unix.Close(fd) }()
	info, err := Info(fd)
	if err != nil {
		return fmt.Errorf("ask for ended process: %w", err)
	}
	const want = unix.PIDFD_INFO_EXIT | unix.PIDFD_INFO_CGROUPID
	if info.Mask&want != want || info.Cgroupid == 0 {
		return errNoExit
	}
	return nil
}

// Descriptor returns that of SCM_PIDFD in control messages, -1 without one; the kernel writes an
// error there if it could not make one.
func Descriptor(oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_PIDFD && len(m.Data) >= 4 {
			return max(-1, int(int32(binary.NativeEndian.Uint32(m.Data))))
		}
	}
	return -1
}
