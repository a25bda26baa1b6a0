package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"time"
)

const (
	// syncWorkers is how many containers are inspected at once after connecting:
	// dockerd takes a lock per container, so that one which is just being started
	// does not hold up all others.
	syncWorkers = 4
	// maxTimeouts in a row mean that the engine hangs, rather than some containers.
	maxTimeouts = 2 * syncWorkers
)

// looked is the outcome of one inspect.
type looked struct {
	id        string
	container *Container
	begun     time.Time
	err       error
}

// sync tells all containers there are, then what has happened to them while
// nobody listened: first from the engine's memory, then from what has changed.
func (w *Watcher) sync(ctx context.Context, list []*Container, past []*message, f *feed) error {
	missing := w.missing(list)
	if !w.synced {
		// An attempt before this one broke off halfway. What it told was true
		// then, so what has changed since is news.
		w.ledger.begin(w.options.Now())
	}
	if err := w.putAll(ctx, list); err != nil {
		return err
	}
	at := w.options.Now()
	if !w.synced {
		w.ledger.begin(at)
	}
	w.ledger.repeated(past)
	var events []Event
	for _, m := range append(past, f.waiting()...) {
		events = append(events, w.handle(ctx, m)...)
	}
	events = append(events, w.ledger.recover(list, missing, at)...)
	w.synced = true
	w.handler.Synced()
	for _, id := range w.unanswered {
		w.wants.add(id)
	}
	w.unanswered = nil
	slices.SortStableFunc(events, func(a, b Event) int { return a.Time.Compare(b.Time) })
	for _, e := range events {
		w.emit(e)
	}
	return ctx.Err()
}

