package flightrecorderreceiver

import (
	"context"
	"fmt"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/recorder"
	"github.com/tallymanhq/tallyman/receiver/flightrecorderreceiver/internal/metadata"
)

// logs is the receiver. The Collector calls its methods one after the other.
type logs struct {
	cfg  *Config
	set  receiver.Settings
	next consumer.Logs

	telemetry *metadata.TelemetryBuilder
	mailbox   mailbox
	stop      func()
	cancel    context.CancelFunc
	running   sync.WaitGroup
}

// Start finds the recorder. Extensions have been started before.
func (l *logs) Start(_ context.Context, host component.Host) error {
	announcer, err := recorder.Find[recorder.Announcer](l.cfg.Extension, host.GetExtensions())
	if err != nil {
		return fmt.Errorf("extension: %w", err)
	}
	if l.telemetry, err = metadata.NewTelemetryBuilder(l.set.TelemetrySettings); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel, l.mailbox = cancel, make(mailbox, waiting)
	l.running.Go(func() { l.each(ctx) })
	l.stop = announcer.Announce(l.put)
	return nil
}

// dropped counts what nobody will be told of.
func (l *logs) dropped(n int64, reason error) {
	l.telemetry.FlightRecorderRecordsDropped.Add(context.Background(), n)
	l.set.Logger.Warn("a log record about a capture was dropped", zap.Error(reason))
}

// Shutdown hands on what waits. It is safe without Start and twice.
func (l *logs) Shutdown(context.Context) error {
	if l.stop == nil {
		return nil
	}
	l.stop()
	l.cancel()
	l.running.Wait()
	l.telemetry.Shutdown()
	l.stop = nil
	return nil
}
