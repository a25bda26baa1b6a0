package nat

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ownNamespace is the network namespace of this process.
const ownNamespace = "/proc/self/ns/net"

// Namespace is a network namespace whose conntrack is asked. The zero value
// stands for the one a [Resolver] was opened for.
type Namespace struct {
	// Inode is its number.
	Inode uint64
	// File is open on it, and keeps it alive: close it soon.
	File *os.File
}

// OpenNamespace opens a namespace by a path such as /proc/1/ns/net. Close it.
func OpenNamespace(path string) (Namespace, error) {
	file, err := os.Open(path)
	if err != nil {
		return Namespace{}, fmt.Errorf("open network namespace: %w", err)
	}
	var info unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &info); err != nil {
		_ = file.Close()
		return Namespace{}, fmt.Errorf("identify network namespace %s: %w", path, err)
	}
	return Namespace{Inode: info.Ino, File: file}, nil
}

// Close gives the namespace back.
func (n Namespace) Close() error {
	if n.File == nil {
		return nil
	}
	return n.File.Close()
}

// enter takes the calling thread there.
func (n Namespace) enter() error {
	if err := unix.Setns(int(n.File.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %d: %w (needs CAP_SYS_ADMIN)", n.Inode, err)
	}
	return nil
}

// places are the namespaces that a resolver always needs.
type places struct {
	home Namespace // that of the zero Namespace
	own  uint64    // where new threads and sockets are by themselves
}

// openPlaces takes the path of the home namespace; "" is the process' own.
func openPlaces(path string) (places, error) {
	own, err := OpenNamespace(ownNamespace)
	if err != nil {
		return places{}, err
	}
	if path == "" {
		return places{home: own, own: own.Inode}, nil
	}
	defer own.Close()
	home, err := OpenNamespace(path)
	return places{home: home, own: own.Inode}, err
}

// of replaces the zero Namespace.
func (p places) of(at Namespace) Namespace {
	if at.File == nil {
		return p.home
	}
	return at
}
