package e2e_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

var (
	errFew   = errors.New("not enough yet")
	errPace  = errors.New("not ten seconds")
	errEmpty = errors.New("nothing waits in the queue")
)

// The overlay sends one point per 10 s, and what the backend does not take
// survives a kill -9 of the agent.
func TestOTLPOverlay(t *testing.T) {
	t.Parallel()
	engine := testkit.Docker(t)
	sink := testkit.NewSink(t)
	s := settings{
		configs: []string{"otelcol-config.yaml", "deploy/otlp.yaml"},
		env:     []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + sink.Address()},
		state:   t.TempDir(),
		set: []string{
			"exporters::otlp_grpc::tls::insecure: true", // http:// alone does not switch TLS off
			"receivers::cgroup::unchanged_interval: 0s", // a point for each pass: the pace is the overlay's
		},
	}
	early := engine.RunContainer(t, testkit.ContainerSpec{Name: "early"})
	a := startAgent(t, s)
	// A gauge, a counter, and a sum that goes up and down.
	for _, metric := range []string{"container.uptime", "container.cpu.time", "container.memory.usage"} {
		t.Run(metric, func(t *testing.T) {
			testkit.Eventually(t, soon, func() error { return enough(sink, early.ID, metric) })
			require.NoError(t, tenSecondsApart(moments(sink, early.ID, metric)))
		})
	}

	sink.Gate(false)
	gated := time.Now()
	late := engine.RunContainer(t, testkit.ContainerSpec{Name: "late"})
	// The interval of ten seconds has ended once when the container is older, so
	// that points from after the gate was closed are in the queue.
	testkit.Eventually(t, soon, func() error {
		now, err := a.figures(late.ID)
		if age := now["container_uptime_seconds"].value; err == nil && age < 12 {
			err = fmt.Errorf("container %.12s is %v s old: %w", late.ID, age, errFew)
		}
		return errors.Join(err, a.hasEvent(late.ID, "container.start"), queued(a.own, "logs"), queued(a.own, "metrics"))
	})
	killed := time.Now()
	a.kill()
	require.NotZero(t, sink.Refused())
	require.Empty(t, eventNames(sink, late.ID), "the gate was open")
	sink.Gate(true)
	startAgent(t, s)

	testkit.Eventually(t, soon, func() error {
		if !slices.Contains(eventNames(sink, late.ID), "container.start") {
			return fmt.Errorf("container.start of %.12s: %w", late.ID, errMissing)
		}
		for _, at := range moments(sink, early.ID, "container.uptime") {
			if at.After(gated) && at.Before(killed) {
				return nil
			}
		}
		return fmt.Errorf("points between %v and %v: %w", gated, killed, errMissing)
	})
}

// enough returns nil once a metric of a container has three moments.
func enough(sink *testkit.Sink, id, metric string) error {
	if n := len(moments(sink, id, metric)); n < 3 {
		return fmt.Errorf("%s at %d moments: %w", metric, n, errFew)
	}
	return nil
}

// tenSecondsApart allows for two passes more or less: the newest point goes out every
// ten seconds.
func tenSecondsApart(at []time.Time) error {
	for i := range at[1:] {
		if gap := at[i+1].Sub(at[i]); gap < 8*time.Second || gap > 13*time.Second {
			return fmt.Errorf("points %v apart: %w", gap, errPace)
		}
	}
	return nil
}

// moments are those of a container's points of one metric, in their order.
func moments(sink *testkit.Sink, id, name string) []time.Time {
	var found []time.Time
	for _, metrics := range sink.Metrics() {
		for _, resource := range metrics.ResourceMetrics().All() {
			if got, ok := resource.Resource().Attributes().Get("container.id"); ok && got.Str() == id {
				found = append(found, momentsOf(resource, name)...)
			}
		}
	}
	slices.SortFunc(found, time.Time.Compare)
	return slices.Compact(found)
}

func momentsOf(resource pmetric.ResourceMetrics, name string) []time.Time {
	var found []time.Time
	for _, scope := range resource.ScopeMetrics().All() {
		for _, metric := range scope.Metrics().All() {
			if metric.Name() != name {
				continue
			}
			var points pmetric.NumberDataPointSlice
			if metric.Type() == pmetric.MetricTypeSum {
				points = metric.Sum().DataPoints()
			} else {
				points = metric.Gauge().DataPoints()
			}
			for _, p := range points.All() {
				found = append(found, p.Timestamp().AsTime())
			}
		}
	}
	return found
}

func eventNames(sink *testkit.Sink, id string) []string {
	var names []string
	for _, logs := range sink.Logs() {
		for _, e := range eventsOf(logs, id) {
			names = append(names, e.name)
		}
	}
	return names
}

// queued returns nil when something waits in the exporter's queue. The url is
// the agent's own telemetry.
func queued(url, signal string) error {
	body, err := get(url)
	if err != nil {
		return err
	}
	now, err := parsePage(body)
	if err != nil {
		return err
	}
	if n := now[""].sum("otelcol_exporter_queue_size otlp_grpc " + fmt.Sprintf("%q", signal)); n <= 0 {
		return fmt.Errorf("%s: %w", signal, errEmpty)
	}
	return nil
}
