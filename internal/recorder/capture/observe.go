package capture

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/redact"
)

// RequestAttribute set to true on a log record asks for a capture.
const RequestAttribute = "tallyman.capture"

const (
	// nearLimit is the share of its memory limit from which a container is near
	// it, awayLimit the one below which it is not any more. At 95 % the kernel
	// has reclaimed for a while already; a tenth in between keeps one that
	// breathes around the limit from triggering at each breath.
	nearLimit, awayLimit = 0.95, 0.85
	// nearFor is how many samples in a row must be near: one is a peak that
	// reclaim brings down.
	nearFor = 3
	// askedWithin is how long after a signal by the engine an end counts as
	// wanted. docker stop waits 10 s by default, compose and people up to a minute.
	askedWithin = time.Minute
	// sigtermCode is 128 + SIGTERM, which is how engines and shells tell it:
	// somebody asked the process to end.
	sigtermCode = 143
	// sigkillCode is 128 + SIGKILL.
	sigkillCode = 137
	// killedWithin is how long after an OOM kill an end by SIGKILL is taken for its
	// consequence: a runtime that is short of memory itself tells it late.
	killedWithin = 10 * time.Second
	// longestReason bounds what others say as a reason, in bytes.
	longestReason = 300
	// longestID bounds what is taken for the id of a container, in bytes: those of
	// engines have 64, those of orchestrators a name before that.
	longestID = 256
	// maxWatched bounds the memory of containers near the limit or asked to end.
	maxWatched = 10_000
)

// The scopes of those receivers of this agent that tell what happens to containers. An
// application that sends a record under the name of such an event is not believed.
const (
	kernelScope = "github.com/tallymanhq/tallyman/receiver/cgroupreceiver"
	engineScope = "github.com/tallymanhq/tallyman/receiver/containerstatusreceiver"
)

func isOurs(scope pcommon.InstrumentationScope) bool {
	return scope.Name() == kernelScope || scope.Name() == engineScope
}

// watch is what the observer remembers of containers.
type watch struct {
	mu     sync.Mutex
	near   map[string]int       // samples in a row near the limit; negative once told
	asked  map[string]time.Time // when the engine has sent a signal
	killed map[string]time.Time // when the OOM killer has
}

// ObserveEvents looks at log records for triggers. It does not keep them. Anybody's may
// ask for a capture; what happens to containers is what this agent's receivers tell.
func (e *Engine) ObserveEvents(logs plog.Logs) {
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				switch attributes := resource.Resource().Attributes(); {
				case asks(record):
					e.seen(Manual, attributes, record)
				case isOurs(scope.Scope()):
					e.event(attributes, record)
				}
			}
		}
	}
}

func asks(record plog.LogRecord) bool {
	asked, ok := record.Attributes().Get(RequestAttribute)
	return ok && asked.AsString() == "true"
}

func (e *Engine) event(resource pcommon.Map, record plog.LogRecord) {
	id := text(resource, "container.id")
	if id == "" || len(id) > longestID {
		return
	}
	switch record.EventName() {
	case "container.oom_kill", "container.oom":
		e.watch.kill(id, e.o.Now())
		e.seen(OOM, resource, record)
	case "container.degraded":
		e.seen(Degraded, resource, record)
	case "container.kill":
		e.watch.ask(id, e.o.Now())
	case "container.stop", "container.die":
		if e.isFailure(id, record) {
			e.seen(Exit, resource, record)
		}
		e.watch.forget(id)
	}
}

// isFailure tells whether a container has ended with an error that nobody asked for.
// An end by SIGKILL is one if the OOM killer sent the signal, or if the engine tells of
// the end and did not send it. Where no engine tells, as many as all of them are stops
// that took too long, and nobody knows who sent the signal.
func (e *Engine) isFailure(id string, record plog.LogRecord) bool {
	code, ok := record.Attributes().Get("container.exit_code")
	now := e.o.Now()
	switch {
	case !ok, code.Int() == 0, code.Int() == sigtermCode:
		return false
	case code.Int() == sigkillCode && e.watch.wasKilled(id, now):
		return true
	case code.Int() == sigkillCode && record.EventName() == "container.stop":
		return false
	}
	return !e.watch.wasAsked(id, now)
}

