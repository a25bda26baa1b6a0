package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// getProcessors asks ctnetlink for the counters of each processor
	// (IPCTNL_MSG_CT_GET_STATS_CPU, include/uapi/linux/netfilter/nfnetlink_conntrack.h):
	// a line for each, while one for each connection may be a hundred thousand.
	getProcessors = 4

	natResolved = "Published ports and masqueraded addresses are resolved to the containers and hosts behind them."
	noNAT       = "The other end of a connection is what the socket knows: a published port instead of the container behind it, the " +
		"host's address instead of the client."
)

var (
	errNoLookup = errors.New("this kernel does not have it, or conntrack is not loaded")
	errNoRight  = errors.New("CAP_NET_ADMIN is not held")
	errNoEntry  = errors.New("CAP_SYS_ADMIN is not held, to enter the host's network namespace")
)

// natHost says of each way to ask conntrack why it does not work here. Without the
// host's namespace neither does; ctnetlink is tried only where pull does not work.
type natHost struct {
	noHome, noPull, noCtnetlink error
}

// checkNAT is about the agent's `nat: auto`.
func (c *connections) checkNAT(context.Context) Result {
	host, err := openHome(c.roots)
	if err != nil {
		return natHost{noHome: err}.judge()
	}
	defer func() { _ = host.file.Close() }()
	held, err := ownStatus()
	if err != nil {
		return undecided("not known", err)
	}
	namespace, err := ownNamespace("user")
	if err != nil {
		return undecided("no user namespace", err)
	}
	if namespace != hostUserNamespace {
		held.effective = 0 // those of another user namespace count for nothing here
	}
	h := natHost{noPull: c.bpf().refusal()}
	if h.noPull == nil {
		h.noPull = held.effective.refusePull(host.isOwn)
	}
	if h.noPull != nil {
		h.noCtnetlink = askConntrack(host)
	}
	return h.judge()
}

// refusePull is about what the process stream has not shown. CAP_SYS_ADMIN does as
// well as CAP_NET_ADMIN (kernel/bpf/syscall.c, bpf_net_capable; tried on 6.18).
func (c capabilities) refusePull(isOwn bool) error {
	switch isAdmin := c.has(unix.CAP_SYS_ADMIN); {
	case !isAdmin && !isOwn:
		return errNoEntry
	case !isAdmin && !c.has(unix.CAP_NET_ADMIN):
		return errNoRight
	}
	return nil
}

// askConntrack asks ctnetlink in the host's namespace, as the agent does.
func askConntrack(host home) error {
	var in *os.File
	if !host.isOwn {
		in = host.file
	}
	_, err := ask(unix.NETLINK_NETFILTER, in, netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK<<8 | getProcessors, Flags: netlink.Request | netlink.Dump},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0}, // struct nfgenmsg
	})
	if err != nil {
		return fmt.Errorf("ask ctnetlink: %w", err)
	}
	return nil
}

func (h natHost) judge() Result {
	switch {
	case h.noHome != nil:
		return Result{
			Status: Warn, Found: "the host's network namespace cannot be opened", Meaning: noNAT,
			Remedy: "Run with CAP_SYS_PTRACE and CAP_SYS_ADMIN, and see the host's processes (docker run --pid host --network host " +
				"--cap-add SYS_PTRACE --cap-add SYS_ADMIN).",
			Error: h.noHome.Error(),
		}
	case h.noPull == nil:
		return Result{
			Status: Pass, Found: "conntrack is asked by BPF (pull)",
			Meaning: natResolved + " It costs nothing while nobody asks.",
		}
	case h.noCtnetlink == nil:
		return Result{
			Status: Pass, Found: "conntrack is followed by its events (ctnetlink)",
			Meaning: natResolved + " It costs processor time for each connection of the host, asked for or not; BPF (pull) would not. " +
				pullRemedy(h.noPull),
		}
	}
	return Result{
		Status: Warn, Found: "conntrack cannot be asked", Meaning: noNAT,
		Remedy: pullRemedy(h.noPull) + " Or without BPF: " + ctnetlinkRemedy(h.noCtnetlink),
		Error:  "pull: " + h.noPull.Error() + "\nctnetlink: " + h.noCtnetlink.Error(),
	}
}

func pullRemedy(err error) string {
	const module = "modprobe nf_conntrack before the agent starts"
	switch {
	case errors.Is(err, errNoLookup):
		return "On Linux 6.1 or newer, " + module + " (a module needs CONFIG_DEBUG_INFO_BTF_MODULES)."
	case errors.Is(err, os.ErrNotExist):
		return "Use Linux 6.1 or newer, built with CONFIG_DEBUG_INFO_BTF, and " + module + "."
	case errors.Is(err, errNoRight):
		return "Run with CAP_NET_ADMIN beside CAP_BPF and CAP_PERFMON."
	case errors.Is(err, errNoEntry):
		return "Run in the host's network namespace (docker run --network host), or with CAP_SYS_ADMIN."
	}
	return "Run with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and see to the BPF programs above."
}

// ctnetlinkRemedy knows what is missing by the error: the family of sockets, the
// subsystem in it (net/netfilter/nfnetlink.c, nfnetlink_rcv_msg: EINVAL), or a right.
func ctnetlinkRemedy(err error) string {
	switch {
	case isRefused(err):
		return "run with CAP_NET_ADMIN (outside of the host's network namespace CAP_SYS_ADMIN too)."
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return "modprobe -a nfnetlink nf_conntrack_netlink (CONFIG_NF_CT_NETLINK)."
	case errors.Is(err, unix.EINVAL):
		return "modprobe nf_conntrack_netlink (CONFIG_NF_CT_NETLINK)."
	}
	return "see why ctnetlink does not answer; the error says what it said."
}
