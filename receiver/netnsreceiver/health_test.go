package netnsreceiver

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/netnsreceiver/internal/metadatatest"
)

// What is left out is counted, in a metric of the running receiver: nothing happens in the
// network of a container that sleeps, whatever else the host does.
func TestUnchangedMetric(t *testing.T) {
	testkit.NeedCommand(t, "unshare")
	testkit.Run(t, testkit.Cgroup(t, "/tallyman-test-netns/"+testID), "unshare", "-n", "sleep", "600")
	telemetry := componenttest.NewTelemetry()
	defer func() { require.NoError(t, telemetry.Shutdown(context.Background())) }()
	cfg := createDefaultConfig().(*Config)
	cfg.CollectionInterval, cfg.InitialDelay, cfg.UnchangedInterval = 10*time.Millisecond, time.Millisecond, 9*time.Second
	r, err := NewFactory().CreateMetrics(t.Context(), metadatatest.NewSettings(telemetry), cfg, consumertest.NewNop())
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	defer func() { require.NoError(t, r.Shutdown(context.Background())) }()
	testkit.Eventually(t, time.Minute, func() error {
		m, err := telemetry.GetMetric("otelcol_netns_unchanged")
		if err != nil {
			return err
		}
		if m.Data.(metricdata.Sum[int64]).DataPoints[0].Value == 0 {
			return errors.New("nothing was left out yet")
		}
		return nil
	})
}
