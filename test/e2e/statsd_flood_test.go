package e2e_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// innocentRate is what the innocent sends per second, innocentCount in all.
	innocentRate, innocentCount = 2000, 8000
	// floodLimit is what a container may send per second: more than the innocent
	// does, and less than any machine's flood.
	floodLimit = 5000
	flooders   = 4
)

// Four containers send as fast as they can. One beside them, which does not wait
// when the socket refuses, loses nothing, and what the four lose is counted
// against each of them, to the unit.
func TestStatsdFlood(t *testing.T) {
	t.Parallel()
	testkit.NeedRoot(t)
	testkit.NeedCommand(t, "nice")
	engine := testkit.Docker(t)
	program := buildStatsdClient(t)
	sink := testkit.NewSink(t)
	s := statsdSettings(sink, engine.Host(), "receivers::uds_statsd::limits::origin_rate: "+strconv.Itoa(floodLimit))
	// The kernel refuses the innocent when 278 of its own datagrams wait (the
	// default net.core.wmem_default): after 139 ms in which the agent gets no CPU.
	// That is no matter of the flood, and a busy machine of tests does it.
	s.wrap = []string{"nice", "-n", "-15"}
	a := startAgent(t, s)
	own := func() (page, error) {
		body, err := get(a.own)
		if err != nil {
			return nil, err
		}
		return parsePage(body)
	}

	var floods []*testkit.Container
	for range flooders {
		floods = append(floods, engine.RunContainer(t, program.container("statsd-flood", a, "flood", "-metric", "flood.sent")))
	}
	testkit.Eventually(t, soon, func() error { return allDropped(own, floods) })
	innocent := engine.RunContainer(t, program.container("statsd-innocent", a,
		"steady", "-metric", "innocent.sent", "-rate", strconv.Itoa(innocentRate), "-count", strconv.Itoa(innocentCount)))
	said := ended(t, innocent, "")
	t.Logf("innocent: %s", said)
	sent := make([]int, flooders)
	for i, c := range floods {
		_, err := fmt.Sscanf(ended(t, c, "SIGTERM"), "sent %d", &sent[i])
		require.NoError(t, err)
	}

	require.Contains(t, said, fmt.Sprintf("sent %d refused 0 ", innocentCount))
	view := newStatsdView(sink)
	testkit.Eventually(t, soon, func() error {
		return view.equals(t, innocent.ID, "innocent.sent", innocentCount)
	})
	require.EqualValues(t, innocentCount, view.total(statsdOf("", "innocent.sent")), "of others")
	testkit.Eventually(t, soon, func() error {
		now, err := own()
		if err != nil {
			return err
		}
		var wrong []error
		for i, c := range floods {
			taken, dropped := now[c.ID].sum("otelcol_uds_statsd_messages"), now[c.ID].sum(`otelcol_uds_statsd_dropped reason="origin_rate"`)
			if taken+dropped != float64(sent[i]) {
				wrong = append(wrong, fmt.Errorf("flood %d: %v taken and %v dropped of %d: %w", i, taken, dropped, sent[i], errOther))
			}
			wrong = append(wrong, view.equals(t, c.ID, "flood.sent", taken))
		}
		return errors.Join(wrong...)
	})
	now, err := own()
	require.NoError(t, err)
	for i, c := range floods {
		t.Logf("flood %d: %d sent, %v dropped", i, sent[i], now[c.ID].sum("otelcol_uds_statsd_dropped"))
	}
	require.Zero(t, now[innocent.ID].sum("otelcol_uds_statsd_dropped"))
	require.EqualValues(t, innocentCount, now[innocent.ID].sum("otelcol_uds_statsd_messages"))
	require.Zero(t, now[""].sum("otelcol_uds_statsd_dropped"), "counted against nobody")
}

// allDropped returns nil once something of each has been dropped.
func allDropped(own func() (page, error), floods []*testkit.Container) error {
	now, err := own()
	if err != nil {
		return err
	}
	for _, c := range floods {
		if now[c.ID].sum("otelcol_uds_statsd_dropped") == 0 {
			return fmt.Errorf("drops of container %s: %w", c.Name, errMissing)
		}
	}
	return nil
}
