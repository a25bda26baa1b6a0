package transport

import "golang.org/x/sys/unix"

// ParseControl is parseControl with what it found as numbers.
func ParseControl(b []byte, dropped func(fd int)) (pid int, uid uint32, pidFD int) {
	from := parseControl(b, dropped)
	return from.pid, from.uid, from.pidFD
}

// FD is the descriptor of the socket, still the socket's.
func (s *Socket) FD() int { return s.fd }

// AllowRights makes the kernel deliver attached descriptors, as before Linux 6.16.
func (s *Socket) AllowRights() error {
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 1)
}

// Receive returns a function that takes one batch, as Run does.
func (s *Socket) Receive() func() (int, error) {
	b := newBatch(s.size, s.control)
	return func() (int, error) {
		datagrams, err := b.receive(s.fd)
		release(datagrams)
		return len(datagrams), err
	}
}

// ParseInherited is parseInherited.
func ParseInherited(getenv func(string) string, pid int) ([]string, error) {
	return parseInherited(getenv, pid)
}

// Hold puts a descriptor into the Store as if it had been inherited.
func (s *Store) Hold(name string, fd int) { s.put(name, fd) }
