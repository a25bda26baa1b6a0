package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// An agent with a pid namespace of its own is not told who sends. The metrics
// come all the same, as nobody's, and one line says why and what to do.
func TestStatsdWithoutHostPID(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "unshare")
	engine := testkit.Docker(t)
	program := buildStatsdClient(t)
	sink := testkit.NewSink(t)
	s := statsdSettings(sink, engine.Host())
	s.wrap = []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}
	a := startAgent(t, s)
	c := engine.RunContainer(t, program.container("statsd-nobody", a, "steady", "-metric", "nobody.sent", "-count", "1000"))
	require.Contains(t, ended(t, c, ""), "sent 1000 refused 0 ")
	view := newStatsdView(sink)
	testkit.Eventually(t, soon, func() error { return view.equals(t, "", "nobody.sent", 1000) })
	for key := range view.series {
		require.Equal(t, "none", key.origin, "%v", key)
		require.Empty(t, key.container, "%v", key)
	}
	// The line comes with the flush that finds it out, and never again.
	said := func() error {
		if len(statsdComplaints(a.log())) == 0 {
			return fmt.Errorf("a warning: %w", errMissing)
		}
		return nil
	}
	testkit.Eventually(t, soon, said)
	sendStatsd(t, a.statsdSocket(), "again.sent:1|c")
	testkit.Eventually(t, soon, func() error { return view.equals(t, "", "again.sent", 1) })
	lines := statsdComplaints(a.log())
	require.Len(t, lines, 1, fmt.Sprint(lines))
	for _, remedy := range []string{"pid namespace", "--pid host", "hostPID: true"} {
		require.Contains(t, lines[0], remedy)
	}
}

// statsdComplaints are those of the receiver.
func statsdComplaints(log string) []string {
	return slices.DeleteFunc(complaints(log), func(line string) bool {
		return !strings.Contains(line, `"otelcol.component.id": "uds_statsd"`)
	})
}
