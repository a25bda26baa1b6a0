package discoveryreceiver

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// diary is a journal with a clock of its own and what it logged.
type diary struct {
	*journal
	lines *observer.ObservedLogs
	clock time.Time
	// flush is what the journal will do, at due.
	flush func()
	due   time.Time
}

func newDiary() *diary {
	core, lines := observer.New(zap.InfoLevel)
	d := &diary{journal: newJournal(zap.New(core), true), lines: lines, clock: time.Unix(1_800_000_000, 0)}
	d.now = func() time.Time { return d.clock }
	d.after = func(wait time.Duration, f func()) *time.Timer {
		d.flush, d.due = f, d.clock.Add(wait)
		return time.NewTimer(wait)
	}
	return d
}

func specOf(container string) spec.Spec {
	return spec.Spec{
		Rule: "web", Receiver: "nginx", Endpoint: "10.0.0.2:80", Target: container, Trusted: true, Why: "rule true",
		Resource: map[string]string{"container.name": "web-1"},
	}
}

// present are containers that nobody has named.
func present(ids ...string) map[string]string {
	all := map[string]string{}
	for _, id := range ids {
		all[id] = ""
	}
	return all
}

func (d *diary) run(kind runner.EventKind, container string, err error) {
	d.ran(runner.Event{Kind: kind, Spec: specOf(container), Err: err})
}

// told takes the events that wait.
func (d *diary) told() []string {
	var all []string
	for len(d.events) > 0 {
		h := <-d.events
		all = append(all, fmt.Sprint(h.kind, " ", h.rule, " ", h.reason))
	}
	return all
}

func (d *diary) logged() []string {
	var all []string
	for _, l := range d.lines.TakeAll() {
		all = append(all, l.Level.String()+": "+l.Message)
	}
	return all
}

const warning = "warn: a receiver that is wanted for a container does not run"

// A line has who, what and why, a warning also what to do.
func TestLines(t *testing.T) {
	d := newDiary()
	d.expect(present("c1"), nil)
	d.run(runner.Started, "c1", nil)
	require.Equal(t, map[string]any{
		"container": "web-1", "container.id": "c1", "rule": "web", "receiver": "nginx", "endpoint": "10.0.0.2:80", "why": "rule true",
	}, d.lines.All()[0].ContextMap())
	d.lines.TakeAll()
	d.run(runner.Failed, "c1", fmt.Errorf("%w: has no key x", runner.ErrConfig))
	require.Equal(t, map[string]any{
		"container": "web-1", "container.id": "c1", "rule": "web", "receiver": "nginx", "endpoint": "10.0.0.2:80",
		"error": "not a configuration of this receiver: has no key x", "remedy": "compare the configuration with the receiver's documentation",
	}, d.lines.All()[0].ContextMap())
}

// What a container is called is what its engine says of it, also when it has just gone,
// and not only what its receiver puts on its data.
func TestNames(t *testing.T) {
	d := newDiary()
	plain := specOf("c1")
	plain.Resource = map[string]string{"container.id": "c1"}
	f := func(kind runner.EventKind, want string) {
		t.Helper()
		d.ran(runner.Event{Kind: kind, Spec: plain, Err: errors.New("x")})
		require.Equal(t, want, d.lines.TakeAll()[0].ContextMap()["container"])
		h := <-d.events
		name, _ := (&eventEmitter{}).logs(&h).ResourceLogs().At(0).Resource().Attributes().Get("container.name")
		require.Equal(t, want, name.AsString())
	}
	d.expect(map[string]string{"c1": "shop"}, nil)
	f(runner.Started, "shop")
	d.expect(map[string]string{"c1": "renamed"}, nil)
	f(runner.Failed, "renamed")
	d.expect(nil, nil)
	f(runner.Stopped, "renamed")
	d.clock = d.clock.Add(remembered + time.Second)
	d.expect(nil, nil)
	require.Empty(t, d.names)
}

