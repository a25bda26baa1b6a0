package testkit

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/ownthread"
)

// InNetns runs f with its thread in the network namespace of a process.
// Sockets that f opens belong to that namespace; goroutines it starts do not.
// It needs root, and fails the test on the test's goroutine.
func InNetns(t testing.TB, pid int, f func() error) {
	t.Helper()
	onThread(t, func() error {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace of %d: %w", pid, err)
		}
		return f()
	})
}

// InNewNetns runs f with its thread in a network namespace of its own, as
// InNetns does.
func InNewNetns(t testing.TB, f func() error) {
	t.Helper()
	onThread(t, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		return f()
	})
}

// Up switches an interface on, in the network namespace of the calling thread.
func Up(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req)
}

// onThread runs f on a thread that ends with it: there is no way back into
// the namespace for a thread that somebody else may use.
func onThread(t testing.TB, f func() error) {
	t.Helper()
	NeedRoot(t)
	var err error
	ownthread.Do(func() { err = f() })
	if err != nil {
		t.Fatal(err)
	}
}
