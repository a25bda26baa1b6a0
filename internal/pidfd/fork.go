package pidfd

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Call is one system call: its number and arguments.
type Call [7]uintptr

// Fork makes a child that makes these system calls and exits. It is no Go
// process: it has one thread and no runtime, so that nothing but bare system
// calls may happen in it. The caller keeps alive what the arguments point to,
// and waits for the child.
//
// A child of its own and not a program: nothing is known of the programs that
// are there, and the agent itself takes a second to start.
func Fork(calls []Call) (pid int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A signal would run the runtime's handler in the child.
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return 0, fmt.Errorf("block signals: %w", err)
	}
	n, errno := forkBare(calls)
	err = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	if errno != 0 {
		return 0, fmt.Errorf("fork: %w", errno)
	}
	if err != nil {
		return int(n), fmt.Errorf("unblock signals: %w", err)
	}
	return int(n), nil
}

// forkBare returns in the parent only. It must not grow the stack: the child
// has nobody who could.
//
//go:noinline
//go:norace
//go:nosplit
func forkBare(calls []Call) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	for i := range calls {
		c := &calls[i]
		syscall.RawSyscall6(c[0], c[1], c[2], c[3], c[4], c[5], c[6])
	}
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// Wait waits for a child of [Fork].
func Wait(pid int) error {
	for {
		_, err := unix.Wait4(pid, nil, 0, nil)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
	}
}
