package flightrecorderexporter

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/tallymanhq/tallyman/exporter/flightrecorderexporter/internal/metadatatest"
)

// TestHealth has two signals under one name, as a configuration has: neither may hide
// the other.
func TestHealth(t *testing.T) {
	telemetry := componenttest.NewTelemetry()
	set := settings()
	set.TelemetrySettings = telemetry.NewTelemetrySettings()
	s := &sink{entered: make(chan struct{}, 10), gate: make(chan struct{})}
	logs, err := createLogs(t.Context(), set, &Config{Queue: 2})
	require.NoError(t, err)
	metrics, err := createMetrics(t.Context(), set, &Config{Queue: 2})
	require.NoError(t, err)
	start(t, logs, s)
	start(t, metrics, s)
	require.NoError(t, logs.ConsumeLogs(t.Context(), records("in hand")))
	comes(t, s.entered, "first batch")
	for range 5 {
		require.NoError(t, logs.ConsumeLogs(t.Context(), records("x")))
	}
	point := func(value int64, signal string, more ...attribute.KeyValue) metricdata.DataPoint[int64] {
		who := append(more, attribute.String("exporter", set.ID.String()), attribute.String("signal", signal))
		return metricdata.DataPoint[int64]{Value: value, Attributes: attribute.NewSet(who...)}
	}
	full, stopped := attribute.String("reason", "queue_full"), attribute.String("reason", "shutdown")
	quiet := metricdatatest.IgnoreTimestamp()
	metadatatest.AssertEqualFlightRecorderDropped(t, telemetry, []metricdata.DataPoint[int64]{
		point(3, "logs", full), point(0, "logs", stopped), point(0, "metrics", full), point(0, "metrics", stopped),
	}, quiet)
	metadatatest.AssertEqualFlightRecorderQueueItems(t, telemetry, []metricdata.DataPoint[int64]{
		point(2, "logs"), point(0, "metrics"),
	}, quiet)
	metadatatest.AssertEqualFlightRecorderTaken(t, telemetry, []metricdata.DataPoint[int64]{
		point(1, "logs"), point(0, "metrics"),
	}, quiet)
	close(s.gate)
	stop(t, logs)
	stop(t, metrics)
	require.NoError(t, telemetry.Shutdown(t.Context()))
}
