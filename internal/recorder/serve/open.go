package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// Opened is a capture that can be served.
type Opened struct {
	// Options have the sources, the capture and the clock, which stands at the end of
	// its window. Endpoints, Web and the size of the file (Opened.Bytes) are the
	// caller's to add.
	Options api.Options

	closers []func() error
}

// Close ends the use of the unpacked members. Nobody may be served any more.
func (o *Opened) Close() error {
	var errs []error
	for _, each := range o.closers {
		errs = append(errs, each())
	}
	o.closers = nil
	return errors.Join(errs...)
}

// OpenCapture opens what [bundle.Reader.Extract] has unpacked into a directory, which
// stays as it is until Close. A member that is not there or cannot be read is an empty
// source, and a message of the status; an error is one of the directory itself.
func OpenCapture(dir string, m *bundle.Manifest) (*Opened, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open capture %s: %w", m.ID, err)
	}
	capture := described(m)
	o := &Opened{
		Options: api.Options{Opened: &capture, State: stateFS{root.FS()}, Now: clockOf(m)},
		closers: []func() error{root.Close},
	}
	agent := openedAgent{status: statusOf(m), stats: statsOf(root.FS(), m)}
	agent.note("metrics", o.metrics(filepath.Join(dir, bundle.MetricsDir)))
	reader, err := o.events(filepath.Join(dir, bundle.EventsDir))
	agent.note("events", err)
	table, err := containers(members{root.FS(), m, reader, o.Options.Queryable})
	agent.note("containers", err)
	o.Options.Entities = &entities{table: table, at: m.Window.To}
	o.Options.Agent = agent
	return o, nil
}

// metrics opens the block. Without one all queries are answered, with nothing.
func (o *Opened) metrics(dir string) error {
	blocks, err := metricstore.OpenBlocks(dir)
	if err == nil {
		o.Options.Engine, o.Options.Queryable = blocks.Engine(), blocks.Queryable()
		o.closers = append(o.closers, blocks.Close)
		return nil
	}
	nothing := metricstore.Nothing()
	o.Options.Engine, o.Options.Queryable = nothing.Engine(), nothing.Queryable()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, metricstore.ErrNoBlocks) {
		return nil // the manifest says why
	}
	return err
}

// events opens the segments.
func (o *Opened) events(dir string) (EventSource, error) {
	reader, found, err := eventstore.OpenDir(dir)
	if err != nil {
		o.Options.Events = Events(noEvents{})
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // the manifest says why
		}
		return noEvents{}, err
	}
	o.Options.Events = Events(reader)
	o.closers = append(o.closers, reader.Close)
	if left := append(found.Damaged, found.Skipped...); len(left) > 0 {
		return reader, fmt.Errorf("%w: %s", errPartly, strings.Join(left, ", "))
	}
	return reader, nil
}

var errPartly = errors.New("not all of it can be read")

// noEvents is a capture without a store of events.
type noEvents struct{}

// Scan implements [EventSource].
func (noEvents) Scan(context.Context, eventstore.Query, func(eventstore.Event) bool) error {
	return nil
}
