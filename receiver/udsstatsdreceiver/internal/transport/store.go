package transport

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNoStore says that nobody keeps descriptors for us.
var ErrNoStore = errors.New("no descriptor store (needs systemd, with NotifyAccess and FileDescriptorStoreMax in the unit)")

// Store keeps descriptors beyond the end of this process, by name: the service
// manager has copies and hands them to the next one. One Store is made per
// process and shared; a nil Store keeps nothing.
//
// What the service manager does with a copy it does not tell: one that it has no
// room for is lost without a sign.
type Store struct {
	// address is the socket of the service manager, "" if there is none.
	address string

	mu sync.Mutex
	// held are descriptors that nobody uses at the moment.
	held map[string][]int
}

const (
	// firstFD is where inherited descriptors begin (sd_listen_fds(3)).
	firstFD = 3
	// maxInherited is far beyond what a unit passes, and below descriptors that
	// could not be inherited ones.
	maxInherited = 1024
	// maxName is what sd_pid_notify_with_fds(3) allows.
	maxName = 255
)

// OpenStore reads what the service manager has told through the environment, and
// takes charge of what it has handed over.
func OpenStore(getenv func(key string) string) (*Store, error) {
	s := &Store{address: getenv("NOTIFY_SOCKET"), held: map[string][]int{}}
	if s.address != "" && s.address[0] != '/' && s.address[0] != '@' {
		return nil, fmt.Errorf("read NOTIFY_SOCKET: %q is no Unix socket", s.address)
	}
	names, err := parseInherited(getenv, os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("read inherited descriptors: %w", err)
	}
	for i, name := range names {
		unix.CloseOnExec(firstFD + i)
		s.held[name] = append(s.held[name], firstFD+i)
	}
	return s, nil
}

// parseInherited returns the names of the descriptors from firstFD on that are
// meant for the process.
func parseInherited(getenv func(string) string, pid int) ([]string, error) {
	if getenv("LISTEN_PID") != strconv.Itoa(pid) {
		return nil, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil {
		return nil, fmt.Errorf("parse LISTEN_FDS: %w", err)
	}
	if n < 0 || n > maxInherited {
		return nil, fmt.Errorf("parse LISTEN_FDS: %d descriptors (at most %d)", n, maxInherited)
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	if len(names) != n {
		return nil, fmt.Errorf("parse LISTEN_FDNAMES: %d names for %d descriptors", len(names), n)
	}
	return names, nil
}

// Close closes what nobody uses. The service manager's copies stay.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, fds := range s.held {
		for _, fd := range fds {
			errs = append(errs, unix.Close(fd))
		}
	}
	clear(s.held)
	return errors.Join(errs...)
}

// restore returns the kept socket, -1 if there is none. It must be the one that
// senders find at the path; what is not is given up, and the error tells why.
func (s *Store) restore(name, path string, kind int) (int, error) {
	found := -1
	var refused []error
	for _, fd := range s.take(name) {
		err := isAt(fd, path, kind)
		if err == nil && found < 0 {
			found = fd
			continue
		}
		refused = append(refused, err)
		_ = unix.Close(fd)
	}
	if len(refused) == 0 {
		return found, nil
	}
	// By name, so all of it: what is found is sent again.
	if err := s.notify("FDSTOREREMOVE=1\nFDNAME="+name, -1); err != nil {
		refused = append(refused, err)
	}
	if found >= 0 {
		return found, nil
	}
	return -1, fmt.Errorf("use kept socket: %w", errors.Join(refused...))
}

func (s *Store) take(name string) []int {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fds := s.held[name]
	delete(s.held, name)
	return fds
}

// put takes a descriptor back, for who restores it in this process.
func (s *Store) put(name string, fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[name] = append(s.held[name], fd)
}

// keep gives the service manager a copy. It returns the store if it has one.
// A descriptor that is there already is not taken twice.
func (s *Store) keep(name string, fd int) (*Store, error) {
	if s == nil {
		return nil, nil
	}
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, notInName) {
		return nil, fmt.Errorf("keep socket: %q is no name for it: %w", name, unix.EINVAL)
	}
	if err := s.notify("FDSTORE=1\nFDNAME="+name, fd); err != nil {
		return nil, fmt.Errorf("keep socket: %w", err)
	}
	return s, nil
}

func notInName(r rune) bool { return r <= ' ' || r > '~' || r == ':' }

// notify sends a message (sd_notify(3)), with a descriptor unless that is -1.
func (s *Store) notify(message string, fd int) error {
	if s.address == "" {
		return ErrNoStore
	}
	conn, err := newSocket(unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(conn)
	// A service manager that does not read must not hold up the start.
	patience := unix.Timeval{Sec: 1}
	if err := unix.SetsockoptTimeval(conn, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience); err != nil {
		return fmt.Errorf("set timeout: %w", err)
	}
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	err = unix.Sendmsg(conn, []byte(message), rights, &unix.SockaddrUnix{Name: s.address}, unix.MSG_NOSIGNAL)
	if err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	return nil
}
