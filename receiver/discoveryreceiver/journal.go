package discoveryreceiver

import (
	"cmp"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// waiting is how many events may wait for a slow pipeline: a start and a stop of
// each of 500 receivers.
const waiting = 1000

// The reasons of what happens to receivers.
const (
	reasonRule       = "rule"
	reasonLabel      = "label"
	reasonNotAllowed = "not_allowed"
	reasonUnknown    = "unknown_receiver"
	reasonConfig     = "config"
	reasonSignals    = "signals"
	reasonLimit      = "limit"
	reasonReceiver   = "receiver"
	reasonOverdue    = "overdue"
	reasonGone       = "gone"
	reasonUnwanted   = "unwanted"
	reasonShutdown   = "shutdown"

	startNew     = "new"
	startChanged = "changed"
)

// remedies say what to do about a failure. Of those that are not here the error says
// it.
var remedies = map[string]string{
	reasonRule:     "correct the rule, its templates, or what the container has that they ask for",
	reasonLabel:    "correct the container's labels",
	reasonUnknown:  "name a receiver of this distribution (tallyman components lists them)",
	reasonConfig:   "compare the configuration with the receiver's documentation",
	reasonSignals:  "put discovery into a pipeline of that signal, or name the signals that are wanted",
	reasonLimit:    "raise limits::receivers, or let rules and labels fit fewer containers",
	reasonReceiver: "nothing if the application is still starting: it is tried again, later and later",
	reasonOverdue:  "nothing: the others do not wait for it",
}

// kind is what has happened to a receiver.
type kind int

const (
	started kind = iota
	stopped
	failed
	stopping // takes longer than it may
)

// happening is something that happened to one receiver of a container.
type happening struct {
	kind                             kind
	at                               time.Time
	rule, receiver, endpoint, reason string
	container, called                string // its id and its name
	resource                         map[string]string
	err                              error
}

// name is what people call the container.
func (h *happening) name() string {
	const shortID = 12 // as docker ps shows it
	return cmp.Or(h.called, h.resource["container.name"], h.container[:min(shortID, len(h.container))])
}

// journal tells what happens: counted all of it, as events what is news, as log lines
// as much as somebody can read. Its methods may be called by any goroutine.
type journal struct {
	log *zap.Logger
	now func() time.Time
	// after is [time.AfterFunc].
	after func(time.Duration, func()) *time.Timer
	// events wait for emitEvents; nil without a pipeline of logs.
	events chan happening

	mu sync.Mutex // guards all below
	// present are the containers that run, by id with their names; wanted are the
	// receivers by [spec.Spec.Key], with their container.
	present map[string]string
	wanted  map[string]string
	// names are those of present, and of containers whose receivers may still stop.
	names map[string]calling
	// left is why receivers were wanted no more when that was so last. It takes a moment
	// until they stop, and by then they may be wanted again.
	left    map[string]leaving
	said    *sayings
	info    lines
	warn    lines
	later   *time.Timer // writes warnings for which there was no room; nil without any
	closing bool
	counts  counts
}

// calling is what a container is called, and when it was last there.
type calling struct {
	name string
	seen time.Time
}

// leaving is why a receiver was wanted no more, and since when.
type leaving struct {
	container, reason string
	at                time.Time
}

// counts are totals, by reason.
type counts struct {
	starts, stops, failures map[string]uint64
	eventsDropped           uint64
}

func newJournal(log *zap.Logger, withEvents bool) *journal {
	j := &journal{
		log: log, now: time.Now, after: time.AfterFunc, said: newSayings(), left: map[string]leaving{}, names: map[string]calling{},
		counts: counts{starts: map[string]uint64{}, stops: map[string]uint64{}, failures: map[string]uint64{}},
	}
	if withEvents {
		j.events = make(chan happening, waiting)
	}
	return j
}

// expect says which containers there are now, and what is wanted for them.
func (j *journal) expect(present map[string]string, wanted []spec.Spec) {
	keys := make(map[string]string, len(wanted))
	for i := range wanted {
		keys[wanted[i].Key()] = wanted[i].Target
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now()
	for key, container := range j.wanted {
		if _, isStill := keys[key]; !isStill {
			j.left[key] = leaving{container: container, reason: reasonUnwanted, at: now}
		}
	}
	for key, l := range j.left {
		_, isBack := keys[key]
		_, isThere := present[l.container]
		switch {
		case now.Sub(l.at) > remembered:
			delete(j.left, key)
		case !isBack && !isThere: // its end may take a while: first a rule fits no more
			l.reason = reasonGone
			j.left[key] = l
		}
	}
	for id, name := range present {
		if name != "" {
			j.names[id] = calling{name: name, seen: now}
		}
	}
	maps.DeleteFunc(j.names, func(_ string, c calling) bool { return now.Sub(c.seen) > remembered })
	j.present, j.wanted = present, keys
	j.warn.left += j.said.forget(present, now)
}

// refused notes what the plan refuses a container: all of it, with each verdict. What
// was said before is not said again, and what is not refused any more is over.
func (j *journal) refused(t *target.Target, all []plan.Refusal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now, still := j.now(), map[complaint]bool{}
	for _, r := range all {
		h := refusal(t, r)
		c := j.said.complaint(&h)
		still[c] = true
		if before := j.said.find(t.ID, c, now); before != nil && before.isRefusal {
			before.isOver = false
			continue
		}
		j.fail(h, true)
	}
	j.warn.left += j.said.end(t.ID, now, func(c complaint, s *saying) bool { return s.isRefusal && !still[c] })
}

func refusal(t *target.Target, r plan.Refusal) happening {
	h := happening{rule: r.Rule, receiver: r.Receiver, container: t.ID, called: t.Name, resource: t.Resource, err: r.Err, reason: reasonRule}
	switch {
	case errors.Is(r.Err, plan.ErrNotAllowed):
		h.reason = reasonNotAllowed
	case r.Label:
		h.reason = reasonLabel
	}
	return h
}

// ran notes what the runner tells.
func (j *journal) ran(e runner.Event) {
	h := happening{
		rule: e.Spec.Rule, receiver: e.Spec.Receiver, endpoint: e.Spec.Endpoint,
		container: e.Spec.Target, resource: e.Spec.Resource, err: e.Err,
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	h.called = j.names[h.container].name
	switch e.Kind {
	case runner.Started:
		j.start(h, e.Spec, startNew)
	case runner.Replaced:
		j.start(h, e.Spec, startChanged)
	case runner.Stopped:
		j.stop(h, e)
	case runner.Failed:
		h.reason = reasonOf(e.Err)
		j.fail(h, false)
	case runner.Overdue:
		h.reason = reasonOverdue
		if isStop(e) {
			j.stuck(h)
			return
		}
		j.fail(h, false)
	}
}

// start notes a start. The caller holds mu.
func (j *journal) start(h happening, s spec.Spec, how string) {
	h.kind, h.reason = started, reasonLabel
	if s.Trusted {
		h.reason = reasonRule
	}
	j.warn.left += j.said.end(h.container, j.now(), func(c complaint, s *saying) bool {
		return !s.isRefusal && c.rule == h.rule && c.receiver == h.receiver
	})
	j.counts.starts[how]++
	text := "started a receiver for a container"
	if how == startChanged {
		text = "started a container's receiver anew: something about the container has changed"
	}
	j.line(text, &h, zap.String("why", s.Why))
	j.event(h)
}

// stop notes an end. The caller holds mu.
func (j *journal) stop(h happening, e runner.Event) {
	h.kind, h.reason = stopped, j.reasonToStop(e)
	j.counts.stops[h.reason]++
	if !j.closing { // then all of them stop
		j.line("stopped a container's receiver", &h)
	}
	j.event(h)
}

// reasonToStop is the one of when that was decided. The caller holds mu.
func (j *journal) reasonToStop(e runner.Event) string {
	left, isKnown := j.left[e.Spec.Key()]
	_, isThere := j.present[e.Spec.Target]
	switch {
	case j.closing:
		return reasonShutdown
	case !e.Unwanted:
		return reasonReceiver
	case isKnown:
		return left.reason
	case !isThere:
		return reasonGone
	}
	return reasonUnwanted
}

// fail notes a failure, and warns of it unless that was said. The caller holds mu.
func (j *journal) fail(h happening, isRefusal bool) {
	h.kind, h.at = failed, j.now()
	j.counts.failures[h.reason]++
	j.event(h)
	c := j.said.complaint(&h)
	before := j.said.find(h.container, c, h.at)
	if !isRefusal { // who says something else now has nothing more to say of that
		j.warn.left += j.said.end(h.container, h.at, func(o complaint, s *saying) bool {
			return !s.isRefusal && o != c && o.rule == c.rule && o.receiver == c.receiver
		})
	}
	if before != nil {
		before.isOver, before.isRefusal = false, isRefusal
		return
	}
	noted := j.said.add(h.container, c, h.at)
	if noted != nil {
		noted.isRefusal = isRefusal
	}
	switch {
	case j.warning(&h):
	case noted == nil:
		j.warn.left++
	default:
		noted.unwritten = &h
		j.warnLater()
	}
}

// stuck notes that a receiver does not end. It has nothing to do with what may be wrong
// with the wish for it. The caller holds mu.
func (j *journal) stuck(h happening) {
	h.kind = stopping
	j.counts.failures[h.reason]++
	j.event(h)
	more, ok := j.warn.allow(j.now())
	if !ok {
		j.warn.left++
		return
	}
	fields := append(h.fields(), zap.Error(h.err), zap.String("remedy", remedies[h.reason]))
	j.log.Warn("a receiver that is to stop still runs", append(fields, more...)...)
}

// warning writes one, if there is room. The caller holds mu.
func (j *journal) warning(h *happening, late ...zap.Field) bool {
	more, ok := j.warn.allow(j.now())
	if !ok {
		return false
	}
	fields := append(append(h.fields(), zap.Error(h.err)), late...)
	if remedy := remedies[h.reason]; remedy != "" {
		fields = append(fields, zap.String("remedy", remedy))
	}
	j.log.Warn("a receiver that is wanted for a container does not run", append(fields, more...)...)
	return true
}

// warnLater sees to it that what was not written is. The caller holds mu.
func (j *journal) warnLater() {
	if j.later == nil && !j.closing {
		j.later = j.after(j.warn.full(j.now()), j.warnNow)
	}
}

// warnNow writes what there was no room for, as far as there is room now.
func (j *journal) warnNow() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.later = nil
	if j.closing {
		return
	}
	for _, s := range j.said.unwritten() {
		if !j.warning(s.unwritten, zap.Time("since", s.at)) {
			j.warnLater()
			return
		}
		s.unwritten = nil
	}
}

// line writes an information. The caller holds mu.
func (j *journal) line(text string, h *happening, more ...zap.Field) {
	left, ok := j.info.allow(j.now())
	if !ok {
		j.info.left++
		return
	}
	fields := append(append(h.fields(), more...), left...)
	if h.kind == stopped {
		fields = append(fields, zap.String("reason", h.reason))
	}
	if h.err != nil {
		fields = append(fields, zap.Error(h.err))
	}
	j.log.Info(text, fields...)
}

func (h *happening) fields() []zap.Field {
	all := []zap.Field{
		zap.String("container", h.name()), zap.String("rule", h.rule), zap.String("container.id", h.container),
	}
	if h.receiver != "" {
		all = append(all, zap.String("receiver", h.receiver))
	}
	if h.endpoint != "" {
		all = append(all, zap.String("endpoint", h.endpoint))
	}
	return all
}

// event hands a happening on, if there is room. The caller holds mu.
func (j *journal) event(h happening) {
	if j.events == nil {
		return
	}
	h.at = j.now()
	select {
	case j.events <- h:
	default:
		j.counts.eventsDropped++
	}
}

// close says that all that stops from now on does so because discovery does.
func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closing = true
	if j.later != nil {
		j.later.Stop()
	}
	if left := j.info.left + j.warn.left + len(j.said.unwritten()); left > 0 {
		j.log.Info("lines about receivers were left out", zap.Int("lines", left))
	}
}

// totals are the counts by now.
func (j *journal) totals() counts {
	j.mu.Lock()
	defer j.mu.Unlock()
	return counts{
		starts: maps.Clone(j.counts.starts), stops: maps.Clone(j.counts.stops),
		failures: maps.Clone(j.counts.failures), eventsDropped: j.counts.eventsDropped,
	}
}

// isStop tells whether an event of the runner is about the end of a receiver.
func isStop(e runner.Event) bool {
	return e.Err != nil && strings.HasPrefix(e.Err.Error(), "stop:")
}

// reasonOf is why the runner could not start a receiver.
func reasonOf(err error) string {
	for _, known := range []struct {
		err    error
		reason string
	}{
		{runner.ErrNotAllowed, reasonNotAllowed},
		{runner.ErrUnknown, reasonUnknown},
		{runner.ErrConfig, reasonConfig},
		{runner.ErrSignals, reasonSignals},
		{runner.ErrLimit, reasonLimit},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	return reasonReceiver
}
