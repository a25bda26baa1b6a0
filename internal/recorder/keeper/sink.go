package keeper

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/tallymanhq/tallyman/internal/recorder"
)

// Metrics implements [recorder.Sink].
func (k *Keeper) Metrics(md pmetric.Metrics) {
	k.engine.ObserveMetrics(md)
	k.live.Observe(md)
	k.entities.ObserveMetrics(md)
	k.metrics.Write(k.ctx, md)
}

// Logs implements [recorder.Sink]. Triggers come first: a picture of a container
// is worth something only while it is there.
func (k *Keeper) Logs(ld plog.Logs) {
	k.engine.ObserveEvents(ld)
	k.entities.ObserveLogs(ld)
	k.events.Append(ld)
	k.endAll(k.ctx, ld)
}

// Traces implements [recorder.Sink].
func (k *Keeper) Traces(td ptrace.Traces) { k.events.AppendSpans(td) }

// stopScope is the scope of the receiver cgroup, which alone tells of container.stop.
// What an application sends under that name is an event as any other.
const stopScope = "github.com/tallymanhq/tallyman/receiver/cgroupreceiver"

// endAll ends the series of containers that have stopped.
func (k *Keeper) endAll(ctx context.Context, ld plog.Logs) {
	for _, resource := range ld.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			if scope.Scope().Name() != stopScope {
				continue
			}
			for _, record := range scope.LogRecords().All() {
				if record.EventName() == "container.stop" {
					k.end(ctx, resource.Resource().Attributes(), record)
				}
			}
		}
	}
}

func (k *Keeper) end(ctx context.Context, resource pcommon.Map, record plog.LogRecord) {
	id, ok := resource.Get("container.id")
	if !ok || id.Str() == "" {
		return
	}
	at := time.Now()
	if record.Timestamp() != 0 {
		at = record.Timestamp().AsTime()
	}
	k.live.End(id.Str(), at)
	k.metrics.End(ctx, id.Str(), at)
}

// WatchQueue implements [recorder.Sink].
func (k *Keeper) WatchQueue(signal string, read func() recorder.Queue) (release func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastListener++
	id := k.lastListener
	k.queues[id] = watchedQueue{signal, read}
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.queues, id)
	}
}

type watchedQueue struct {
	signal string
	read   func() recorder.Queue
}

// queued sums up the queues in front of the recorder, and what they dropped, by
// signal.
func (k *Keeper) queued() (sum recorder.Queue, dropped map[string]uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	dropped = map[string]uint64{}
	for _, q := range k.queues {
		one := q.read()
		sum.Waiting += one.Waiting
		sum.Limit += one.Limit
		sum.Dropped += one.Dropped
		if one.Dropped > 0 {
			dropped[q.signal] += one.Dropped
		}
	}
	return sum, dropped
}
