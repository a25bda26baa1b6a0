package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// missEvery is how often a reference that the current table does not have
	// may cost a list of all containers.
	missEvery = time.Second
	// relistEvery bounds how long the table can be wrong: dockerd gives up on
	// an event after 100 ms if nobody takes it, and says so to nobody.
	relistEvery = time.Minute
	// askAgain after the last event of a container it is asked for once more. dockerd
	// tells of some changes before its lists have them: 20.10 has a container that died
	// as running for 0.2 s, and on a busy host the old name of one that was renamed.
	askAgain = time.Second
	// retryFirst to retryMost is how often a stream of events that ended is
	// tried again. A restart of dockerd takes one to two seconds.
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second
)

// Container is what the catalog knows of one. Its labels must not be changed.
type Container struct {
	// ID is 64 hex digits.
	ID string
	// Name is without the leading slash.
	Name string
	// Image is as it was given to create it, or an id if that name has moved on
	// to another image; ImageID is sha256:<hex>.
	Image, ImageID string
	// State is created, running, paused, restarting, removing, exited or dead.
	State  string
	Labels map[string]string
}

// ComposeProject is the project of docker compose, or "".
func (c Container) ComposeProject() string { return c.Labels["com.docker.compose.project"] }

// ComposeService is the service of docker compose, or "".
func (c Container) ComposeService() string { return c.Labels["com.docker.compose.service"] }

// Catalog is the directory of all containers. While somebody holds it, it is
// kept by the stream of events and answers from memory. Else, and while the
// engine is away, every answer comes from a list that is at most 100 ms old,
// and there is none without the engine. Methods are safe for concurrent use;
// they take the time of a request to the engine where the table does not do.
//
// Errors are those of Do, for unknown references [StatusError] with dockerd's
// status and words.
type Catalog struct {
	engine *Engine

	// turn is a lock that a context can stop waiting for. Who has it may ask
	// the engine and change the table, so that lists and events never overtake
	// each other. It guards listed and tail.
	turn   chan struct{}
	listed time.Time
	tail   *Subscription // what is still to be applied; nil when not followed

	mu    sync.RWMutex // guards what follows
	table *table
	live  bool // the table is kept by events

	holdMu sync.Mutex // guards what follows
	holds  int
	stop   context.CancelCauseFunc
}

func newCatalog(e *Engine) *Catalog {
	return &Catalog{engine: e, turn: make(chan struct{}, 1), table: newTable()}
}

// Hold keeps the catalog current until release is called, which may be done
// twice. It does not wait for the first list.
func (c *Catalog) Hold() (release func()) {
	c.holdMu.Lock()
	defer c.holdMu.Unlock()
	if c.holds++; c.holds == 1 {
		ctx, cancel := context.WithCancelCause(c.engine.ctx)
		c.stop = cancel
		// After Close there is nothing to keep, and nothing to release.
		c.engine.spawn(func() { c.follow(ctx) })
	}
	return sync.OnceFunc(func() {
		c.holdMu.Lock()
		defer c.holdMu.Unlock()
		if c.holds--; c.holds == 0 {
			c.stop(ErrClosed)
		}
	})
}

// Get returns the container with the full id.
func (c *Catalog) Get(ctx context.Context, id string) (Container, error) {
	return c.find(ctx, func(t *table) (Container, error) { return t.get(id) })
}

// Resolve returns the container that dockerd means by a reference: the one with
// this full id, else with this name, else the only one whose id begins so.
// Only visible ones count (nil: all), as if there were no others: what a client
// does not see can make its prefixes neither ambiguous nor taken.
func (c *Catalog) Resolve(ctx context.Context, ref string, visible func(Container) bool) (Container, error) {
	container, err := c.find(ctx, func(t *table) (Container, error) { return t.resolve(ref, visible) })
	if errors.Is(err, errAmbiguous) {
		return Container{}, c.ambiguous(ctx, ref)
	}
	return container, err
}

// All returns all containers, in no order.
func (c *Catalog) All(ctx context.Context) ([]Container, error) {
	var all []Container
	_, err := c.find(ctx, func(t *table) (Container, error) {
		all = t.all()
		return Container{}, nil
	})
	return all, err
}

// find looks something up in the table, and again in a newer one if it misses
// and the table may be behind.
func (c *Catalog) find(ctx context.Context, look func(*table) (Container, error)) (Container, error) {
	asked := time.Now()
	if container, live, err := c.peek(look); live && !NotFound(err) {
		return container, err
	}
	if err := c.lock(ctx); err != nil {
		return Container{}, err
	}
	defer c.unlock()
	oldest := asked.Add(-shareFor)
	if _, live, _ := c.peek(look); live && c.tail != nil && c.tail.Pending() == 0 {
		oldest = asked.Add(-missEvery)
	}
	if c.listed.Before(oldest) {
		if err := c.list(ctx); err != nil {
			return Container{}, err
		}
	}
	container, _, err := c.peek(look)
	return container, err
}

func (c *Catalog) peek(look func(*table) (Container, error)) (container Container, live bool, err error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	container, err = look(c.table)
	return container, c.live, err
}

