package discoveryreceiver

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
)

func TestRecords(t *testing.T) {
	var sink consumertest.LogsSink
	e := &eventEmitter{next: &sink, version: "1.2"}
	at := time.Unix(1_800_000_000, 0)
	h := happening{
		at: at, rule: "web", receiver: "nginx/a", endpoint: "10.0.0.2:80", reason: reasonRule, container: "c1",
		resource: map[string]string{"container.name": "web-1", "container.runtime.name": "docker", "team": "shop"},
	}
	end, bad, stuck := h, h, h
	stuck.kind, stuck.reason, stuck.err = stopping, reasonOverdue, errors.New("stop: has not returned")
	end.kind, end.reason = stopped, reasonGone
	bad.kind, bad.reason, bad.err, bad.receiver, bad.endpoint = failed, reasonLabel, errors.New("is no YAML"), "", ""
	events := make(chan happening, 4)
	events <- h
	events <- end
	events <- bad
	events <- stuck
	quit := make(chan struct{})
	close(quit)
	e.run(t.Context(), quit, events) // what waits is handed on before it ends

	all := sink.AllLogs()
	require.Len(t, all, 4)
	f := func(n int, want, body string, attributes map[string]any) {
		t.Helper()
		rl := all[n].ResourceLogs().At(0)
		require.Equal(t, map[string]any{"container.id": "c1", "container.name": "web-1", "container.runtime.name": "docker"}, rl.Resource().Attributes().AsRaw())
		require.Equal(t, "1.2", rl.ScopeLogs().At(0).Scope().Version())
		record := rl.ScopeLogs().At(0).LogRecords().At(0)
		require.Equal(t, want, record.SeverityText()+" "+record.EventName())
		require.Equal(t, body, record.Body().Str())
		require.Equal(t, attributes, record.Attributes().AsRaw())
		require.True(t, record.Timestamp().AsTime().Equal(at))
	}
	f(0, "INFO discovery.receiver.start", "Receiver nginx/a was started for container web-1 by rule web.", map[string]any{
		"discovery.rule": "web", "discovery.receiver": "nginx/a", "discovery.endpoint": "10.0.0.2:80", "discovery.reason": "rule",
	})
	f(1, "INFO discovery.receiver.stop", "Receiver nginx/a of container web-1 was stopped.", map[string]any{
		"discovery.rule": "web", "discovery.receiver": "nginx/a", "discovery.endpoint": "10.0.0.2:80", "discovery.reason": "gone",
	})
	f(2, "WARN discovery.receiver.failed", "What web asks for does not run for container web-1: is no YAML.", map[string]any{
		"discovery.rule": "web", "discovery.reason": "label", "error.message": "is no YAML",
	})
	f(3, "WARN discovery.receiver.failed", "Receiver nginx/a of container web-1 is to stop and still runs: stop: has not returned.", map[string]any{
		"discovery.rule": "web", "discovery.receiver": "nginx/a", "discovery.endpoint": "10.0.0.2:80", "discovery.reason": "overdue",
		"error.message": "stop: has not returned",
	})
}

// What a pipeline does not take, or would take after the end, is counted.
func TestRefusedRecords(t *testing.T) {
	e := &eventEmitter{next: consumertest.NewErr(errors.New("memory is short"))}
	h := happening{container: "c1"}
	e.hand(t.Context(), &h)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	e.next = new(consumertest.LogsSink)
	e.hand(ended, &h)
	require.EqualValues(t, 2, e.refused.Load())
}
