package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// Request is what somebody asks for.
type Request struct {
	Reason string
	// Containers are names, ids or unique beginnings of ids, at most 64. None means
	// those that something has happened to, and the busiest ones; see Host.
	Containers []string
	// Host: all containers.
	Host bool
	// From and To are a window that is still kept, at most 30 min long. Without To it
	// ends now; without From it begins so long before its end as Last says, 10 min if
	// that is 0.
	From, To time.Time
	Last     time.Duration
}

// lateness is by how much a window may be too long, or end too late: "half an hour
// ago" is more than that when it arrives, and clocks of others are a little ahead.
const lateness = time.Minute

// Manual makes a capture of a time that has passed and returns its id at once;
// [Options.Done] tells when it is there. Errors wrap [ErrWindow], [ErrContainers],
// [ErrUnknown], [ErrAmbiguous], [ErrBusy] and [ErrClosed], or come from the disk.
func (e *Engine) Manual(ctx context.Context, r Request) (id string, err error) {
	now := e.o.Now()
	answers := make(chan answer, 1)
	out := request{trigger: bundle.Trigger{Kind: string(Manual), At: now, Reason: clean(r.Reason)}, host: r.Host, answer: answers}
	if out.window, err = r.window(now); err == nil {
		err = e.isKept(out.window)
	}
	if err == nil {
		err = e.find(&out, r.Containers)
	}
	if err != nil {
		return "", fmt.Errorf("make capture: %w", err)
	}
	if !e.offer(out) {
		return "", fmt.Errorf("make capture: %w", ErrBusy)
	}
	select {
	case a := <-answers:
		return a.id, a.err
	case <-ctx.Done():
		return "", fmt.Errorf("make capture: %w", ctx.Err())
	case <-e.ctx.Done():
		return "", fmt.Errorf("make capture: %w", ErrClosed)
	}
}

// window is what the request means.
func (r *Request) window(now time.Time) (bundle.Window, error) {
	w := bundle.Window{From: r.From.UTC().Round(0), To: r.To.UTC().Round(0)}
	if r.To.IsZero() || w.To.After(now) && w.To.Sub(now) <= lateness {
		w.To = now
	}
	if r.From.IsZero() {
		w.From = w.To.Add(-cmp.Or(r.Last, before))
	}
	length := w.To.Sub(w.From)
	if length > longest && length <= longest+lateness {
		w.From, length = w.To.Add(-longest), longest
	}
	switch {
	case w.To.After(now):
		return w, fmt.Errorf("%w: its end, %s, is still to come", ErrWindow, instantText(w.To))
	case length <= 0:
		return w, fmt.Errorf("%w: its end, %s, is not after its begin, %s", ErrWindow, instantText(w.To), instantText(w.From))
	case length > longest:
		return w, fmt.Errorf("%w: it is %v long, at most %v", ErrWindow, length.Round(time.Second), longest)
	}
	return w, nil
}

// instantText is how errors write times.
func instantText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// isKept tells of a window that nothing is left of.
func (e *Engine) isKept(w bundle.Window) error {
	var oldest time.Time
	for _, store := range []Store{e.o.Metrics, e.o.Events} {
		if store == nil {
			continue
		}
		if at := store.Oldest(); !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	if !oldest.IsZero() && w.To.Before(oldest) {
		return fmt.Errorf("%w: it is not kept any more, the oldest that is there is of %s", ErrWindow, instantText(oldest))
	}
	return nil
}

// find looks up whom a request names.
func (e *Engine) find(out *request, containers []string) error {
	if len(containers) > maxScope {
		return fmt.Errorf("%w: %d, at most %d (ask for the whole host)", ErrContainers, len(containers), maxScope)
	}
	var ids []string
	var errs []error
	for _, text := range containers {
		id := text
		if e.o.Entities != nil {
			found, err := e.o.Entities.Find(text, out.window)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			id = found
		}
		ids = append(ids, id)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if ids = distinct(ids); len(ids) > 0 {
		out.trigger.Container, out.more = e.known(bundle.Container{ID: ids[0]}), ids[1:]
	}
	return nil
}
