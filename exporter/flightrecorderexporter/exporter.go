package flightrecorderexporter

import (
	"context"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"

	"github.com/tallymanhq/tallyman/internal/recorder"
)

// base is what the exporters of all signals have in common. Start and Shutdown are
// called one after the other, as the Collector does.
type base[T any] struct {
	cfg    *Config
	set    exporter.Settings
	signal signal[T]
	queue  *queue[T]
	health *health
	// unwatch takes the queue off the recorder's page; nil while it is not there.
	unwatch func()
	// ended is closed when the goroutine has handed on all it will; nil before Start.
	ended chan struct{}
}

func newBase[T any](cfg *Config, set exporter.Settings, s signal[T]) *base[T] {
	return &base[T]{cfg: cfg, set: set, signal: s, queue: newQueue[T](cfg.Queue)}
}

// Capabilities: what comes is only read, so that it need not be copied for a pipeline
// with further exporters.
func (b *base[T]) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// Start finds the recorder. The Collector has started it before.
func (b *base[T]) Start(_ context.Context, host component.Host) error {
	sink, err := findSink(b.cfg.Extension, host.GetExtensions())
	if err != nil {
		return fmt.Errorf("extension: %w", err)
	}
	if b.health, err = newHealth(b.set, b.signal.name, b.queue.stats); err != nil {
		return fmt.Errorf("register internal metrics: %w", err)
	}
	b.unwatch = sink.WatchQueue(b.signal.name, b.state)
	b.ended = make(chan struct{})
	go func() {
		defer close(b.ended)
		for data, ok := b.queue.take(); ok; data, ok = b.queue.take() {
			b.signal.hand(sink, data)
		}
	}()
	return nil
}

// Shutdown hands on what waits, as long as ctx allows; the rest is dropped. It is safe
// without Start and twice.
func (b *base[T]) Shutdown(ctx context.Context) error {
	b.queue.close()
	err := b.drain(ctx)
	b.queue.abandon()
	b.health.stop()
	b.health = nil
	if b.unwatch != nil {
		b.unwatch()
		b.unwatch = nil
	}
	return err
}

func (b *base[T]) drain(ctx context.Context) error {
	if b.ended == nil {
		return nil // nobody would take it
	}
	select {
	case <-b.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("hand on what waits: %w", ctx.Err())
	}
}

// state is what the recorder shows.
func (b *base[T]) state() recorder.Queue {
	now := b.queue.stats()
	return recorder.Queue{Waiting: now.waiting, Limit: b.cfg.Queue, Dropped: now.full + now.stopped}
}

// consume never waits and has no error: the pipeline is not to be held up.
func (b *base[T]) consume(data T) error {
	items, size := b.signal.measure(data)
	b.queue.put(batch[T]{data: data, items: items, weight: weigh(items, size)})
	return nil
}

// itemBytes is what an item may have on the wire to count as one. A point of a
// container's metric has 113 bytes, its share of the resource included (BenchmarkConsume);
// what a program puts into a log record or an attribute has no bound.
const itemBytes = 512

// weigh returns the number of items, or more if they are large.
func weigh(items, size int) int { return max(items, (size+itemBytes-1)/itemBytes) }

// findSink returns the recorder of that name, or the only one.
func findSink(wanted component.ID, all map[component.ID]component.Component) (recorder.Sink, error) {
	if wanted != (component.ID{}) {
		sink, ok := all[wanted].(recorder.Sink)
		if !ok {
			return nil, fmt.Errorf("%q is no flight_recorder, or is not in service::extensions", wanted)
		}
		return sink, nil
	}
	var only recorder.Sink
	for _, extension := range all {
		sink, ok := extension.(recorder.Sink)
		switch {
		case !ok:
		case only != nil:
			return nil, errSeveral
		default:
			only = sink
		}
	}
	if only == nil {
		return nil, errNone
	}
	return only, nil
}
