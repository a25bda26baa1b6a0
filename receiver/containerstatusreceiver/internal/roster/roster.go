package roster

import (
	"slices"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/docker"
)

// Options are who is told of the engine's coming and going. Both functions are
// called by the watcher's goroutine and must not wait for it.
type Options struct {
	// Up is called when the engine answers and all its containers are known.
	Up func(Arrival)
	// Down is called once for each outage, with the reason.
	Down func(error)
	// Now is the clock.
	Now func() time.Time
}

// Arrival is what is known when an engine answers.
type Arrival struct {
	Engine     docker.Engine
	Containers int
	// Outage is for how long it did not answer; 0 if it did at the start.
	Outage time.Duration
	// First is true if the engine has not answered before.
	First bool
}

// Roster is a [docker.Handler] that remembers.
type Roster struct {
	options Options

	mu sync.Mutex // guards all below
	// engine is the one that answers now, or did last.
	engine docker.Engine
	// synced: the engine answers and all its containers are known. down: Down
	// was called and Up not since, that began at downSince. met: Up was called.
	synced, down, met   bool
	downSince, syncedAt time.Time
	// round is the number of the connection; missed is for Missed.
	round      uint64
	missed     int
	containers map[string]entry
	queues     []*Queue
	reconnects uint64
	events     uint64
}

type entry struct {
	container *docker.Container
	// since is when the engine began to count its restarts.
	since time.Time
	// round is the last connection that told of it.
	round uint64
}

// New returns an empty Roster.
func New(o Options) *Roster {
	return &Roster{options: o, containers: map[string]entry{}}
}

var _ docker.Handler = (*Roster)(nil)

// Connected begins a round. What is known stays until Synced tells what is left.
func (r *Roster) Connected(e docker.Engine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.engine = e
	r.round++
	r.missed = 0
	r.synced = false
}

// Put remembers a container.
func (r *Roster) Put(c *docker.Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := c.Created
	// Before it was inspected nothing is known of one but its name.
	if before, known := r.containers[c.ID]; known && !before.since.IsZero() {
		since = r.countingSince(before, c)
	}
	r.containers[c.ID] = entry{container: c, since: since, round: r.round}
}

// countingSince finds when the engine began to count: it begins anew when
// somebody, rather than the restart policy, starts the container.
func (r *Roster) countingSince(before entry, now *docker.Container) time.Time {
	if now.State.Restarts >= before.container.State.Restarts {
		return before.since
	}
	if now.State.StartedAt.After(before.since) {
		return now.State.StartedAt
	}
	return r.options.Now()
}

// Gone forgets a container.
func (r *Roster) Gone(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.containers, id)
}

// Absent does nothing: a Roster asks for nobody.
func (r *Roster) Absent(string) {}

// Event hands an event to all queues.
func (r *Roster) Event(e docker.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events++
	if e.Recovered || !r.synced || e.Time.Before(r.syncedAt) {
		r.missed++
	}
	item := Item{Event: e, Runtime: r.engine.Runtime, Observed: r.options.Now()}
	for _, q := range r.queues {
		q.add(item)
	}
}

// Synced forgets the containers that this connection has not told of.
func (r *Roster) Synced() {
	if a, ok := r.settle(); ok {
		r.options.Up(a)
	}
}

func (r *Roster) settle() (Arrival, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.synced {
		return Arrival{}, false
	}
	for id, e := range r.containers {
		if e.round != r.round {
			delete(r.containers, id)
		}
	}
	r.syncedAt = r.options.Now()
	a := Arrival{Engine: r.engine, Containers: len(r.containers), First: !r.met}
	if r.down {
		a.Outage = r.syncedAt.Sub(r.downSince)
	}
	if r.met {
		r.reconnects++
	}
	r.synced, r.down, r.met = true, false, true
	return a, true
}

// Disconnected begins an outage. The containers are kept, for their restart
// counts, but not shown until they are told again.
func (r *Roster) Disconnected(err error) {
	if r.lose() {
		r.options.Down(err)
	}
}

func (r *Roster) lose() (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced = false
	if r.down {
		return false
	}
	r.down, r.downSince = true, r.options.Now()
	return true
}

// Missed is how many events of this connection were told after they had
// happened: those of the outage before it, as the engine remembers them or as
// they were concluded.
func (r *Roster) Missed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed
}

// Attach gives a queue all events from now on.
func (r *Roster) Attach(q *Queue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queues = append(r.queues, q)
}

// Detach ends that. What the queue has it keeps.
func (r *Roster) Detach(q *Queue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queues = slices.DeleteFunc(r.queues, func(other *Queue) bool { return other == q })
}

// Status is one container, with when the engine began to count its restarts.
type Status struct {
	*docker.Container
	CountingSince time.Time
}

// Append adds all containers to list, in no order, and returns the runtime's
// name. While the engine does not answer there are none: nobody knows how they
// are.
func (r *Roster) Append(list []Status) (runtime string, _ []Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.synced {
		return "", list
	}
	for _, e := range r.containers {
		list = append(list, Status{Container: e.container, CountingSince: e.since})
	}
	return r.engine.Runtime, list
}

// Stats are a Roster's counters.
type Stats struct {
	// Connected: the engine answers, and Containers is how many it has.
	Connected  bool
	Containers int
	// Reconnects is how often it has answered again.
	Reconnects uint64
	// Events is how many it has told.
	Events uint64
}

// Stats returns the counters.
func (r *Roster) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Connected: r.synced, Reconnects: r.reconnects, Events: r.events}
	if r.synced {
		s.Containers = len(r.containers)
	}
	return s
}
