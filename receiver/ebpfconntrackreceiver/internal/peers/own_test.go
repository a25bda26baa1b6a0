package peers_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

// plainEnv makes somebody without capabilities who wants to know who is at the
// address, and whose own namespace is the host's.
const plainEnv = "TALLYMAN_TEST_PLAIN"

func refreshAsNobody(address string) error {
	table, err := peers.New(peers.Options{})
	if err != nil {
		return err
	}
	info, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return err
	}
	own := &netns.Namespace{Inode: info.Sys().(*syscall.Stat_t).Ino, Host: true}
	other := &netns.Namespace{Inode: 1} // which he may see, but not enter
	open := func(*netns.Namespace) (*os.File, error) { return os.Open("/proc/self/ns/net") }
	table.Refresh([]*netns.Namespace{own, other}, open)
	p, _ := table.Lookup(peers.Question{From: own.Inode, Addr: netip.MustParseAddrPort(address)})
	fmt.Printf("%t %s\n%d %v\n", p.Kind == peers.Host, p.Interface, table.Stats().ReadErrors, table.Stats().Last)
	return nil
}

// Who may enter no namespace is in one all the same, and knows its addresses.
func TestOwnNamespaceWithoutCapabilities(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	w := newWorld(t, peers.Options{})
	host := w.place()
	host.ip("addr add 10.77.0.1/32 dev lo")
	own, err := os.Executable()
	require.NoError(t, err)
	// The test's own folder may not be entered by others.
	program := filepath.Join(t.TempDir(), "asker")
	text, err := os.ReadFile(own)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, text, 0o755))
	for dir := filepath.Dir(program); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), plainEnv+"=10.77.0.1:80")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var out []byte
	testkit.InNetns(t, host.pid, func() (err error) {
		out, err = cmd.Output()
		return err
	})
	lines := strings.Split(string(out), "\n")
	require.Equal(t, "true lo", lines[0], lines[1])
	require.Equal(t, "1 open rtnetlink socket: setns: operation not permitted (needs CAP_SYS_ADMIN)", lines[1], "the other's")
}

// Addresses beyond the bound are left out and counted, each time.
func TestTooManyAddresses(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	const most, over = 16_384, 3
	w := newWorld(t, peers.Options{})
	host := w.place()
	lines := make([]string, most+over)
	for i := range lines {
		lines[i] = fmt.Sprintf("addr add 10.80.%d.%d/32 dev lo", i>>8, i&255)
	}
	host.ip(lines...)
	w.refresh()
	require.Equal(t, most, w.table.Stats().Addresses)
	require.Equal(t, uint64(over), w.table.Stats().DroppedAddresses)
	w.refresh()
	require.Equal(t, uint64(2*over), w.table.Stats().DroppedAddresses)
	require.Zero(t, w.table.Stats().DroppedLinks)
}
