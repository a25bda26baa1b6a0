package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestJudgeNAT(t *testing.T) {
	f := func(h natHost, want Status, found string, parts ...string) {
		t.Helper()
		r := named(t, h.judge())
		require.Equal(t, want, r.Status, "%+v", r)
		require.Contains(t, r.Found, found)
		for _, part := range parts {
			require.Contains(t, r.Meaning+"\n"+r.Remedy+"\n"+r.Error, part)
		}
	}
	missing := fmt.Errorf("find function %s: %w", lookupFunction, errNoLookup)
	noTypes := fmt.Errorf("find function %s: %w", lookupFunction, fs.ErrNotExist)
	refused := errors.New("map create: operation not permitted")
	f(natHost{}, Pass, "pull", "costs nothing")
	f(natHost{noPull: missing}, Pass, "ctnetlink", "for each connection", "modprobe nf_conntrack before", "Linux 6.1")
	f(natHost{noPull: errNoRight}, Pass, "ctnetlink", "CAP_NET_ADMIN beside CAP_BPF")
	f(natHost{noHome: unix.EACCES}, Warn, "namespace cannot be opened", "CAP_SYS_PTRACE", "permission denied")
	f(natHost{noPull: missing, noCtnetlink: unix.EPERM}, Warn, "cannot be asked",
		"CONFIG_DEBUG_INFO_BTF_MODULES", "run with CAP_NET_ADMIN", "pull: find function bpf_skb_ct_lookup", "ctnetlink: operation not permitted")
	f(natHost{noPull: noTypes, noCtnetlink: unix.EPERM}, Warn, "cannot be asked", "CONFIG_DEBUG_INFO_BTF,")
	f(natHost{noPull: errNoEntry, noCtnetlink: unix.EPERM}, Warn, "cannot be asked", "--network host")
	f(natHost{noPull: refused, noCtnetlink: unix.EPERM}, Warn, "cannot be asked", "see to the BPF programs above")
	f(natHost{noPull: missing, noCtnetlink: unix.EPROTONOSUPPORT}, Warn, "cannot be asked", "modprobe -a nfnetlink nf_conntrack_netlink")
	f(natHost{noPull: missing, noCtnetlink: unix.EINVAL}, Warn, "cannot be asked", "Or without BPF: modprobe nf_conntrack_netlink")
	f(natHost{noPull: missing, noCtnetlink: unix.ETIMEDOUT}, Warn, "cannot be asked", "does not answer")
}

func TestRefusePull(t *testing.T) {
	held := func(bits ...int) (c capabilities) {
		for _, bit := range bits {
			c |= 1 << bit
		}
		return c
	}
	require.NoError(t, held(unix.CAP_NET_ADMIN).refusePull(true))
	require.NoError(t, held(unix.CAP_SYS_ADMIN).refusePull(true))
	require.NoError(t, held(unix.CAP_SYS_ADMIN).refusePull(false))
	require.ErrorIs(t, held(unix.CAP_BPF, unix.CAP_PERFMON).refusePull(true), errNoRight)
	require.ErrorIs(t, held(unix.CAP_NET_ADMIN).refusePull(false), errNoEntry)
}

// What this kernel says where something is missing is what the remedies know.
func TestWhatIsMissingByItsError(t *testing.T) {
	testkit.NeedRoot(t)
	testkit.VerifyNoLeaks(t)
	f := func(family int, question netlink.Message, remedy func(error) string, want string) {
		t.Helper()
		question.Header.Flags = netlink.Request | netlink.Dump
		_, err := ask(family, nil, question)
		require.Error(t, err)
		require.Contains(t, remedy(err), want, err)
	}
	noFamily := unix.NETLINK_SMC + 1 // above all that there are
	f(noFamily, netlink.Message{}, ctnetlinkRemedy, "modprobe -a nfnetlink")
	f(noFamily, netlink.Message{}, lookupRemedy, "modprobe -a inet_diag tcp_diag")
	noSubsystem := netlink.Message{Header: netlink.Header{Type: 200 << 8}, Data: make([]byte, 4)} // above NFNL_SUBSYS_COUNT
	f(unix.NETLINK_NETFILTER, noSubsystem, ctnetlinkRemedy, "modprobe nf_conntrack_netlink")
	// A protocol of which there are no sockets to tell.
	noSockets := netlink.Message{Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY}, Data: make([]byte, diagRequestSize)}
	noSockets.Data[0], noSockets.Data[1] = unix.AF_INET, unix.IPPROTO_GRE
	f(unix.NETLINK_SOCK_DIAG, noSockets, lookupRemedy, "modprobe -a inet_diag tcp_diag")
}
