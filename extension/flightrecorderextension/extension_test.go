package flightrecorderextension

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/extension/flightrecorderextension/internal/metadata"
	"github.com/tallymanhq/tallyman/extension/flightrecorderextension/internal/metadatatest"
	"github.com/tallymanhq/tallyman/internal/recorder"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

const within = 30 * time.Second

func config(t *testing.T) *Config {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	cfg.Endpoint, cfg.Directory = "localhost:0", filepath.Join(t.TempDir(), "recorder")
	return cfg
}

func made(t *testing.T, cfg *Config, set extension.Settings) extension.Extension {
	t.Helper()
	e, err := NewFactory().Create(t.Context(), set, cfg)
	require.NoError(t, err)
	return e
}

func TestLifecycle(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	cfg := config(t)
	e := made(t, cfg, extensiontest.NewNopSettings(metadata.Type))
	require.NoError(t, e.Shutdown(t.Context()), "without a start")
	for range 2 {
		e = made(t, cfg, extensiontest.NewNopSettings(metadata.Type))
		require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
		found, err := recorder.Find[recorder.Sink](component.ID{}, map[component.ID]component.Component{component.NewID(metadata.Type): e})
		require.NoError(t, err)
		logs := plog.NewLogs()
		logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().SetEventName("a")
		found.Logs(logs)
		require.NoError(t, e.Shutdown(t.Context()))
		require.NoError(t, e.Shutdown(t.Context()), "twice")
	}
}

// A start that fails says which component and which key, and leaves nothing behind.
func TestStartFails(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := func(change func(*Config), want ...string) {
		t.Helper()
		cfg := config(t)
		change(cfg)
		e := made(t, cfg, extensiontest.NewNopSettings(metadata.Type))
		err := e.Start(t.Context(), componenttest.NewNopHost())
		for _, text := range append(want, metadata.Type.String()) {
			require.ErrorContains(t, err, text)
		}
		require.NoError(t, e.Shutdown(t.Context()))
	}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	f(func(c *Config) { c.Directory = filepath.Join(file, "recorder") }, "directory", "not a directory")
	f(func(c *Config) { c.Endpoint = "0.0.0.0:0" }, "endpoint", "token")
	f(func(c *Config) { c.Socket.Path = filepath.Join(file, "a.sock") }, "unix_socket.path", "not a directory")
	f(func(c *Config) { c.TokenFile = file }, "token_file", "empty")
	f(func(c *Config) { c.TokenFile = filepath.Join(filepath.Dir(file), "no", "token") }, "token_file", "no such file")
	f(func(c *Config) { c.Directory = filepath.Dir(file) }, "directory", "a folder of its own")

	busy := config(t)
	e := made(t, busy, extensiontest.NewNopSettings(metadata.Type))
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	f(func(c *Config) { c.Directory = busy.Directory }, "directory", "another recorder")
	require.NoError(t, e.Shutdown(t.Context()))
}

// SIGUSR1 makes a capture of the host.
func TestSignal(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	set := extensiontest.NewNopSettings(metadata.Type)
	set.Logger = zap.New(core)
	e := made(t, config(t), set)
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, e.Shutdown(t.Context())) })
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	testkit.Eventually(t, within, func() error {
		if n := logged.FilterMessage("captured what happened").Len(); n != 1 {
			return fmt.Errorf("%d captures are told of: %v", n, logged.All())
		}
		return nil
	})
}

// What was kept and lost is seen in the agent's own metrics.
func TestTelemetry(t *testing.T) {
	tel := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.WithoutCancel(t.Context()))) })
	e := made(t, config(t), metadatatest.NewSettings(tel))
	require.NoError(t, e.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, e.Shutdown(t.Context())) })
	logs := plog.NewLogs()
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().SetEventName("a")
	e.(recorder.Sink).Logs(logs)
	testkit.Eventually(t, within, func() error {
		got, err := tel.GetMetric("otelcol_flight_recorder_events")
		if err != nil {
			return err
		}
		if n := got.Data.(metricdata.Sum[int64]).DataPoints[0].Value; n != 1 {
			return fmt.Errorf("%d events", n)
		}
		return nil
	})
	same := metricdatatest.IgnoreTimestamp()
	metadatatest.AssertEqualFlightRecorderSamples(t, tel, []metricdata.DataPoint[int64]{{}}, same)
	metadatatest.AssertEqualFlightRecorderMemoryOnly(t, tel, []metricdata.DataPoint[int64]{{}}, same)
	for _, name := range []string{"captures", "disk_usage", "lost", "series"} {
		_, err := tel.GetMetric("otelcol_flight_recorder_" + name)
		require.NoError(t, err)
	}
}
