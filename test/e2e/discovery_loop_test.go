package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Fifty containers that ask for a receiver come and go, five at a time: each of them is
// collected from and nothing of any is left in the agent, neither a receiver nor a
// descriptor nor a goroutine. Every agent of this host would collect from them, so that none
// runs beside this one.
func TestDiscoveryFiftyContainers(t *testing.T) {
	testkit.NeedRoot(t)
	engine := testkit.Docker(t)
	spec := engine.ExporterSpec(t)
	spec.Name, spec.Labels = "looped", map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "9100"}
	a, idle := startDiscoverer(t, engine, ""), startDiscoverer(t, engine, "receivers: {discovery: {labels: false}}")
	a.comeAndGo(t, engine, spec, 5) // what is made once is there now
	testkit.Eventually(t, soon, a.runsNone)
	before := a.sockets(t)
	const rounds, each = 10, 5
	for range rounds {
		a.comeAndGo(t, engine, spec, each)
	}
	testkit.Eventually(t, soon, func() error {
		if now := a.sockets(t); now > before {
			return fmt.Errorf("%d sockets, %d before: %w", now, before, errStill)
		}
		return a.runsNone()
	})
	t.Logf("%d sockets as before the %d containers", before, rounds*each)
	require.Empty(t, a.ownComplaints(t, spec.Name))

	// An agent that has looked on, and has started no receiver, has the same goroutines.
	want, got := idle.goroutines(t), a.goroutines(t)
	for _, creator := range slices.Sorted(maps.Keys(got)) {
		if ofReceivers.MatchString(creator) {
			require.LessOrEqual(t, got[creator], want[creator], creator)
		}
	}
	t.Logf("goroutines: %d, of an agent that has started nothing %d", sumOf(got), sumOf(want))
	require.NotZero(t, want["github.com/prometheus/prometheus/scrape.(*scrapePool).sync"], "the agent's own: %v", want)
}

// ofReceivers is who makes the goroutines of discovery's receivers. Those of a connection
// are not among them: each has a socket, and these were counted, and how many an agent keeps
// to the engine is not the same in two of them.
var ofReceivers = regexp.MustCompile(`discoveryreceiver|/prometheus/|prometheusreceiver|^net\.`)

// comeAndGo runs containers at once until each of them was collected from, removes
// them, and waits until their receivers have been stopped.
func (a *tagAgent) comeAndGo(t *testing.T, engine *testkit.Engine, spec testkit.ContainerSpec, n int) {
	t.Helper()
	var all []*testkit.Container
	for range n {
		all = append(all, engine.RunContainer(t, spec))
	}
	for _, c := range all {
		a.wait(t, func() (delivery, error) { return a.point(c.ID, "node_time_seconds", nil) })
	}
	for _, c := range all {
		require.NoError(t, c.Remove(t.Context()))
	}
	for _, c := range all {
		stop := a.awaitEvent(t, c.ID, scopeDiscovery, "discovery.receiver.stop")
		require.Equal(t, "gone", stop.attributes["discovery.reason"])
		for _, name := range []string{"discovery.receiver.start", "discovery.receiver.stop"} {
			require.Equal(t, 1, a.count(c.ID, name), "%s of %s", name, c.Name)
		}
	}
}

// count is how often an event of a container has come.
func (a *tagAgent) count(id, event string) int {
	a.take()
	n := 0
	for _, d := range a.records {
		if d.name == event && d.resource["container.id"] == id {
			n++
		}
	}
	return n
}

// ownComplaints are the complaints about containers of these names, and about nothing in
// particular: tests beside this one have containers that are complained of as well.
func (a *agent) ownComplaints(t *testing.T, names ...string) []string {
	t.Helper()
	return slices.DeleteFunc(complaints(a.log()), func(line string) bool {
		about := aboutContainer.FindStringSubmatch(line)
		return about != nil && !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(about[1], name) })
	})
}

// aboutContainer finds the name of the container that a line of the agent's log is about.
var aboutContainer = regexp.MustCompile(`"container": "([^"]+)"`)

// runsNone returns nil if the agent says that discovery runs no receiver.
func (a *agent) runsNone() error {
	body, err := get(a.own)
	if err != nil {
		return err
	}
	now, err := parsePage(body)
	if err != nil {
		return err
	}
	return now[""].want("otelcol_discovery_receivers", 0)
}

// sockets is how many the agent has. What else it has open belongs to the containers of
// this host, of which other tests start some.
func (a *agent) sockets(t *testing.T) int {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", a.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	n := 0
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(link, "socket:") {
			n++
		}
	}
	return n
}

// goroutines ends the agent by the signal that makes Go print all its goroutines, and
// returns how many there were, by who has made them.
func (a *agent) goroutines(t *testing.T) map[string]int {
	t.Helper()
	require.NoError(t, a.cmd.Process.Signal(syscall.SIGQUIT))
	_, code := a.wait(soon)
	require.Equal(t, 2, code)
	text, err := os.ReadFile(a.logFile)
	require.NoError(t, err)
	all := map[string]int{}
	for line := range strings.Lines(string(text)) {
		if creator, ok := strings.CutPrefix(strings.TrimSpace(line), "created by "); ok {
			creator, _, _ = strings.Cut(creator, " in goroutine")
			all[creator]++
		}
	}
	return all
}

func sumOf(all map[string]int) int {
	n := 0
	for _, count := range all {
		n += count
	}
	return n
}
