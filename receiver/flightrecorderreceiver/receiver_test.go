package flightrecorderreceiver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/flightrecorderreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/flightrecorderreceiver/internal/metadatatest"
)

// announcer is a recorder whose captures the test makes.
type announcer struct {
	component.StartFunc
	component.ShutdownFunc
	tell func(plog.Logs)
}

func (a *announcer) Announce(f func(plog.Logs)) (stop func()) {
	a.tell = f
	return func() { a.tell = nil }
}

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }

func record(id string) plog.Logs {
	ld := plog.NewLogs()
	ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Attributes().PutStr("capture.id", id)
	return ld
}

func start(t *testing.T, next consumer.Logs, a *announcer) (receiver.Logs, *componenttest.Telemetry) {
	t.Helper()
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.WithoutCancel(t.Context()))) })
	r, err := NewFactory().CreateLogs(t.Context(), metadatatest.NewSettings(tel), &Config{}, next)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), host{component.NewID(metadata.Type): a}))
	return r, tel
}

func TestHandedOn(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	var sink consumertest.LogsSink
	var a announcer
	r, _ := start(t, &sink, &a)
	a.tell(record("1"))
	testkit.Eventually(t, 20*time.Second, func() error {
		if n := sink.LogRecordCount(); n != 1 {
			return fmt.Errorf("%d records", n)
		}
		return nil
	})
	a.tell(record("2"))
	require.NoError(t, r.Shutdown(t.Context()))
	require.Equal(t, 2, sink.LogRecordCount(), "what waited was handed on")
	require.Nil(t, a.tell, "nobody is told any more")
	require.NoError(t, r.Shutdown(t.Context()))
}

// A pipeline that takes nothing costs what does not fit, counted, and never the
// recorder's time.
func TestSlowPipeline(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	slow, err := consumer.NewLogs(func(context.Context, plog.Logs) error {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-gate
		return nil
	})
	require.NoError(t, err)
	var a announcer
	r, tel := start(t, slow, &a)
	a.tell(record("held"))
	<-entered
	for range waiting + 3 {
		a.tell(record("x"))
	}
	metadatatest.AssertEqualFlightRecorderRecordsDropped(t, tel, []metricdata.DataPoint[int64]{{Value: 3}}, metricdatatest.IgnoreTimestamp())
	close(gate)
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestRefused(t *testing.T) {
	var a announcer
	r, tel := start(t, consumertest.NewErr(errors.New("memory is short")), &a)
	a.tell(record("1"))
	require.NoError(t, r.Shutdown(t.Context()))
	_, err := tel.GetMetric("otelcol_flight_recorder_records_dropped")
	require.NoError(t, err)
}

func TestNoRecorder(t *testing.T) {
	f := func(cfg *Config, extensions host, want string) {
		t.Helper()
		r, err := NewFactory().CreateLogs(t.Context(), metadatatest.NewSettings(componenttest.NewTelemetry()), cfg, consumertest.NewNop())
		require.NoError(t, err)
		err = r.Start(t.Context(), extensions)
		require.ErrorContains(t, err, "extension: ")
		require.ErrorContains(t, err, want)
		require.NoError(t, r.Shutdown(t.Context()))
	}
	one, two := component.NewID(metadata.Type), component.NewIDWithName(metadata.Type, "second")
	f(&Config{}, nil, "no flight_recorder")
	f(&Config{}, host{one: &announcer{}, two: &announcer{}}, "several")
	f(&Config{Extension: two}, host{one: &announcer{}}, "second")
}

func TestConfig(t *testing.T) {
	all, err := confmaptest.LoadConf("testdata/config.yaml")
	require.NoError(t, err)
	cfg := NewFactory().CreateDefaultConfig().(*Config)
	part, err := all.Sub("flight_recorder/named")
	require.NoError(t, err)
	require.NoError(t, part.Unmarshal(cfg))
	require.Equal(t, component.NewIDWithName(metadata.Type, "second"), cfg.Extension)
	require.NoError(t, part.Unmarshal(NewFactory().CreateDefaultConfig()))
}
