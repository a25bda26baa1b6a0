//go:build !vm

package netns_test

// The virtual machines of test/vm have no iproute2.

import (
	"errors"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// An open file of /proc/PID/net keeps a namespace alive; what the tracker
// keeps open must not.
func TestNamespaceIsNotKeptAlive(t *testing.T) {
	testkit.NeedCommand(t, "unshare", "ip")
	tracker := newTracker(t)
	p := newPlace(t, "unshare", "-n")
	n := find(t, tracker, p, 1)
	// The host's end of a pair goes with the namespace of the other one.
	name := "tm" + p.id[:8]
	out, err := exec.Command("ip", "link", "add", name, "type", "veth", "peer", "name", "inside", "netns", strconv.Itoa(p.pid())).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.True(t, tracker.Read(n, true))
	require.True(t, slices.ContainsFunc(n.Sample.Interfaces, func(i netns.Interface) bool { return i.Name == "inside" }))
	host := tracker.Refresh()[0]
	require.True(t, tracker.Read(host, false))
	i := slices.IndexFunc(host.Sample.Interfaces, func(i netns.Interface) bool { return i.Name == name })
	require.GreaterOrEqual(t, i, 0)
	require.True(t, host.Sample.Interfaces[i].Pair)

	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	testkit.Eventually(t, patience, func() error {
		if _, err := net.InterfaceByName(name); err == nil {
			return errors.New("the pair is still there")
		}
		return nil
	})
}