// missing returns which known containers are not in the list.
func (w *Watcher) missing(list []*Container) []string {
	listed := make(map[string]struct{}, len(list))
	for _, c := range list {
		listed[c.ID] = struct{}{}
	}
	var ids []string
	for id := range w.ledger.records {
		if _, ok := listed[id]; !ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// putAll inspects and tells all that are listed. One that cannot be read is told
// with what the list has.
func (w *Watcher) putAll(ctx context.Context, list []*Container) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	brief := make(map[string]*Container, len(list))
	for _, c := range list {
		brief[c.ID] = c
	}
	timeouts := 0
	for l := range w.inspectAll(ctx, list) {
		if !errors.Is(l.err, context.DeadlineExceeded) {
			timeouts = 0
		}
		switch {
		case l.err == nil:
			w.put(l.container, l.begun)
		case ctx.Err() != nil || errors.Is(l.err, ErrNotFound):
		case errors.Is(l.err, context.DeadlineExceeded):
			if timeouts++; timeouts == maxTimeouts {
				cancel(l.err)
			}
			w.putBrief(brief[l.id])
		case isAnswer(l.err):
			w.putBrief(brief[l.id])
			w.askAgain(l.id)
		default: // there is no engine any more
			cancel(l.err)
		}
	}
	return context.Cause(ctx)
}

// putBrief tells what little is known of a container that could not be read, or
// what was known of it before.
func (w *Watcher) putBrief(c *Container) {
	r := w.ledger.records[c.ID]
	if r != nil {
		c = r.container
	}
	r = w.put(c, time.Time{})
	r.behind = w.synced || r.based
}

// askAgain asks about a container once more when there is time. It is not for
// one that the engine holds back: that would hold back all events.
func (w *Watcher) askAgain(id string) {
	if w.wants.add(id) {
		w.again[id] = struct{}{}
	}
}

// inspectAll inspects in no particular order. The channel has to be read to its end.
func (w *Watcher) inspectAll(ctx context.Context, list []*Container) <-chan looked {
	jobs := make(chan string)
	results := make(chan looked, syncWorkers)
	var workers sync.WaitGroup
	for range syncWorkers {
		workers.Go(func() {
			for id := range jobs {
				results <- w.look(ctx, id)
			}
		})
	}
	go func() {
		defer close(results)
		for _, c := range list {
			jobs <- c.ID
		}
		close(jobs)
		workers.Wait()
	}()
	return results
}

// look inspects one container, with the names of its image.
func (w *Watcher) look(ctx context.Context, id string) looked {
	l := looked{id: id, begun: w.options.Now()}
	if l.err = ctx.Err(); l.err != nil {
		return l
	}
	w.counts.inspects.Add(1)
	l.container, l.err = w.client.Inspect(ctx, id)
	if l.err != nil {
		if !errors.Is(l.err, ErrNotFound) {
			w.counts.errors.Add(1)
		}
		return l
	}
	if w.options.Images && l.container.ImageID != "" {
		tags, digests, err := w.client.Images(ctx, l.container.ImageID)
		if err != nil {
			w.counts.errors.Add(1) // the container is worth telling without
		}
		l.container.ImageTags, l.container.ImageDigests = tags, digests
	}
	return l
}

// put books and tells a container.
func (w *Watcher) put(c *Container, inspected time.Time) *record {
	r := w.ledger.records[c.ID]
	if r == nil {
		r = &record{}
		w.ledger.records[c.ID] = r
	}
	r.learn(c, inspected)
	w.counts.containers.Store(int64(len(w.ledger.records)))
	w.handler.Put(c)
	return r
}

// handle does what an event asks for, and returns it when it is to be told, and
// before it what it shows to have been missed.
func (w *Watcher) handle(ctx context.Context, m *message) []Event {
	if !w.ledger.isNews(m) {
		w.counts.repeated.Add(1)
		return nil
	}
	if m.use == useNone {
		return nil
	}
	if m.Type == typeImage {
		w.client.ForgetImages() // by which id it is known, not every engine says
	}
	if id := m.about(); id != "" {
		w.refresh(ctx, m, id)
	}
	events := w.ledger.missedBefore(m)
	if !w.ledger.admit(m) {
		w.counts.repeated.Add(1)
		return events
	}
	if m.use == useTell {
		events = append(events, m.Event)
	}
	return events
}

// refresh inspects the container of an event, unless that was done since it
// came: of a burst of events the first one inspects.
func (w *Watcher) refresh(ctx context.Context, m *message, id string) {
	r := w.ledger.records[id]
	if r != nil && r.inspected.After(m.received) || w.ledger.gone.has(id) {
		return
	}
	var l looked
	if m.Action == actionDestroy && m.Type == typeContainer {
		l.err = ErrNotFound
	} else {
		l = w.look(ctx, id)
	}
	switch {
	case l.err == nil:
		w.put(l.container, l.begun).begin(m, m.Time)
	case r == nil && m.Type == typeContainer:
		// Gone before it was asked for, or not to be read.
		w.put(m.sketch(), time.Time{}).begin(m, m.Time)
	}
}

// settle tells what had happened to a container that could not be read after a
// gap, as soon as it could be.
func (w *Watcher) settle(id string) {
	r := w.ledger.records[id]
	if r == nil || !r.behind || r.inspected.IsZero() {
		return
	}
	r.behind = false
	for _, e := range r.catchUp(r.inspected) {
		w.emit(e)
	}
}

// emit tells an event, and what follows from it.
func (w *Watcher) emit(e Event) {
	w.counts.events.Add(1)
	if e.Recovered {
		w.counts.recovered.Add(1)
	}
	w.handler.Event(e)
	if e.Type == typeContainer && e.Action == actionDestroy {
		w.counts.containers.Store(int64(len(w.ledger.records)))
		w.handler.Gone(e.ID)
	}
}

// answer tells a container that somebody asked for, or that there is none.
func (w *Watcher) answer(ctx context.Context, id string) {
	_, own := w.again[id]
	delete(w.again, id)
	r := w.ledger.records[id]
	if r != nil && !r.inspected.IsZero() {
		w.handler.Put(r.container)
		return
	}
	l := w.look(ctx, id)
	switch {
	case l.err == nil:
		w.put(l.container, l.begun).begin(nil, l.begun)
		w.settle(id)
	case errors.Is(l.err, ErrNotFound) && r == nil && !own:
		w.handler.Absent(id)
	case l.err != nil && !own && !isAnswer(l.err) && len(w.unanswered) < maxWants:
		w.unanswered = append(w.unanswered, id) // for the next connection
	}
}

// isAnswer tells whether an error is about what the engine answered: it is
// there, and the next question may be answered better.
func isAnswer(err error) bool {
	var syntax *json.SyntaxError
	var odd *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &odd) {
		return true
	}
	for _, known := range []error{errStatus, errShape, errOther, errTooLarge, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
