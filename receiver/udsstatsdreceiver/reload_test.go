package udsstatsdreceiver

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// A reload makes new factories in the same process. Where the sockets are kept,
// nothing is lost that is sent meanwhile, and nobody has to connect again.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	require.NoError(t, err)
	defer manager.Close()
	store, err := transport.OpenStore(func(key string) string {
		return map[string]string{"NOTIFY_SOCKET": filepath.Join(dir, "notify")}[key]
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	cfg := createDefaultConfig().(*Config)
	cfg.Endpoint = filepath.Join(dir, "dsd.socket")
	begin := func(sink *consumertest.MetricsSink) receiver.Metrics {
		f := newFactory(newShared(func() (*transport.Store, error) { return store, nil }))
		m, err := f.CreateMetrics(t.Context(), receivertest.NewNopSettings(metadata.Type), cfg, sink)
		require.NoError(t, err)
		require.NoError(t, m.Start(t.Context(), componenttest.NewNopHost()))
		return m
	}
	before, after := &consumertest.MetricsSink{}, &consumertest.MetricsSink{}
	m := begin(before)
	sender, err := net.Dial("unixgram", cfg.Endpoint)
	require.NoError(t, err)
	defer sender.Close()
	require.NoError(t, m.Shutdown(context.Background()))
	for range 3 {
		_, err := sender.Write([]byte("meanwhile:1|c"))
		require.NoError(t, err)
	}
	m = begin(after)
	r := rig{t: t, metrics: after}
	m.(*metricsReceiver).flush(false)
	testkit.Eventually(t, patience, func() error {
		m.(*metricsReceiver).flush(false)
		got, _, err := r.metric("meanwhile")
		if err != nil {
			return err
		}
		if total := got.Sum().DataPoints().At(0).DoubleValue(); total != 3 {
			return fmt.Errorf("%v of 3", total)
		}
		return nil
	})
	require.NoError(t, m.Shutdown(context.Background()))
}