// Of a container and a rule one warning, however often: another container has its
// own. After a success and a long time there may be another.
func TestOneWarning(t *testing.T) {
	d := newDiary()
	d.expect(present("c1", "c2"), nil)
	bad := errors.New("dial tcp 10.0.0.2:80: nobody there")
	d.run(runner.Failed, "c1", bad)
	d.run(runner.Failed, "c1", bad)
	d.run(runner.Failed, "c2", bad)
	require.Equal(t, []string{warning, warning}, d.logged())
	require.Len(t, d.told(), 3, "each is an event")
	require.Equal(t, map[string]uint64{reasonReceiver: 3}, d.totals().failures)
	// A container that comes and goes is the same, at whatever address.
	moved := specOf("c1")
	moved.Endpoint = "10.0.0.3:80"
	for range 5 {
		d.clock = d.clock.Add(time.Minute)
		d.expect(present("c2"), nil)
		d.expect(present("c1", "c2"), nil)
		d.run(runner.Failed, "c1", bad)
		d.ran(runner.Event{Kind: runner.Failed, Spec: moved, Err: errors.New("dial tcp 10.0.0.3:80: nobody there")})
	}
	require.Empty(t, d.logged())
	d.run(runner.Started, "c1", nil)
	d.logged()
	d.run(runner.Failed, "c1", bad)
	require.Empty(t, d.logged(), "it has just been said")
	d.run(runner.Started, "c1", nil)
	d.logged()
	d.clock = d.clock.Add(remembered + time.Second)
	d.expect(present("c1", "c2"), nil)
	d.run(runner.Failed, "c1", bad)
	require.Equal(t, []string{warning}, d.logged(), "it ran, and that is long ago")
	d.run(runner.Failed, "c2", bad)
	require.Empty(t, d.logged(), "it never ran")
	// Who has been gone for long is new.
	d.expect(nil, nil)
	d.clock = d.clock.Add(remembered + time.Second)
	d.expect(nil, nil)
	require.Empty(t, d.said.about)
	require.Zero(t, d.said.size)
}

// Something else that is wrong is news; what was wrong before it is so no more.
func TestAnotherFailure(t *testing.T) {
	d := newDiary()
	d.expect(present("c1"), nil)
	d.run(runner.Failed, "c1", errors.New("nobody there"))
	d.run(runner.Failed, "c1", errors.New("somebody else is there"))
	require.Equal(t, []string{warning, warning}, d.logged())
	d.run(runner.Failed, "c1", errors.New("nobody there"))
	require.Empty(t, d.logged(), "it has just been said")
	d.clock = d.clock.Add(remembered + time.Second)
	d.run(runner.Failed, "c1", errors.New("nobody there"))
	require.Empty(t, d.logged(), "it is so still")
	d.run(runner.Failed, "c1", errors.New("somebody else is there"))
	require.Equal(t, []string{warning}, d.logged(), "it was over for long")
}

// What a plan refuses is refused again whenever the container changes: it counts once.
func TestRefusal(t *testing.T) {
	d := newDiary()
	d.expect(present("c1"), nil)
	all := []plan.Refusal{
		{Rule: "web", Receiver: "nginx", Err: errors.New("no such label")},
		{Rule: "io.x", Label: true, Err: errors.New("is no YAML")},
		{Rule: "io.x", Label: true, Err: errors.New("is no port")},
		{Rule: "io.x", Receiver: "redis", Label: true, Err: fmt.Errorf("redis %w", plan.ErrNotAllowed)},
	}
	for range 3 {
		d.refuse("c1", all...)
	}
	require.Equal(t, []string{warning, warning, warning, warning}, d.logged())
	require.Equal(t, map[string]uint64{reasonRule: 1, reasonLabel: 2, reasonNotAllowed: 1}, d.totals().failures)
	require.Equal(t, []string{"2 web rule", "2 io.x label", "2 io.x label", "2 io.x not_allowed"}, d.told())
}

func (d *diary) refuse(container string, all ...plan.Refusal) {
	d.refused(&target.Target{ID: container, Resource: map[string]string{"container.name": "web-1"}}, all)
}

