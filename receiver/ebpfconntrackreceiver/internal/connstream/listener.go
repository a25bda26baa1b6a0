package connstream

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Listener is a socket that listened before the stream was opened, and the
// process that has it.
type Listener struct {
	// Netns is the inode of its network namespace.
	Netns uint64
	// Local is where it listens. The family of the address is that of the
	// socket: an IPv6 socket that listens for IPv4 only has a mapped address.
	Local netip.AddrPort
	// PID is as the first pid namespace numbers the process, Comm its command.
	PID  int
	Comm string
	// Cgroup is the id of its cgroup in the unified hierarchy, MemoryCgroup in
	// the hierarchy of the memory controller; 0 is not known.
	Cgroup, MemoryCgroup uint64
}

// Seed tells of listeners that were there before. One that has been seen to
// begin to listen is known better, and stays. It is safe for concurrent use;
// after an error, those before in the list are known.
func (s *Stream) Seed(listeners []Listener) error {
	known := s.set.Map(connectionMapListeners)
	for i := range listeners {
		l := &listeners[i]
		key, value := l.entry()
		err := known.Update(&key, &value, ebpf.UpdateNoExist)
		if err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return fmt.Errorf("remember listener %s of process %d: %w", l.Local, l.PID, err)
		}
	}
	return nil
}

// entry is the listener as the programs look for it.
func (l *Listener) entry() (connectionListenerKey, connectionListener) {
	key := connectionListenerKey{Netns: uint32(l.Netns), Port: l.Local.Port(), Family: unix.AF_INET6}
	if l.Local.Addr().Is4() {
		key.Family = unix.AF_INET
		four := l.Local.Addr().As4()
		copy(key.Address[:], four[:])
	} else {
		key.Address = l.Local.Addr().As16()
	}
	var value connectionListener
	value.Owner.Pid = uint32(l.PID)
	value.Owner.Cgroup, value.Owner.Memory = l.Cgroup, l.MemoryCgroup
	copy(value.Owner.Comm[:commSize-1], l.Comm)
	return key, value
}
