package discoveryreceiver

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// stoppedWithin is what a process manager leaves (30 s of Kubernetes), with something
// left for the rest of the agent.
const stoppedWithin = 25 * time.Second

// hanging is a receiver whose Start or Shutdown returns when the test says so. It does
// not care for its context.
type hanging struct {
	begun, end chan struct{}
	inStop     bool
}

func newHanging() *hanging {
	return &hanging{begun: make(chan struct{}), end: make(chan struct{})}
}

// Start implements [component.Component].
func (h *hanging) Start(context.Context, component.Host) error {
	close(h.begun)
	if !h.inStop {
		<-h.end
	}
	return nil
}

// Shutdown implements [component.Component].
func (h *hanging) Shutdown(context.Context) error {
	if h.inStop {
		<-h.end
	}
	return nil
}

// factory makes it for either signal. It takes any configuration.
func (h *hanging) factory(typ string) receiver.Factory {
	return receiver.NewFactory(component.MustNewType(typ), func() component.Config { return &map[string]any{} },
		receiver.WithMetrics(func(context.Context, receiver.Settings, component.Config, consumer.Metrics) (receiver.Metrics, error) {
			return h, nil
		}, component.StabilityLevelStable),
		receiver.WithLogs(func(context.Context, receiver.Settings, component.Config, consumer.Logs) (receiver.Logs, error) {
			return h, nil
		}, component.StabilityLevelStable))
}

// A receiver that does not return from its start does not keep the agent from its end,
// which the Collector gives no deadline. It is named.
func TestStopWithHangingStart(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	h := newHanging()
	r := newRig(t, func(c *Config) {
		c.Rules = []rules.Config{{Name: "stuck", Rule: `name == "web"`, Receiver: "hanging", Signals: []string{"metrics"}}}
	})
	r.host.factories["hanging"] = h.factory("hanging")
	d := newDeciding(t, r)
	d.changed([]*target.Target{{ID: "4711", Name: "web"}})
	<-h.begun
	begun := time.Now()
	err := d.stop(context.Background())
	t.Logf("stopped after %v: %v", time.Since(begun).Round(time.Millisecond), err)
	require.Less(t, time.Since(begun), stoppedWithin)
	for _, word := range []string{"hanging", `"stuck"`, "4711"} {
		require.ErrorContains(t, err, word)
	}
	close(h.end)
}

// A pipeline of logs that takes nothing does not either, whether it heeds its context or
// not. What is lost is counted.
func TestStopWithStuckPipeline(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := func(next consumer.Logs, want error) {
		t.Helper()
		r := newRig(t, nil)
		d := newDeciding(t, r)
		d.events.next = next
		d.journal.event(happening{container: "c1"})
		d.journal.event(happening{container: "c2"})
		begun := time.Now()
		require.ErrorIs(t, d.stop(context.Background()), want)
		require.Less(t, time.Since(begun), eventsWithin+heedWithin+soon)
		if want == nil {
			require.EqualValues(t, 2, d.events.refused.Load())
		}
	}
	patient, err := consumer.NewLogs(func(ctx context.Context, _ plog.Logs) error {
		<-ctx.Done()
		return ctx.Err()
	})
	require.NoError(t, err)
	f(patient, nil)
	end := make(chan struct{})
	stubborn, err := consumer.NewLogs(func(context.Context, plog.Logs) error {
		<-end
		return nil
	})
	require.NoError(t, err)
	f(stubborn, errEventsStick)
	close(end)
}

// A look that hangs, say at a file system that is gone, is left behind as well.
func TestStopWithStuckWatch(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	d := newDeciding(t, newRig(t, nil))
	end := make(chan struct{})
	d.running.Go(func() { <-end })
	begun := time.Now()
	require.ErrorIs(t, d.stop(context.Background()), errWatchStays)
	require.Less(t, time.Since(begun), watchWithin+heedWithin+soon)
	close(end)
	testkit.Eventually(t, patience, func() error {
		d.deciding.Lock()
		defer d.deciding.Unlock()
		if !d.isOver {
			return errors.New("it still decides")
		}
		return nil
	})
}

// A receiver that does not return from its end is told of as that, by the real runner: a
// warning of its own, an event, and its name in the error of the end.
func TestOverdueEnd(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	h := newHanging()
	h.inStop = true
	r := newRig(t, func(c *Config) {
		c.Rules = []rules.Config{{Name: "stuck", Rule: `name == "web"`, Receiver: "hanging", Signals: []string{"metrics"}}}
	})
	r.host.factories["hanging"] = h.factory("hanging")
	d := newDeciding(t, r)
	d.changed([]*target.Target{{ID: "4711", Name: "web"}})
	r.tells(t, "4711", "start stuck rule")
	d.changed(nil)
	testkit.Eventually(t, 4*soon, func() error {
		if len(r.warnings()) == 0 {
			return errors.New("no warning")
		}
		return nil
	})
	require.Len(t, r.warnings(), 1)
	require.Equal(t, "a receiver that is to stop still runs", r.warnings()[0].Message)
	require.Equal(t, "web", r.warnings()[0].ContextMap()["container"])
	r.tells(t, "4711", "start stuck rule", "failed stuck overdue", "stop stuck gone")
	require.ErrorContains(t, d.stop(context.Background()), `hanging of rule "stuck" for container 4711`)
	close(h.end)
}
