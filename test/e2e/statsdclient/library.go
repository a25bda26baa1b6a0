package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"

	"github.com/tallymanhq/tallyman/test/e2e/statsdclient/load"
)

const (
	// parts of the load are sent one after the other, so that it is spread over
	// some flushes of the library (2 s) and of the receiver.
	parts     = 100
	partEvery = 30 * time.Millisecond
	// writeTimeout in place of the library's 100 ms: the machine that runs the
	// tests may be busy with others for that long.
	writeTimeout = 10 * time.Second
)

var errAggregation = errors.New("neither default, none nor extended")

// sendLoad sends the load of the seed, and stays until it is told to end: the
// library tells of itself every 10 s.
func sendLoad(ctx context.Context, o options, out io.Writer) error {
	var trouble trouble
	choice := map[string]statsd.Option{
		"default": nil, "none": statsd.WithoutClientSideAggregation(), "extended": statsd.WithExtendedClientSideAggregation(),
	}
	chosen, ok := choice[o.aggregation]
	if !ok {
		return fmt.Errorf("aggregate %q: %w", o.aggregation, errAggregation)
	}
	settings := []statsd.Option{statsd.WithErrorHandler(trouble.add), statsd.WithWriteTimeout(writeTimeout)}
	if chosen != nil {
		settings = append(settings, chosen)
	}
	client, err := statsd.New(o.address, settings...)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	err = sendAll(client, o)
	if err == nil {
		fmt.Fprintf(out, "sent %d\n", o.count)
		<-ctx.Done()
	}
	return errors.Join(err, client.Close(), trouble.err())
}

func sendAll(client *statsd.Client, o options) error {
	ticker := time.NewTicker(partEvery)
	defer ticker.Stop()
	var errs []error
	sent := 0
	for m := range load.Metrics(o.seed, o.count) {
		errs = append(errs, sendMetric(client, &m))
		if sent++; sent%max(1, o.count/parts) == 0 {
			<-ticker.C
		}
	}
	for _, set := range load.Sets(o.seed) {
		errs = append(errs, client.Flush())
		for _, member := range set.Names {
			errs = append(errs, client.Set(load.UsersSet, member, set.Tags, 1))
		}
	}
	for _, e := range load.Events(o.seed) {
		errs = append(errs, client.Event(&statsd.Event{
			Title: e.Title, Text: e.Text, AlertType: statsd.EventAlertType(e.Alert), Priority: statsd.EventPriority(e.Priority),
			AggregationKey: e.Key, SourceTypeName: e.Source, Tags: e.Tags,
		}))
	}
	for _, c := range load.Checks(o.seed) {
		errs = append(errs, client.ServiceCheck(&statsd.ServiceCheck{
			Name: c.Name, Status: statsd.ServiceCheckStatus(c.Status), Message: c.Message, Tags: c.Tags,
		}))
	}
	return errors.Join(append(errs, client.Flush())...)
}

func sendMetric(client *statsd.Client, m *load.Metric) error {
	switch m.Kind {
	case load.Count:
		return client.Count(m.Name, int64(m.Value), m.Tags, 1)
	case load.Gauge:
		return client.Gauge(m.Name, m.Value, m.Tags, 1)
	case load.Histogram:
		return client.Histogram(m.Name, m.Value, m.Tags, 1)
	case load.Distribution:
		return client.Distribution(m.Name, m.Value, m.Tags, 1)
	default:
		return client.TimeInMilliseconds(m.Name, m.Value, m.Tags, 1)
	}
}

// trouble is what the library could not do. It is safe for concurrent use.
type trouble struct {
	mu    sync.Mutex // guards what follows
	first error
	n     int
}

func (t *trouble) add(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n++; t.first == nil {
		t.first = err
	}
}

func (t *trouble) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == 0 {
		return nil
	}
	return fmt.Errorf("send: %d errors, the first: %w", t.n, t.first)
}
