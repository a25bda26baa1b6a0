package docker

import "time"

const (
	// rememberedEvents bounds the events that are known as told, at 0.2 KB each.
	// Those of rememberedFor can come twice, and after an outage those of its
	// time: dockerd repeats 256 at most, Podman all. See ledger.horizon for when
	// more come.
	rememberedEvents = 2 * maxQueue
	// rememberedFor is longer than what is asked for again.
	rememberedFor = 2 * replayMargin
	// rememberedGone is how many removed containers are known as such.
	rememberedGone = 1024
)

// ledger is what was told of each container. It decides whether an event is
// news. For one goroutine.
type ledger struct {
	records map[string]*record
	events  recent[eventKey]
	gone    recent[string]
	last    time.Time // of the newest event, the engine's clock
	// replayed is the newest event of the engine's memory that was read at the
	// last connection. All up to it come once more in the stream, however old.
	replayed time.Time
	// horizon is the time of the newest event that was told and had to be
	// forgotten for want of room, the engine's clock in nanoseconds since 1970.
	// What is that old is taken for told.
	horizon int64
}

// record is one container that exists, as far as is known.
type record struct {
	container *Container
	// inspected is when the inspect was begun that container comes from, our
	// clock; zero when it comes from an event or the list.
	inspected time.Time
	// based: told is what is known to have been told. It is not in a record of
	// which only the list or an inspect is known yet.
	based bool
	// rough: told was begun without a look at the container, so it says nothing
	// of its health or whether it is paused.
	rough bool
	// behind: the container could not be read after a gap, so what happened in
	// it is not told yet.
	behind bool
	told   told
}

// eventKey tells events apart; see message.key.
type eventKey struct {
	nano                  int64
	id, action, container string
}

func newLedger() *ledger {
	return &ledger{
		records: map[string]*record{},
		events:  newRecent[eventKey](rememberedEvents),
		gone:    newRecent[string](rememberedGone),
	}
}

// isNews remembers an event and reports whether it came for the first time and
// is not about a container whose removal was told.
func (l *ledger) isNews(m *message) bool {
	if m.Time.After(l.last) {
		l.last = m.Time
		l.forget()
	}
	if m.nano <= l.horizon || l.events.has(m.key()) {
		return false
	}
	if dropped, ok := l.events.add(m.key()); ok {
		l.horizon = max(l.horizon, dropped.nano)
	}
	return m.Type != typeContainer || !l.gone.has(m.ID)
}

// forget drops the events that cannot come twice any more: they are too old, and
// the stream is past what it repeats.
func (l *ledger) forget() {
	oldest := l.last.Add(-rememberedFor)
	if oldest.After(l.replayed) {
		l.events.forget(func(k eventKey) bool { return k.nano < oldest.UnixNano() })
	}
}

// repeated takes note of events that the stream is going to repeat.
func (l *ledger) repeated(past []*message) {
	for _, m := range past {
		if m.Time.After(l.replayed) {
			l.replayed = m.Time
		}
	}
}

// from returns since when what the engine tells may be news.
func (l *ledger) from() time.Time {
	from := l.last.Add(-replayMargin)
	if horizon := time.Unix(0, l.horizon); horizon.After(from) {
		return horizon
	}
	return from
}

// admit books an event of a known container and reports whether it is to be
// told: it is not when it was already recovered.
func (l *ledger) admit(m *message) bool {
	r := l.records[m.about()]
	if r == nil {
		return true
	}
	m.Name, m.Image = orElse(m.Name, r.container.Name), orElse(m.Image, r.container.ImageRef)
	if m.Type != typeContainer {
		return true
	}
	if !r.told.admit(m) {
		return false
	}
	if m.Action == actionDestroy {
		l.remove(m.ID)
	}
	return true
}

// missedBefore returns what must have happened to a container before it ended or
// was removed, and was not told: dockerd 20.10 forgets its events when it is
// killed, says nothing of a container that ended while it was away itself, and
// removes it at its start if it was made with --rm.
func (l *ledger) missedBefore(m *message) []Event {
	r := l.records[m.ID]
	if r == nil || m.Type != typeContainer {
		return nil
	}
	d, started := &r.told, r.container.State.StartedAt
	b := recovery{container: r.container, told: d}
	switch {
	case m.Action == actionDie && d.created && d.start.IsZero(),
		m.Action == actionDestroy && started.After(d.start):
		if started.IsZero() || started.After(m.Time) {
			started = m.Time
		}
		b.add(actionStart, started)
		d.start, d.running = started, true
	}
	if m.Action == actionDestroy && d.running {
		b.add(actionDie, m.Time)
		d.running = false
	}
	return b.events
}

