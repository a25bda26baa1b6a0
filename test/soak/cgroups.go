package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/pidfd"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// lifetime of a process in a cgroup.
	lifetime = 50 * time.Millisecond
	// removeWithin is for a cgroup whose process has just ended, on a busy machine.
	removeWithin = 10 * time.Second
)

var errNoCgroups = errors.New("no cgroup hierarchy is mounted")

// cgroups makes and removes cgroups below one of its own, in all hierarchies.
type cgroups struct {
	roots  []string // its own, one in each hierarchy
	named  int64
	statsd string // socket
}

func newCgroups(named int, statsd string) (*cgroups, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list cgroup mounts: %w", err)
	}
	c := &cgroups{named: int64(named), statsd: statsd}
	for _, mount := range hierarchies(string(mounts)) {
		dir := filepath.Join(mount, fmt.Sprintf("tallyman-soak-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("make cgroup: %w", err), c.close())
		}
		c.roots = append(c.roots, dir)
	}
	if len(c.roots) == 0 {
		return nil, fmt.Errorf("make cgroups: %w", errNoCgroups)
	}
	return c, nil
}

// hierarchies finds the mount points in lines such as
//
//	32 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
//
// (https://docs.kernel.org/filesystems/proc.html, section 3.5). That of cpuset is
// left out: version 1 of it lets nobody in before it is set up.
func hierarchies(mounts string) []string {
	var found []string
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		head, tail := strings.Fields(before), strings.Fields(after)
		if len(head) < 5 || len(tail) < 3 || !strings.HasPrefix(tail[0], "cgroup") || strings.Contains(tail[2], "cpuset") {
			continue
		}
		found = append(found, head[4])
	}
	return found
}

// once makes a cgroup, lets a process live in every second one, and removes it.
func (c *cgroups) once(ctx context.Context, n int64) error {
	name, isContainer := fmt.Sprintf("job-%d", n), n%c.named == 0
	if isContainer {
		id := make([]byte, 32)
		_, _ = rand.Read(id) // it never returns an error
		name = hex.EncodeToString(id)
	}
	var dirs []string
	var errs []error
	for _, root := range c.roots {
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		dirs = append(dirs, dir)
	}
	if isContainer || n%2 == 0 {
		errs = append(errs, c.visit(dirs))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
	defer cancel()
	for _, dir := range dirs {
		errs = append(errs, testkit.Poll(ctx, func() error { return os.Remove(dir) }))
	}
	return errors.Join(errs...)
}

// visit has a process enter the cgroup, send one DogStatsD message and end.
func (c *cgroups) visit(dirs []string) error {
	var pinned runtime.Pinner
	defer pinned.Unpin()
	self, message := []byte("0"), []byte("soak.visit:1|c")
	rest := unix.NsecToTimespec(lifetime.Nanoseconds())
	pinned.Pin(&self[0])
	pinned.Pin(&message[0])
	pinned.Pin(&rest)

	var calls []pidfd.Call
	var files []int
	defer func() {
		for _, fd := range files {
			_ = unix.Close(fd)
		}
	}()
	for _, dir := range dirs {
		fd, err := unix.Open(filepath.Join(dir, "cgroup.procs"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
		files = append(files, fd)
		calls = append(calls, pidfd.Call{unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&self[0])), 1})
	}
	if fd, err := dial(c.statsd); err == nil { // there is none while the agent starts anew
		files = append(files, fd)
		calls = append(calls, pidfd.Call{
			unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&message[0])), uintptr(len(message)),
		})
	}
	calls = append(calls, pidfd.Call{unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&rest))})
	pid, err := pidfd.Fork(calls)
	if err != nil {
		return err
	}
	return pidfd.Wait(pid)
}

// dial connects a datagram socket that does not wait.
func dial(path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return -1, errors.Join(fmt.Errorf("connect to %s: %w", path, err), unix.Close(fd))
	}
	return fd, nil
}

// close removes what is there, also what an interrupted once has left.
func (c *cgroups) close() error {
	var errs []error
	for _, root := range c.roots {
		entries, err := os.ReadDir(root)
		errs = append(errs, err)
		for _, entry := range entries {
			if entry.IsDir() {
				errs = append(errs, os.Remove(filepath.Join(root, entry.Name())))
			}
		}
		errs = append(errs, os.Remove(root))
	}
	return errors.Join(errs...)
}