// ambiguous is the error of the engine's own version: 20.10 (API 1.41) was
// measured; the newer words are those of moby since its index became part of
// the container store.
func (c *Catalog) ambiguous(ctx context.Context, ref string) error {
	api, err := c.engine.API(ctx)
	if err != nil {
		return err
	}
	if compareVersions(api.Newest, "1.44") < 0 {
		return &StatusError{Status: http.StatusInternalServerError, Message: "Multiple IDs found with provided prefix: " + ref}
	}
	return &StatusError{Status: http.StatusBadRequest, Message: "multiple IDs found with provided prefix: " + ref}
}

func (c *Catalog) lock(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("look for container: %w", context.Cause(ctx))
	}
}

func (c *Catalog) unlock() { <-c.turn }

// follow keeps the table current until ctx ends.
func (c *Catalog) follow(ctx context.Context) {
	wait := retryFirst
	for ctx.Err() == nil {
		if c.followOnce(ctx) {
			wait = retryFirst
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		wait = min(2*wait, retryMost)
	}
}

// followOnce is one stream of events. It reports whether the table was live.
func (c *Catalog) followOnce(ctx context.Context) bool {
	sub, err := c.engine.subscribe(ctx, maxSubscribers+catalogSubscribers)
	if err != nil {
		return false
	}
	defer sub.Close()
	if c.begin(ctx, sub) != nil {
		return false
	}
	defer c.lose(sub)
	again := map[string]time.Time{}
	for {
		next, cancel := context.WithTimeout(ctx, pause(again))
		event, err := sub.Next(next)
		cancel()
		if ctx.Err() != nil || err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return true
		}
		if c.apply(ctx, event, again) != nil {
			return true
		}
	}
}

// pause is how long events are waited for at most.
func pause(again map[string]time.Time) time.Duration {
	least := relistEvery
	for _, due := range again {
		least = min(least, time.Until(due))
	}
	return max(0, least)
}

// begin lists all containers, with the events that follow already coming.
func (c *Catalog) begin(ctx context.Context, sub *Subscription) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if err := c.list(ctx); err != nil {
		return err
	}
	c.tail = sub
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = true
	return nil
}

// lose gives the table up: without events it says nothing about now. Another
// stream may have taken over, which is left alone.
func (c *Catalog) lose(sub *Subscription) {
	c.mu.Lock()
	c.live = false
	c.mu.Unlock()
	c.turn <- struct{}{} // held for one request at most, which ends with its context
	defer c.unlock()
	if c.tail == sub {
		c.tail = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = c.tail != nil
}

// apply brings the table up to date after an event; none means that a time has come,
// that of a container or of the list of all. again says when to ask for which container
// once more.
func (c *Catalog) apply(ctx context.Context, event []byte, again map[string]time.Time) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if event != nil {
		if err := c.change(ctx, event, again); err != nil {
			return err
		}
	}
	if time.Since(c.listed) > relistEvery {
		return c.list(ctx)
	}
	for id, due := range again {
		if time.Until(due) > 0 {
			continue
		}
		delete(again, id)
		if err := c.refresh(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// change brings one container up to date.
func (c *Catalog) change(ctx context.Context, event []byte, again map[string]time.Time) error {
	id, gone, err := parseChange(event)
	if err != nil || id == "" {
		return err
	}
	if gone {
		delete(again, id)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.table.remove(id)
		return nil
	}
	again[id] = time.Now().Add(askAgain)
	return c.refresh(ctx, id)
}

// refresh asks for one container, as a list of one: so image names follow the
// same rules as in the list of all, and a label cannot pass for a name, which
// it could in the attributes of an event.
func (c *Catalog) refresh(ctx context.Context, id string) error {
	filter, err := json.Marshal(map[string][]string{"id": {id}})
	if err != nil {
		return fmt.Errorf("filter by id %s: %w", id, err)
	}
	fresh, err := c.fetch(ctx, "filters="+url.QueryEscape(string(filter)))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table.remove(id)
	if container, err := fresh.get(id); err == nil {
		return c.table.add(container)
	}
	return nil
}

// list replaces the table. The caller has the turn.
func (c *Catalog) list(ctx context.Context) error {
	begin := time.Now()
	c.engine.counters.lists.Add(1)
	fresh, err := c.fetch(ctx, "")
	if err != nil {
		return err
	}
	c.listed = begin
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table = fresh
	return nil
}

func (c *Catalog) fetch(ctx context.Context, query string) (*table, error) {
	target, err := c.engine.path(ctx, "/containers/json?all=1")
	if err != nil {
		return nil, err
	}
	if query != "" {
		target += "&" + query
	}
	response, err := c.engine.ask(ctx, Request{Op: "container.list", Method: http.MethodGet, Target: target, Content: JSON})
	if err != nil {
		return nil, err
	}
	// One byte more than a table may hold of a list, to tell a long one.
	fresh, err := parseContainers(io.LimitReader(response.Body, maxList+1))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	return fresh, nil
}
