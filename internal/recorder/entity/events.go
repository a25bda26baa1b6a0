package entity

import (
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// event is a log record about a container.
type event struct {
	id     string
	at     time.Time
	from   source
	record plog.LogRecord
}

// handlers are the events that change what is known of a container. Each returns
// the run that the event is about. The names are those of the receivers cgroup
// and container_status; container.start is both's.
var handlers = map[string]func(*Table, *event) *run{
	"container.create":        (*Table).onCreate,
	"container.start":         (*Table).onStart,
	"container.stop":          (*Table).onStop,
	"container.die":           (*Table).onStop,
	"container.oom_kill":      (*Table).onOOMKill,
	"container.oom":           (*Table).onOOM,
	"container.degraded":      (*Table).onDegraded,
	"container.recovered":     (*Table).onRecovered,
	"container.pause":         (*Table).onPause,
	"container.unpause":       (*Table).onUnpause,
	"container.rename":        (*Table).onRename,
	"container.health_status": (*Table).onHealth,
	"container.destroy":       (*Table).onDestroy,
}

// observeRecord learns from a record whose resource has a container.id.
func (t *Table) observeRecord(resource pcommon.Map, scope string, record plog.LogRecord) {
	id := t.idOf(resource)
	stamp := record.Timestamp()
	if stamp == 0 {
		stamp = record.ObservedTimestamp()
	}
	at := t.clip(stamp.AsTime())
	handle := handlers[record.EventName()]
	if handle == nil {
		t.describe(t.runFor(id, at), resource, isOwn(scope))
		return
	}
	r := handle(t, &event{id: id, at: at, from: sourceOf(scope), record: record})
	t.describe(r, resource, true)
	if r.LastEvent == nil || t.isNews(at, r.LastEvent.At) {
		r.LastEvent = &Note{At: at, Name: cut(record.EventName()), Body: cut(record.Body().AsString())}
		t.touch(r)
	}
}

// onCreate notes a container that has not run yet.
func (t *Table) onCreate(e *event) *run {
	if runs := t.byID[e.id]; len(runs) > 0 && runs[len(runs)-1].Removed.IsZero() {
		return runs[len(runs)-1]
	}
	r := t.begin(e.id, e.at)
	t.setWord(r, &r.Status, statusCreated)
	return r
}

func (t *Table) onStart(e *event) *run {
	r := t.runStarted(e.id, e.at, e.from)
	if pid, ok := e.number("container.pid"); ok {
		r.PID = int(pid)
		t.touch(r)
	}
	return r
}

// onStop takes the kernel's container.stop or the engine's container.die.
func (t *Table) onStop(e *event) *run {
	about := ending{id: e.id, at: e.at, from: e.from}
	if lifetime, ok := e.seconds("container.lifetime"); ok {
		about.start = e.at.Add(-lifetime)
	}
	r := t.runStopped(about)
	if code, ok := e.number("container.exit_code"); ok && (r.ExitCode == nil || e.from == kernel) {
		r.ExitCode = new(int(code))
	}
	if signal, ok := e.number("container.exit_signal"); ok {
		r.ExitSignal = new(int(signal))
	}
	if killed, _ := e.flag("container.oom_killed"); killed {
		r.OOMKilled = true
	}
	if n, ok := e.number("container.memory.peak"); ok {
		r.MemoryPeak = n
	}
	if n, ok := e.number("container.pids.peak"); ok {
		r.PidsPeak = n
	}
	if used, ok := e.seconds("container.cpu.time"); ok {
		r.CPUSeconds = used.Seconds()
	}
	t.touch(r)
	return r
}

func (t *Table) onOOMKill(e *event) *run {
	r := t.runDuring(e.id, e.at)
	kill := Kill{At: e.at, Executable: e.text("process.executable.name")}
	pid, _ := e.number("process.pid")
	vpid, _ := e.number("process.vpid")
	kill.PID, kill.VPID = int(pid), int(vpid)
	kill.RSS, _ = e.number("process.memory.rss")
	if first, ok := e.flag("oom.victim.init"); ok {
		kill.Init = new(first)
	}
	if survived, ok := e.flag("container.survived"); ok {
		kill.Survived = new(survived)
	}
	count, ok := e.number("count") // only where the cgroup is killed as one
	if !ok || count < 1 {
		count = 1
	}
	r.OOMKilled = true
	r.OOMKills += int(min(count, 1<<20))
	if r.LastKill == nil || t.isNews(kill.At, r.LastKill.At) {
		r.LastKill = &kill
	}
	t.touch(r)
	return r
}

// onOOM takes the engine's word, which names no process.
func (t *Table) onOOM(e *event) *run {
	r := t.runDuring(e.id, e.at)
	if !r.OOMKilled {
		r.OOMKilled = true
		t.touch(r)
	}
	return r
}

func (t *Table) onDegraded(e *event) *run {
	r := t.runDuring(e.id, e.at)
	pid, _ := e.number("process.pid")
	count, _ := e.number("count")
	t.degrade(r, Degradation{
		Reason: e.text("degraded.reason"), Since: e.at, Executable: e.text("process.executable.name"),
		PID: int(pid), Count: int(count), Text: cut(e.record.Body().AsString()),
	})
	return r
}

// maxDegradations bounds those of one container. Receivers tell of the same
// executable again when its count grows.
const maxDegradations = 16

// degrade adds a degradation, or takes what is newly told of one.
func (t *Table) degrade(r *run, d Degradation) {
	d.Reason = cut(d.Reason)
	list := slices.Clone(r.Degraded)
	i := slices.IndexFunc(list, func(old Degradation) bool {
		return old.Reason == d.Reason && (old.Executable == d.Executable || old.Executable == "")
	})
	switch {
	case i >= 0:
		d.Since = earlier(list[i].Since, d.Since)
		list[i] = d
	case len(list) < maxDegradations:
		list = append(list, d)
	default:
		return
	}
	r.Degraded = list
	t.touch(r)
}

// onRecovered takes back what was told of the executable; if none was, or it is
// not named, all that was told before.
func (t *Table) onRecovered(e *event) *run {
	r := t.runDuring(e.id, e.at)
	who := e.text("process.executable.name")
	isWho := func(d Degradation) bool { return d.Executable == who }
	if who == "" || !slices.ContainsFunc(r.Degraded, isWho) {
		isWho = func(Degradation) bool { return true }
	}
	t.recovered(r, func(d Degradation) bool { return isWho(d) && t.isNews(e.at, d.Since) })
	return r
}

func (t *Table) recovered(r *run, over func(Degradation) bool) {
	left := slices.DeleteFunc(slices.Clone(r.Degraded), over)
	if len(left) == len(r.Degraded) {
		return
	}
	r.Degraded = left
	t.touch(r)
}

func (t *Table) onPause(e *event) *run {
	r := t.runDuring(e.id, e.at)
	t.setWord(r, &r.Status, "paused")
	return r
}

func (t *Table) onUnpause(e *event) *run {
	r := t.runDuring(e.id, e.at)
	t.setWord(r, &r.Status, "running")
	return r
}

func (t *Table) onRename(e *event) *run {
	r := t.runDuring(e.id, e.at)
	name := e.text("container.name")
	if name == "" {
		return r
	}
	tags, dropped := r.tags.merged([]tag{{"container.name", name}}, true)
	t.counts.droppedTags += uint64(dropped)
	t.setTags(r, tags)
	// The old name may come back, and must not be taken for known then.
	r.prints, r.next = [rememberedPrints]uint64{}, 0
	t.touch(r)
	return r
}

func (t *Table) onHealth(e *event) *run {
	r := t.runDuring(e.id, e.at)
	t.setWord(r, &r.Health, e.text("container.health.status"))
	return r
}

func (t *Table) onDestroy(e *event) *run {
	r := t.runDuring(e.id, e.at)
	if r.Stop.IsZero() {
		t.end(r, e.at, true)
	}
	r.quiet = false
	r.Removed = e.at
	t.touch(r)
	return r
}

// number is an integer attribute.
func (e *event) number(key string) (int64, bool) {
	v, ok := e.record.Attributes().Get(key)
	if !ok || v.Type() != pcommon.ValueTypeInt {
		return 0, false
	}
	return v.Int(), true
}

// seconds is a duration that an attribute gives in seconds.
func (e *event) seconds(key string) (time.Duration, bool) {
	v, ok := e.record.Attributes().Get(key)
	if !ok || v.Type() != pcommon.ValueTypeDouble {
		return 0, false
	}
	const century = 100 * 365 * 86400 // fits into a Duration
	if s := v.Double(); s >= 0 && s < century {
		return time.Duration(s * float64(time.Second)), true
	}
	return 0, false
}

func (e *event) flag(key string) (value, ok bool) {
	v, ok := e.record.Attributes().Get(key)
	if !ok || v.Type() != pcommon.ValueTypeBool {
		return false, false
	}
	return v.Bool(), true
}

func (e *event) text(key string) string {
	v, ok := e.record.Attributes().Get(key)
	if !ok {
		return ""
	}
	return cut(v.AsString())
}