// begin takes all containers as they are: what was before is no news.
func (l *ledger) begin(at time.Time) {
	for _, r := range l.records {
		r.begin(nil, at)
	}
}

// recover returns what neither stream nor memory of the engine told: of those
// that were listed and inspected by that time, and of those that are missing.
func (l *ledger) recover(list []*Container, missing []string, at time.Time) []Event {
	var events []Event
	for _, c := range list {
		if r := l.records[c.ID]; r != nil {
			events = append(events, r.catchUp(at)...)
			r.behind = r.behind && r.inspected.IsZero()
		}
	}
	for _, id := range missing {
		if r := l.records[id]; r != nil {
			events = append(events, r.vanished(at)...)
			l.remove(id)
		}
	}
	return events
}

func (l *ledger) remove(id string) {
	delete(l.records, id)
	l.gone.add(id)
}

func orElse(text, other string) string {
	if text != "" {
		return text
	}
	return other
}

// begin bases a record on the event that made the container known, or, without
// one, on how it is. After its creation there will be an event for everything.
func (r *record) begin(m *message, at time.Time) {
	switch {
	case r.based || m != nil && m.Type == typeContainer && m.Action == actionCreate:
	case !r.inspected.IsZero():
		r.told.baseline(r.container)
	default:
		r.told, r.rough = told{name: r.container.Name, start: at, die: at}, true
	}
	r.based = true
}

// learn takes what an inspect, begun at that time, or, with the zero time, an
// event or the list says of a container.
func (r *record) learn(c *Container, inspected time.Time) {
	r.container, r.inspected = c, inspected
	if r.rough && !inspected.IsZero() {
		r.told.baseline(c)
		r.rough = false
	}
}

// told is what events have said of one container. It is kept apart from the
// container itself, of which an inspect may know more than was told.
type told struct {
	created, running, paused bool
	name, health             string
	start, die, oom          time.Time
	// recovered are the actions that were told without an event of the engine,
	// which may still come. start, die and oom have the time in the container's
	// state, which is before that of the event; the others that of the inspect,
	// which is after it.
	recovered map[string]time.Time
}

// baseline takes the state of a container as if it had been told.
func (d *told) baseline(c *Container) {
	s := &c.State
	*d = told{
		running: isUp(s), paused: s.Status == "paused",
		name: c.Name, health: s.Health, start: s.StartedAt, die: s.FinishedAt,
	}
}

// isUp tells whether its first process lives. One that is "restarting" waits
// for its next start.
func isUp(s *State) bool { return s.Status == "running" || s.Status == "paused" }

// hasEnded tells whether its first process is known to be dead.
func hasEnded(s *State) bool { return s.Status == "exited" || s.Status == "dead" }

// admit books an event; it returns false when that was told before.
func (d *told) admit(m *message) bool {
	if d.repeats(m) {
		return false
	}
	switch m.Action {
	case actionCreate:
		if d.created {
			return false
		}
		d.created, d.name = true, m.Name
	case actionStart:
		d.start, d.running, d.paused, d.health = m.Time, true, false, ""
	case actionDie:
		d.die, d.running, d.paused = m.Time, false, false
	case actionOOM:
		d.oom = m.Time
	case actionPause, actionUnpause:
		d.paused = m.Action == actionPause
	case actionRename:
		d.name = m.Name
	case actionHealth:
		d.health = m.Health
	}
	return true
}

// repeats tells whether an event is the engine's own word for what was
// recovered. A container cannot die twice without a start between, and the other
// way round: so the first die after the recovered one is the same, unless a
// start was told in the meantime.
func (d *told) repeats(m *message) bool {
	at, ok := d.recovered[m.Action]
	if !ok {
		return false
	}
	switch m.Action {
	case actionStart:
		ok = !m.Time.Before(at) && !between(d.die, at, m.Time)
	case actionDie:
		ok = !m.Time.Before(at) && !between(d.start, at, m.Time)
	case actionOOM:
		ok = !between(d.start, at, m.Time)
	default:
		return !m.Time.After(at)
	}
	if ok {
		delete(d.recovered, m.Action)
	}
	return ok
}

// between tells whether t is after from and not after to.
func between(t, from, to time.Time) bool { return t.After(from) && !t.After(to) }

