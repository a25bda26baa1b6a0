package peers_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/peers"
)

func itoa(n int) string { return strconv.Itoa(n) }

// running is a table that runs on the real host, beside a container.
type running struct {
	t       testing.TB
	table   *peers.Table
	view    *hostview.View
	cmd     *exec.Cmd
	id      string
	address netip.AddrPort
}

// run starts a table and then a container without an address.
func run(t testing.TB, o peers.Options) *running {
	t.Helper()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare", "nsenter", "ip")
	view, err := hostview.Acquire(hostview.Options{Roots: hostfs.NewRoots("/")})
	require.NoError(t, err)
	t.Cleanup(view.Release)
	tracker := netns.NewTracker(netns.Options{
		Roots: hostfs.NewRoots("/"), Index: view.Index(), ProcsFile: view.ProcsFile, Boot: view.BootTime(),
	})
	t.Cleanup(tracker.Close)
	table, err := peers.New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { table.Run(ctx, tracker) })
	t.Cleanup(wait.Wait)
	t.Cleanup(cancel)
	r := &running{t: t, table: table, view: view}
	testkit.Eventually(t, patience, func() error { return r.refreshed(0) })

	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	r.id = hex.EncodeToString(raw)
	r.cmd = testkit.Run(t, testkit.Cgroup(t, "/tallyman-test-peers/"+r.id), "unshare", "-n", "sleep", "600")
	r.address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, raw[0], raw[1]}), 0) // RFC 2544: nobody's
	testkit.Eventually(t, patience, r.isThere)
	return r
}

// refreshed: there have been more refreshes than that.
func (r *running) refreshed(than uint64) error {
	if n := r.table.Stats().Refreshes; n <= than {
		return fmt.Errorf("%d refreshes", n)
	}
	return nil
}

// isThere: the host knows of the container, and it has its namespace.
func (r *running) isThere() error {
	line, err := exec.Command("readlink", "/proc/self/ns/net", "/proc/"+itoa(r.cmd.Process.Pid)+"/ns/net").Output()
	if err != nil || string(line[:len(line)/2]) == string(line[len(line)/2:]) {
		return fmt.Errorf("its namespace is not there yet: %q (%w)", line, err)
	}
	for cg := range r.view.Index().Live() {
		if cg.ID == r.id {
			return nil
		}
	}
	return errors.New("not in the index")
}

// settle gives the container its address.
func (r *running) settle() {
	r.t.Helper()
	out, err := exec.Command("nsenter", "-t", itoa(r.cmd.Process.Pid), "-n", "ip", "addr", "add",
		r.address.Addr().String()+"/32", "dev", "lo").CombinedOutput()
	require.NoError(r.t, err, "%s", out)
}

func (r *running) find(isGone bool) error {
	p, _ := r.table.Lookup(peers.Question{Addr: r.address})
	if p.Container != r.id || p.Gone != isGone {
		return fmt.Errorf("%v is %+v", r.address, p)
	}
	return nil
}

// The whole way on the real host, by the interval alone: a container appears, gets
// an address later, is told, and is remembered when it has gone.
func TestRun(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := run(t, peers.Options{Interval: time.Second})
	r.settle()
	testkit.Eventually(t, patience, func() error { return r.find(false) })
	require.NoError(t, r.cmd.Process.Kill())
	_ = r.cmd.Wait()
	testkit.Eventually(t, patience, func() error { return r.find(true) })
	require.NoError(t, r.table.Stats().Last)
	require.Zero(t, r.table.Stats().ReadErrors)
}

// With an interval that never comes: one Poke when the namespace appears is enough
// for an address that it gets after that.
func TestPoke(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := run(t, peers.Options{Interval: time.Hour})
	before := r.table.Stats().Refreshes
	require.Error(t, r.find(false))
	r.table.Poke()
	r.table.Poke() // as good as one
	testkit.Eventually(t, patience, func() error { return r.refreshed(before) })
	r.settle()
	testkit.Eventually(t, patience, func() error { return r.find(false) })
	require.Less(t, r.table.Stats().Refreshes-before, uint64(12), "half a second apart while it is new")
}

// Pokes in a row do not make it run all the time.
func TestPokes(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r := run(t, peers.Options{Interval: time.Hour})
	before, begin := r.table.Stats().Refreshes, time.Now()
	testkit.Eventually(t, patience, func() error {
		r.table.Poke()
		return r.refreshed(before + 5)
	})
	require.GreaterOrEqual(t, time.Since(begin), 4*50*time.Millisecond, "five refreshes have four pauses between them")
}
