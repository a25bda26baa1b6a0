package sockdiag

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/ownthread"
)

// Options bound a [Dump].
type Options struct {
	// ListenersOnly leaves the connections out, in the kernel already.
	ListenersOnly bool
	// HasConns is asked, when that many listeners were found, whether there is anything
	// else: if not, connections are not asked for. The kernel looks for those in its
	// table of all namespaces, for a millisecond on a host of 23 GB, however few there
	// are. nil asks for them.
	HasConns func(listeners int) bool
	// MaxSockets bounds what is kept; 0 is 65536, about 200 bytes each. Listeners
	// come first: where connections are left out, the directions of the others are
	// right all the same. What is left out takes its time still, but is not kept.
	MaxSockets int
}

const defaultMaxSockets = 65_536

// The sizes of struct inet_diag_req_v2 and its ext bit for struct tcp_info.
const (
	requestSize = 56
	wantTCPInfo = 1 << (attrInfo - 1)
)

// openStates are those of a connection that has a socket. TIME_WAIT and
// SYN_RECV are not sockets and have neither counters nor an owner.
const openStates = 1<<Established | 1<<SynSent | 1<<FinWait1 | 1<<FinWait2 |
	1<<CloseWait | 1<<LastAck | 1<<Closing

// Dump asks for the TCP sockets of a network namespace; nil is the caller's own.
func Dump(ns *os.File, o Options) (*Sockets, error) {
	conn, err := dial(ns)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if o.MaxSockets <= 0 {
		o.MaxSockets = defaultMaxSockets
	}
	states := []uint32{1 << Listening, openStates}
	if o.ListenersOnly {
		states = states[:1]
	}
	all := &Sockets{}
	var m message
	for i, states := range states {
		if i > 0 && o.HasConns != nil && !o.HasConns(len(all.Listeners)+all.Dropped) {
			break
		}
		for _, family := range families {
			query := request(family, unix.IPPROTO_TCP, states)
			if err := ask(conn, query, func(answer []byte) { all.take(&m, answer, o.MaxSockets) }); err != nil {
				return nil, fmt.Errorf("receive sockets: %w (needs CONFIG_INET_TCP_DIAG)", err)
			}
		}
	}
	all.markIncoming()
	return all, nil
}

// families are asked for one by one: the kernel has no request for both.
var families = [...]byte{unix.AF_INET, unix.AF_INET6}

// dial opens a socket in a network namespace. The thread that enters it is the netlink
// library's concern.
func dial(ns *os.File) (*netlink.Conn, error) {
	config := &netlink.Config{}
	if ns != nil {
		config.NetNS = int(ns.Fd())
	}
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, config)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag socket: %w (another namespace needs CAP_SYS_ADMIN)", err)
	}
	return conn, nil
}

// enter has f open a socket in a network namespace, on a thread that ends then. The
// socket stays there.
func enter(ns *os.File, f func() error) (err error) {
	if ns == nil {
		err = f()
	} else {
		ownthread.Do(func() {
			if err = os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)); err == nil {
				err = f()
			}
		})
	}
	if err != nil {
		return fmt.Errorf("open sock_diag socket: %w (another namespace needs CAP_SYS_ADMIN)", err)
	}
	return nil
}

// ask sends a request and calls each with what comes.
func ask(conn *netlink.Conn, request []byte, each func([]byte)) error {
	_, err := conn.Send(netlink.Message{
		Header: netlink.Header{
			Type:  unix.SOCK_DIAG_BY_FAMILY,
			Flags: netlink.Request | netlink.Dump,
		},
		Data: request,
	})
	if err != nil {
		return fmt.Errorf("ask for sockets: %w", err)
	}
	for answer, err := range conn.ReceiveIter() {
		if err != nil {
			return err
		}
		each(answer.Data)
	}
	return nil
}

// request is a struct inet_diag_req_v2 for all sockets of a protocol in these
// states. Who waits for others has not counted anything.
func request(family, protocol byte, states uint32) []byte {
	b := make([]byte, requestSize)
	b[0], b[1] = family, protocol
	if states&openStates != 0 && protocol == unix.IPPROTO_TCP {
		b[2] = wantTCPInfo
	}
	binary.NativeEndian.PutUint32(b[4:], states)
	return b
}

// take adds the socket of a message, for which it uses m.
func (s *Sockets) take(m *message, data []byte, most int) {
	err := m.parse(data)
	switch {
	case err != nil:
		s.Malformed++
	case m.state != Listening && !m.hasInfo:
		// The rest of a socket: FIN_WAIT2 without a process.
	case len(s.Listeners)+len(s.Conns) >= most:
		s.Dropped++
	case m.state == Listening:
		s.Listeners = append(s.Listeners, m.listener())
	default:
		s.Conns = append(s.Conns, m.conn())
	}
}