// catchUp compares what was told with how a container is, and returns what must
// have happened, in this order except for time. at is when it was inspected.
func (r *record) catchUp(at time.Time) []Event {
	c, d := r.container, &r.told
	s := &c.State
	b := recovery{container: c, told: d}
	if !r.based {
		created := c.Created
		if created.IsZero() {
			created = at
		}
		b.add(actionCreate, created)
		d.created, d.name = true, c.Name
	}
	r.based = true
	if end := d.missedEnd(s, at); !end.IsZero() {
		b.died(s, end)
	}
	if s.StartedAt.After(d.start) {
		b.add(actionStart, s.StartedAt)
		d.start, d.paused, d.health = s.StartedAt, false, ""
	}
	d.running = isUp(s)
	b.changed(at)
	return b.events
}

// missedEnd returns when a container ended that is not told to have, or the zero
// time. at is when it was inspected.
func (d *told) missedEnd(s *State, at time.Time) time.Time {
	switch {
	case s.FinishedAt.After(d.die):
		return s.FinishedAt
	// From here on the time is the best there is: an engine whose clock was set
	// back may write one before that of the last end.
	case d.running && s.StartedAt.After(d.start):
		return s.StartedAt
	case d.running && hasEnded(s):
		return at
	}
	return time.Time{}
}

// vanished returns what must have happened to a container that is no more.
func (r *record) vanished(at time.Time) []Event {
	b := recovery{container: r.container, told: &r.told}
	if r.told.running {
		b.add(actionDie, at)
	}
	b.add(actionDestroy, at)
	return b.events
}

// recovery collects events that the engine did not tell.
type recovery struct {
	container *Container
	told      *told
	events    []Event
}

// add returns the event for what only its kind has; it is valid until the next add.
func (b *recovery) add(action string, at time.Time) *Event {
	c := b.container
	if b.told.recovered == nil {
		b.told.recovered = map[string]time.Time{}
	}
	b.told.recovered[action] = at
	b.events = append(b.events, Event{
		Time: at.UTC(), Type: typeContainer, Action: action, ID: c.ID, Name: c.Name, Image: c.ImageRef, Recovered: true,
	})
	return &b.events[len(b.events)-1]
}

// changed adds what changes a container without its start or end.
func (b *recovery) changed(at time.Time) {
	c, d := b.container, b.told
	s := &c.State
	if c.Name != d.name && d.name != "" {
		b.add(actionRename, at).OldName = d.name
	}
	d.name = c.Name
	if paused := s.Status == "paused"; d.running && paused != d.paused {
		action := actionUnpause
		if paused {
			action = actionPause
		}
		b.add(action, at)
		d.paused = paused
	}
	// Without probes, in a container that is stopped or paused, dockerd shows
	// "unhealthy" and sends no event.
	if s.Status == "running" && s.Health != d.health && (s.Health == "healthy" || s.Health == "unhealthy") {
		b.add(actionHealth, at).Health = s.Health
		d.health = s.Health
	}
}

// died adds the end of a container, which may have started again since. Then
// the state tells neither exit code nor reason.
func (b *recovery) died(s *State, at time.Time) {
	last := !s.StartedAt.After(at) && !isUp(s)
	if last && s.OOMKilled && !b.told.oom.After(s.StartedAt) {
		b.add(actionOOM, at)
		b.told.oom = at
	}
	event := b.add(actionDie, at)
	if last {
		code := s.ExitCode
		event.ExitCode = &code
	}
	b.told.die, b.told.paused = at, false
}

// recent remembers the last so many values.
type recent[T comparable] struct {
	limit int
	known map[T]struct{}
	order []T
}

func newRecent[T comparable](limit int) recent[T] {
	return recent[T]{limit: limit, known: map[T]struct{}{}}
}

func (r *recent[T]) has(value T) bool {
	_, ok := r.known[value]
	return ok
}

// add remembers a value, unless it is known. If another one had to be dropped
// for it, that is returned.
func (r *recent[T]) add(value T) (dropped T, ok bool) {
	if r.has(value) {
		return dropped, false
	}
	if ok = len(r.order) == r.limit; ok {
		dropped = r.order[0]
		r.drop()
	}
	r.known[value] = struct{}{}
	r.order = append(r.order, value)
	return dropped, ok
}

// forget drops the oldest values as long as they are old.
func (r *recent[T]) forget(old func(T) bool) {
	for len(r.order) > 0 && old(r.order[0]) {
		r.drop()
	}
}

func (r *recent[T]) drop() {
	delete(r.known, r.order[0])
	r.order = r.order[1:]
}