// seen makes a trigger of a record and hands it on.
func (e *Engine) seen(kind Kind, resource pcommon.Map, record plog.LogRecord) {
	attributes := record.Attributes()
	t := bundle.Trigger{
		Kind: string(kind), At: e.o.Now(), Container: containerOf(resource),
		Reason: clean(record.Body().AsString()),
	}
	// The time of the event, if it is believable: clocks of others may be off.
	if at := record.Timestamp().AsTime(); record.Timestamp() != 0 && t.At.Sub(at).Abs() < before {
		t.At = at
	}
	process := bundle.Process{
		PID: int(number(attributes, "process.pid")), VPID: int(number(attributes, "process.vpid")),
		Name: clean(text(attributes, "process.executable.name")), RSS: number(attributes, "process.memory.rss"),
	}
	if process != (bundle.Process{}) {
		t.Process = &process
	}
	if code, ok := attributes.Get("container.exit_code"); ok && kind == Exit {
		t.ExitCode = new(int(code.Int()))
	}
	if kind != Manual {
		t.Events = []string{record.EventName()}
	}
	e.offer(request{trigger: t})
}

// ObserveMetrics looks for containers near their memory limit, as this agent's
// receivers tell. It does not keep the metrics.
func (e *Engine) ObserveMetrics(metrics pmetric.Metrics) {
	for _, resource := range metrics.ResourceMetrics().All() {
		for _, scope := range resource.ScopeMetrics().All() {
			if !isOurs(scope.Scope()) {
				continue
			}
			for _, metric := range scope.Metrics().All() {
				if metric.Name() == "container.memory.utilization" && metric.Type() == pmetric.MetricTypeGauge {
					e.utilization(resource.Resource().Attributes(), metric.Gauge().DataPoints())
				}
			}
		}
	}
}

func (e *Engine) utilization(resource pcommon.Map, points pmetric.NumberDataPointSlice) {
	id := text(resource, "container.id")
	if id == "" || len(id) > longestID {
		return
	}
	for _, point := range points.All() {
		if !e.watch.isNear(id, point.DoubleValue()) {
			continue
		}
		e.offer(request{trigger: bundle.Trigger{
			Kind: string(NearLimit), At: e.o.Now(), Container: containerOf(resource),
			Reason: fmt.Sprintf("The container uses %.0f %% of its memory limit.", 100*point.DoubleValue()),
		}})
	}
}

// isNear tells it once, until the container has been away from its limit.
func (w *watch) isNear(id string, share float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.near[id]
	switch {
	case share < awayLimit, n >= 0 && share < nearLimit:
		delete(w.near, id)
		return false
	case n < 0:
		return false
	case n+1 < nearFor:
		n++
	default:
		n = -1
	}
	if w.near == nil || len(w.near) >= maxWatched {
		w.near = map[string]int{}
	}
	w.near[id] = n
	return n < 0
}

func (w *watch) ask(id string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = remember(w.asked, id, at)
}

func (w *watch) kill(id string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.killed = remember(w.killed, id, at)
}

// remember forgets all when there are too many.
func remember(m map[string]time.Time, id string, at time.Time) map[string]time.Time {
	if m == nil || len(m) >= maxWatched {
		m = map[string]time.Time{}
	}
	m[id] = at
	return m
}

func (w *watch) wasAsked(id string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.asked[id]
	return ok && now.Sub(at).Abs() < askedWithin
}

func (w *watch) wasKilled(id string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.killed[id]
	return ok && now.Sub(at).Abs() < killedWithin
}

// forget keeps the signal: the end is told twice, by the cgroup and by the engine.
func (w *watch) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.near, id)
}

// containerOf reads the attributes that the container_tag processor sets.
func containerOf(resource pcommon.Map) bundle.Container {
	c := bundle.Container{
		ID: text(resource, "container.id"), Name: clean(text(resource, "container.name")),
		Image: clean(text(resource, "container.image.name")), Service: clean(text(resource, "service.name")),
		Project: clean(text(resource, "docker.compose.project")),
	}
	if c.Service == "" {
		c.Service = clean(text(resource, "docker.compose.service"))
	}
	return c
}

func text(m pcommon.Map, key string) string {
	v, ok := m.Get(key)
	if !ok {
		return ""
	}
	return v.AsString()
}

func number(m pcommon.Map, key string) int64 {
	v, ok := m.Get(key)
	if !ok || v.Type() != pcommon.ValueTypeInt {
		return 0
	}
	return v.Int()
}

// clean masks and shortens what others have written.
func clean(s string) string {
	var r redact.Redactor
	s = r.Text(s)
	if len(s) > longestReason {
		s = s[:longestReason] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
