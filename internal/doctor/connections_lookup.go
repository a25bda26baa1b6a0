package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// diagRequestSize is of struct inet_diag_req_v2 (include/uapi/linux/inet_diag.h):
	// family, protocol, extensions, padding, the states as bits, and a socket.
	diagRequestSize = 56
	// listening is TCP_LISTEN of include/net/tcp_states.h.
	listening = 10
)

// lookupHost is how the sockets of a host can be asked for.
type lookupHost struct {
	// silent is why the kernel does not tell of this process' own namespace,
	// elsewhere why no namespace can be entered.
	silent, elsewhere error
	listeners         int
	// stream: connections that end are told of by BPF.
	stream bool
}

// checkLookup asks for who listens, as the agent does when it starts and then every
// 10 s. A namespace is entered by the right that all others need: the host's, where
// this process may well be already.
func (c *connections) checkLookup(context.Context) Result {
	h := lookupHost{stream: c.bpf().runs()}
	host, err := openHome(c.roots)
	if err == nil {
		defer func() { _ = host.file.Close() }()
		h.listeners, err = askListeners(host.file)
	}
	if h.elsewhere = err; err != nil {
		h.listeners, h.silent = askListeners(nil)
	}
	return h.judge()
}

// askListeners returns how many sockets listen by TCP over IPv4.
func askListeners(in *os.File) (int, error) {
	request := make([]byte, diagRequestSize)
	request[0], request[1] = unix.AF_INET, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(request[4:], 1<<listening)
	answers, err := ask(unix.NETLINK_SOCK_DIAG, in, netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request | netlink.Dump},
		Data:   request,
	})
	if err != nil {
		return 0, fmt.Errorf("ask sock_diag: %w", err)
	}
	return len(answers), nil
}

func (h lookupHost) judge() Result {
	const lost = "How many connections are open, and what long ones carry before they end, is not known"
	switch {
	case h.silent != nil:
		return h.judgeSilent(lost)
	case h.elsewhere != nil:
		return Result{
			Status: Warn, Found: "sock_diag answers, but not for containers",
			Meaning: lost + " of containers; nor which process has a connection to a server that was there before the agent.",
			Remedy: "Run with CAP_SYS_ADMIN, to enter their network namespaces, and CAP_SYS_PTRACE, to find them (systemd: " +
				"AmbientCapabilities=, docker run --pid host --cap-add).",
			Error: h.elsewhere.Error(),
		}
	}
	return Result{
		Status: Pass, Found: fmt.Sprintf("sock_diag answers (%d listen by IPv4)", h.listeners),
		Meaning: "Open connections and listeners are known, also those from before the agent's start.",
	}
}

// judgeSilent is of a kernel that does not answer. Without the stream by BPF, which
// looks would stand in for, nothing is known of connections.
func (h lookupHost) judgeSilent(lost string) Result {
	r := Result{
		Status: Warn, Found: "sock_diag does not answer", Meaning: lost + ".",
		Remedy: lookupRemedy(h.silent), Error: h.silent.Error(),
	}
	if !h.stream {
		r.Status = Fail
		r.Meaning = "Nothing is known of connections: BPF does not tell of them either."
	}
	return r
}

// lookupRemedy knows by the error: ENOENT is the kernel's where it has no handler
// and modprobe brings none (net/core/sock_diag.c, net/ipv4/inet_diag.c).
func lookupRemedy(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPROTONOSUPPORT):
		return "modprobe -a inet_diag tcp_diag, and name them in /etc/modules-load.d (CONFIG_INET_DIAG, CONFIG_INET_TCP_DIAG)."
	case isRefused(err), errors.Is(err, unix.EAFNOSUPPORT):
		return "See what forbids netlink sockets of sock_diag: a seccomp profile, SELinux, or RestrictAddressFamilies= of the systemd " +
			"unit (AF_NETLINK)."
	}
	return "Run it again; if it stays, report it with the error."
}
