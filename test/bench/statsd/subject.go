package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/statsdreceiver"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/statsdreceiver/protocol"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/confignet"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver"
)

// subject is a receiver that is measured.
type subject struct {
	name    string // of files
	title   string
	factory receiver.Factory
	config  func(path string, interval time.Duration) component.Config
	// counter is its own count of messages that it has taken.
	counter string
}

// ours is as in production, origins found by the kernel's word, but for the rate
// that an origin may have: all senders here are one.
func ours(change func(*udsstatsdreceiver.Config)) subject {
	s := subject{name: "ours", title: "`uds_statsd`", factory: udsstatsdreceiver.NewFactory(), counter: "otelcol_uds_statsd_messages"}
	s.config = func(path string, interval time.Duration) component.Config {
		cfg := s.factory.CreateDefaultConfig().(*udsstatsdreceiver.Config)
		cfg.Endpoint, cfg.AggregationInterval = path, interval
		cfg.Limits.OriginRate = 1e9
		if change != nil {
			change(cfg)
		}
		return cfg
	}
	return s
}

// theirs makes histograms of timers and histograms, as ours does; its defaults
// would drop them.
func theirs() subject {
	s := subject{name: "theirs", title: "contrib `statsd`", factory: statsdreceiver.NewFactory(), counter: "otelcol_receiver_received_statsd_metrics"}
	s.config = func(path string, interval time.Duration) component.Config {
		cfg := s.factory.CreateDefaultConfig().(*statsdreceiver.Config)
		cfg.NetAddr = confignet.AddrConfig{Endpoint: path, Transport: confignet.TransportTypeUnixgram}
		cfg.AggregationInterval = interval
		cfg.TimerHistogramMapping = []protocol.TimerHistogramMapping{
			{StatsdType: protocol.HistogramTypeName, ObserverType: protocol.HistogramObserver},
			{StatsdType: protocol.TimingTypeName, ObserverType: protocol.HistogramObserver},
		}
		return cfg
	}
	return s
}

// running is a started subject.
type running struct {
	subject  subject
	receiver receiver.Metrics
	reader   *sdkmetric.ManualReader
	dir      string
	path     string // of its socket
}

func (s subject) start(ctx context.Context, interval time.Duration, next consumer.Metrics) (*running, error) {
	dir, err := os.MkdirTemp("", "statsd")
	if err != nil {
		return nil, err
	}
	r := &running{subject: s, reader: sdkmetric.NewManualReader(), dir: dir, path: filepath.Join(dir, "socket")}
	set := receiver.Settings{
		ID:                component.NewID(s.factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
		BuildInfo:         component.NewDefaultBuildInfo(),
	}
	set.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader))
	cfg := s.config(r.path, interval)
	if checked, ok := cfg.(interface{ Validate() error }); ok {
		if err := checked.Validate(); err != nil {
			return nil, err
		}
	}
	if r.receiver, err = s.factory.CreateMetrics(ctx, set, cfg, next); err != nil {
		return nil, err
	}
	if err := r.receiver.Start(ctx, componenttest.NewNopHost()); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.title, err)
	}
	return r, r.listens(ctx)
}

// listens waits for the socket: one of the two makes it after its start.
func (r *running) listens(ctx context.Context) error {
	return await(ctx, func() error {
		if _, err := os.Stat(r.path); err != nil {
			return fmt.Errorf("%w: %w", errNotYet, err)
		}
		return nil
	})
}

func (r *running) stop() error {
	return errors.Join(r.receiver.Shutdown(context.Background()), os.RemoveAll(r.dir))
}

// taken waits until the receiver says that it has taken so many messages.
func (r *running) taken(ctx context.Context, messages int) error {
	return await(ctx, func() error {
		n, err := r.count(ctx, r.subject.counter, "")
		if err == nil && n != messages {
			err = fmt.Errorf("%w: %s took %d of %d messages", errNotYet, r.subject.title, n, messages)
		}
		return err
	})
}

// count adds up one of the receiver's own metrics, of one reason if that is given.
func (r *running) count(ctx context.Context, name, reason string) (int, error) {
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(ctx, &all); err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	n := 0
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			for _, p := range dataPoints(m.Data) {
				if value, _ := p.Attributes.Value("reason"); reason == "" || value.AsString() == reason {
					n += int(p.Value)
				}
			}
		}
	}
	return n, nil
}

func dataPoints(data metricdata.Aggregation) []metricdata.DataPoint[int64] {
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		return d.DataPoints
	case metricdata.Gauge[int64]:
		return d.DataPoints
	}
	return nil
}