// An annotation of a pod can be corrected, and be wrong again: in another way at once, or
// in the same way a week later.
func TestNextRefusal(t *testing.T) {
	d := newDiary()
	d.expect(present("c1"), nil)
	f := func(want int, text string) {
		t.Helper()
		if text == "" {
			d.refuse("c1")
		} else {
			d.refuse("c1", plan.Refusal{Rule: "io.x", Label: true, Err: errors.New(text)})
		}
		require.Len(t, d.logged(), want)
		require.Len(t, d.told(), want)
	}
	f(1, "is no YAML")
	f(1, "is no port")
	f(0, "")
	f(0, "is no port") // it has just been said
	d.clock = d.clock.Add(7 * 24 * time.Hour)
	f(0, "is no port") // and is so still
	f(1, "is no YAML") // that was over
	f(0, "is no port") // was over for a moment, after a week
	f(0, "")
	d.clock = d.clock.Add(7 * 24 * time.Hour)
	f(1, "is no port")
	require.Equal(t, map[string]uint64{reasonLabel: 4}, d.totals().failures)
}

// Sixty mistakes at once are too many to read: the other thirty are told a minute later,
// but for what is over by then.
func TestLateWarnings(t *testing.T) {
	d := newDiary()
	const all = 2*mostLines + 5
	running := map[string]string{}
	refuse := func() {
		for n := range all {
			d.refuse(fmt.Sprintf("c%02d", n), plan.Refusal{Rule: "io.x", Label: true, Err: errors.New("is no YAML")})
		}
	}
	for n := range all {
		running[fmt.Sprintf("c%02d", n)] = ""
	}
	d.expect(running, nil)
	refuse()
	refuse()
	require.Len(t, d.told(), all, "each is an event, once")
	said := d.complainedOf()
	require.Len(t, said, mostLines)
	require.Equal(t, d.clock.Add(linesEvery), d.due)
	d.refuse("c64") // was corrected, before anybody could read it
	d.clock = d.due
	d.flush()
	require.Equal(t, "c30", d.lines.All()[0].ContextMap()["container.id"], "the oldest first")
	require.Equal(t, time.Unix(1_800_000_000, 0), d.lines.All()[0].ContextMap()["since"])
	require.EqualValues(t, 1, d.lines.All()[0].ContextMap()["lines_left_out"])
	said = append(said, d.complainedOf()...)
	require.Len(t, said, 2*mostLines)
	d.clock = d.due
	d.flush()
	said = append(said, d.complainedOf()...)
	slices.Sort(said)
	require.Len(t, slices.Compact(said), all-1, "each by its name, once")
	d.clock = d.clock.Add(time.Hour)
	refuse()
	require.Equal(t, []string{"c64"}, d.complainedOf())
}

// complainedOf takes the containers that lines warn of.
func (d *diary) complainedOf() []string {
	var all []string
	for _, l := range d.lines.TakeAll() {
		all = append(all, l.ContextMap()["container.id"].(string))
	}
	return all
}

// What nobody could read before the end is counted there, and not written after it.
func TestLateWarningsEnd(t *testing.T) {
	d := newDiary()
	for n := range mostLines + 3 {
		d.refuse(fmt.Sprint("c", n), plan.Refusal{Rule: "io.x", Label: true, Err: errors.New("is no YAML")})
	}
	d.lines.TakeAll()
	d.close()
	require.EqualValues(t, 3, d.lines.TakeAll()[0].ContextMap()["lines"])
	d.clock = d.due
	d.flush()
	require.Empty(t, d.lines.TakeAll())
}

// A receiver that does not end is not wanted: nothing is wrong with the wish for it.
func TestOverdueStop(t *testing.T) {
	d := newDiary()
	d.expect(present("c1"), nil)
	late := errors.New("stop: has not returned after 10s")
	d.run(runner.Overdue, "c1", late)
	require.Equal(t, "a receiver that is to stop still runs", d.lines.All()[0].Message)
	require.Equal(t, late.Error(), d.lines.All()[0].ContextMap()["error"])
	require.Empty(t, d.said.about)
	require.Equal(t, []string{"3 web overdue"}, d.told())
	require.Equal(t, map[string]uint64{reasonOverdue: 1}, d.totals().failures)
	d.logged()
	d.run(runner.Overdue, "c1", errors.New("start: has not returned after 10s"))
	require.Equal(t, []string{warning}, d.logged())
}

