package cgroupreceiver

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/cgroupreceiver/internal/metadatatest"
)

// How processes are watched is a metric.
func TestProcessTierMetric(t *testing.T) {
	testkit.NeedBPF(t)
	f := func(wish hostview.ProcessStream, tier hostview.Tier) {
		t.Helper()
		telemetry := componenttest.NewTelemetry()
		defer func() { require.NoError(t, telemetry.Shutdown(context.Background())) }()
		cfg := createDefaultConfig().(*Config)
		cfg.ProcessStream = wish
		r, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(telemetry), cfg, consumertest.NewNop())
		require.NoError(t, err)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		defer func() { require.NoError(t, r.Shutdown(context.Background())) }()
		metadatatest.AssertEqualCgroupProcessTier(t, telemetry, []metricdata.DataPoint[int64]{
			{Value: 1, Attributes: attribute.NewSet(attribute.String("tier", string(tier)))},
		}, metricdatatest.IgnoreTimestamp())
	}
	f("auto", hostview.TierBPF)
	f("proc", hostview.TierProc)
	f("off", hostview.TierOff)
}

// What is left out is counted, in a metric of the running receiver: nothing happens in an
// empty container, whatever else the host does.
func TestUnchangedMetric(t *testing.T) {
	testkit.Cgroup(t, "/tallyman-test-receiver/"+testID)
	telemetry := componenttest.NewTelemetry()
	defer func() { require.NoError(t, telemetry.Shutdown(context.Background())) }()
	cfg := createDefaultConfig().(*Config)
	cfg.CollectionInterval, cfg.InitialDelay, cfg.UnchangedInterval = 10*time.Millisecond, time.Millisecond, 9*time.Second
	r, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(telemetry), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	defer func() { require.NoError(t, r.Shutdown(context.Background())) }()
	testkit.Eventually(t, time.Minute, func() error {
		m, err := telemetry.GetMetric("otelcol_cgroup_unchanged")
		if err != nil {
			return err
		}
		if m.Data.(metricdata.Sum[int64]).DataPoints[0].Value == 0 {
			return errors.New("nothing was left out yet")
		}
		return nil
	})
}
