package discoveryreceiver

import (
	"context"
	"errors"
	"time"
)

// The Collector stops its receivers without a deadline, and goes on to the next one when
// this one has returned. So there are bounds here: together with the runner's own they
// are less than the 30 s in which Kubernetes wants an agent gone.
const (
	// watchWithin: a look takes milliseconds, and what asks the engine heeds its context.
	watchWithin = 3 * time.Second
	// eventsWithin is for a pipeline of logs that is slow: 1000 records at most wait.
	eventsWithin = 3 * time.Second
	// heedWithin is how long somebody may take whose context has ended.
	heedWithin = time.Second
)

var (
	errWatchStays  = errors.New("end the watch of containers: a look at them does not return")
	errEventsStick = errors.New("hand on events: the pipeline of logs does not return")
)

// stop ends everything. It returns when nothing is left but what does not return, which
// its error names.
func (d *discovery) stop(ctx context.Context) error {
	err := d.endWatch(ctx)
	if d.journal != nil {
		d.journal.close()
	}
	if d.runner != nil {
		err = errors.Join(err, d.runner.Shutdown(ctx))
	}
	err = errors.Join(err, d.endEvents(ctx))
	if d.health != nil {
		d.health.stop()
	}
	return err
}

// endWatch ends looking and deciding. A look that hangs keeps the view until it is over.
func (d *discovery) endWatch(ctx context.Context) error {
	d.cancel()
	over := closedAfter(func() {
		d.running.Wait()
		d.endDeciding()
		if d.view != nil {
			d.view.Release()
		}
	})
	if comes(ctx, over, watchWithin) || comes(context.Background(), over, heedWithin) {
		return nil
	}
	return errWatchStays
}

// endEvents hands on the events that wait. A pipeline that takes too long for it is told
// by its context; one that does not heed that is left alone with its event.
func (d *discovery) endEvents(ctx context.Context) error {
	close(d.quit)
	over := closedAfter(d.handing.Wait)
	defer d.giveUp()
	if comes(ctx, over, eventsWithin) {
		return nil
	}
	d.giveUp()
	if comes(context.Background(), over, heedWithin) {
		return nil
	}
	return errEventsStick
}

// closedAfter calls f and closes the channel when it has returned.
func closedAfter(f func()) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		f()
	}()
	return over
}

// comes waits until the channel is closed, and tells whether that was in time.
func comes(ctx context.Context, over <-chan struct{}, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}