func TestReasons(t *testing.T) {
	for reason, err := range map[string]error{
		reasonNotAllowed: runner.ErrNotAllowed, reasonUnknown: runner.ErrUnknown, reasonConfig: runner.ErrConfig,
		reasonSignals: runner.ErrSignals, reasonLimit: runner.ErrLimit, reasonReceiver: errors.New("x"),
	} {
		require.Equal(t, reason, reasonOf(fmt.Errorf("create: %w", err)))
	}
	d := newDiary()
	d.expect(present("c1"), []spec.Spec{specOf("c1")})
	d.run(runner.Stopped, "c1", nil)
	d.expect(present("c1"), nil)
	d.end("c1")
	d.expect(nil, nil)
	d.end("c1")
	d.end("c2") // of which nothing is known
	d.run(runner.Overdue, "c1", errors.New("start: has not returned"))
	d.run(runner.Replaced, "c1", nil)
	d.close()
	d.end("c1")
	require.Equal(t, []string{
		"1 web receiver", "1 web unwanted", "1 web gone", "1 web gone", "2 web overdue", "0 web rule", "1 web shutdown",
	}, d.told())
	require.Equal(t, map[string]uint64{startChanged: 1}, d.totals().starts)
}

// end is the stop of a receiver that was not wanted.
func (d *diary) end(container string) {
	d.ran(runner.Event{Kind: runner.Stopped, Spec: specOf(container), Unwanted: true})
}

// A stop takes a moment. Its reason is that of its beginning, whatever has come since.
func TestReasonOfALateStop(t *testing.T) {
	d := newDiary()
	here, wanted := present("c1"), []spec.Spec{specOf("c1")}
	f := func(want string, steps ...func()) {
		t.Helper()
		d.expect(here, wanted)
		for _, step := range steps {
			step()
		}
		d.end("c1")
		require.Equal(t, []string{"1 web " + want}, d.told())
	}
	gone := func() { d.expect(nil, nil) }
	unfit := func() { d.expect(here, nil) }
	back := func() { d.expect(here, wanted) }
	f(reasonGone, gone)
	f(reasonGone, gone, back)
	f(reasonUnwanted, unfit, back)
	f(reasonGone, unfit, gone) // its processes end first
	f(reasonUnwanted, gone, back, unfit)
	f(reasonUnwanted, gone, back, unfit, back)
	gone()
	d.clock = d.clock.Add(remembered + time.Second)
	gone()
	require.Empty(t, d.left)
}

// Nobody reads a line each for hundreds of containers: what is left out is told.
func TestLinesAreBounded(t *testing.T) {
	d := newDiary()
	for n := range 100 {
		d.run(runner.Started, fmt.Sprint("c", n), nil)
	}
	require.Len(t, d.lines.TakeAll(), mostLines)
	require.Len(t, d.told(), 100, "events are not left out")
	d.clock = d.clock.Add(linesEvery)
	d.run(runner.Started, "late", nil)
	require.EqualValues(t, 100-mostLines, d.lines.TakeAll()[0].ContextMap()["lines_left_out"])
	for n := range mostLines {
		d.run(runner.Started, fmt.Sprint("d", n), nil)
	}
	d.lines.TakeAll()
	d.close()
	require.EqualValues(t, 1, d.lines.TakeAll()[0].ContextMap()["lines"])
}

// A pipeline that takes nothing costs events, which are counted, and nobody's time.
func TestQueueIsBounded(t *testing.T) {
	d := newDiary()
	for n := range waiting + 5 {
		d.run(runner.Started, fmt.Sprint("c", n), nil)
	}
	require.Len(t, d.told(), waiting)
	require.EqualValues(t, 5, d.totals().eventsDropped)
	for n := range mostRemembered + 5 {
		d.run(runner.Failed, fmt.Sprint("c", n), errors.New("x"))
	}
	require.Equal(t, mostRemembered, d.said.size)
}
