package cgroupreceiver

import (
	"context"
	"testing"

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
