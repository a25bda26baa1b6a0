package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// home is the host's network namespace, in which published ports are translated.
type home struct {
	file *os.File
	// isOwn: this process is in it.
	isOwn bool
}

// openHome opens the namespace of process 1 below the root. That of this process
// may be opened by anybody, the one of process 1 only by who may trace it. Close
// its file.
func openHome(roots hostfs.Roots) (home, error) {
	isOwn, err := isAtHome(roots)
	if err != nil {
		return home{}, fmt.Errorf("find the host's network namespace: %w", err)
	}
	path := filepath.Join(roots.Proc, "1/ns/net")
	if isOwn {
		path = "/proc/self/ns/net"
	}
	file, err := os.Open(path)
	if err != nil {
		return home{}, fmt.Errorf("open the host's network namespace: %w", err)
	}
	return home{file: file, isOwn: isOwn}, nil
}

// isAtHome tells whether this process and process 1 below the root are in one
// network namespace, which nobody needs a right for: what is below /proc/PID/net is
// made once for each namespace, with inode numbers of its own
// (fs/proc/generic.c, proc_register).
func isAtHome(roots hostfs.Roots) (bool, error) {
	own, err := inodeOf("/proc/self/net/dev")
	if err != nil {
		return false, err
	}
	host, err := inodeOf(filepath.Join(roots.Proc, "1/net/dev"))
	return own == host, err
}

func inodeOf(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", path, err)
	}
	return st.Ino, nil
}

// askWithin is far longer than the kernel takes, and short of a check's time, so
// that silence is an answer too.
const askWithin = 2 * time.Second

// ask opens a netlink socket in a network namespace, nil is this process' own,
// and returns the answers to one question.
func ask(family int, in *os.File, question netlink.Message) ([]netlink.Message, error) {
	config := &netlink.Config{}
	if in != nil {
		config.NetNS = int(in.Fd())
	}
	conn, err := netlink.Dial(family, config)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	defer func() { _ = conn.Close() }() // nothing waits in it
	if err := conn.SetDeadline(time.Now().Add(askWithin)); err != nil {
		return nil, fmt.Errorf("set deadline of netlink socket: %w", err)
	}
	return conn.Execute(question)
}

// isRefused tells whether an error is about rights: sockets of namespaces give
// EPERM, files EACCES.
func isRefused(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }
