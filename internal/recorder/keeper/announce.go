package keeper

import (
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// The events by which the recorder tells of captures.
const (
	EventCaptured = "capture.finished"
	EventFailed   = "capture.failed"
)

// maxUnheard bounds what waits for the first listener: twice as many captures as can
// be open when an agent ends.
const maxUnheard = 16

// Announce implements [recorder.Announcer]. The first to listen is told what was
// announced before: captures that were open at the end of the last run are often
// finished before the Collector has started its receivers.
func (k *Keeper) Announce(f func(plog.Logs)) (stop func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastListener++
	id := k.lastListener
	k.listeners[id] = f
	for _, logs := range k.unheard {
		f(logs)
	}
	k.unheard = nil
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.listeners, id)
	}
}

// announce tells all. Only the capture engine's goroutine calls it.
func (k *Keeper) announce(make func() plog.Logs) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.listeners {
		f(make())
	}
	if k.lastListener > 0 {
		return
	}
	if len(k.unheard) == maxUnheard {
		k.unheard = slices.Delete(k.unheard, 0, 1)
	}
	k.unheard = append(k.unheard, make())
}

func (k *Keeper) captured(c capture.Capture) {
	k.o.Log.Info("captured what happened", "capture.id", c.ID, "verdict", c.Manifest.Verdict, "path", c.Path,
		"bytes", c.Size, "took", c.Took.Round(time.Millisecond))
	k.announce(func() plog.Logs { return k.record(&c) })
}

func (k *Keeper) notCaptured(f capture.Failure) {
	text := notCapturedText(f)
	k.o.Log.Error(text, "error", f.Err)
	k.announce(func() plog.Logs {
		logs, record := newRecord(bundle.Gravest(f.Triggers).Container, time.Now())
		record.SetEventName(EventFailed)
		record.SetSeverityNumber(plog.SeverityNumberError)
		message := capture.Text(f.Err) // it may be read on another host
		record.Body().SetStr(text + ": " + message)
		a := record.Attributes()
		a.PutStr("capture.id", f.ID)
		about(a, f.Triggers)
		a.PutStr("error.message", message)
		a.PutBool("capture.retry", f.Retry > 0)
		if f.Retry > 0 {
			a.PutDouble("capture.retry.delay", f.Retry.Seconds())
		}
		return logs
	})
}

// notCapturedText says what is lost, and whether it is for good.
func notCapturedText(f capture.Failure) string {
	switch {
	case f.Made:
		return "The capture " + f.ID + " is there, but there is something left to tidy up"
	case f.Retry > 0:
		return fmt.Sprintf("The capture %s could not be made yet, it is tried again in %v", f.ID, f.Retry)
	case f.AtStart:
		return "The capture " + f.ID + " could not be made, it is tried once more when the agent is started the next time"
	}
	return "The capture " + f.ID + " could not be made and is not tried again"
}

// record is of the container that the gravest trigger is about.
func (k *Keeper) record(c *capture.Capture) plog.Logs {
	m := c.Manifest
	gravest := bundle.Gravest(m.Triggers)
	logs, record := newRecord(gravest.Container, m.Created)
	record.SetEventName(EventCaptured)
	record.SetSeverityNumber(plog.SeverityNumberWarn)
	if gravest.Kind == string(capture.Manual) {
		record.SetSeverityNumber(plog.SeverityNumberInfo)
	}
	record.Body().SetStr(m.Verdict)
	a := record.Attributes()
	a.PutStr("capture.id", c.ID)
	about(a, m.Triggers)
	a.PutStr("capture.path", c.Path)
	a.PutInt("capture.size", c.Size)
	a.PutStr("capture.window.start", m.Window.From.UTC().Format(time.RFC3339Nano))
	a.PutStr("capture.window.end", m.Window.To.UTC().Format(time.RFC3339Nano))
	a.PutInt("capture.triggers", int64(len(m.Triggers)))
	return logs
}

// about adds what a capture is about: the gravest kind of trigger, all kinds from the
// gravest on, and all containers by name, or by the beginning of the id.
func about(a pcommon.Map, triggers []bundle.Trigger) {
	if len(triggers) == 0 {
		return
	}
	sorted := slices.Clone(triggers)
	slices.SortStableFunc(sorted, func(a, b bundle.Trigger) int { return bundle.Gravity(b.Kind) - bundle.Gravity(a.Kind) })
	a.PutStr("capture.reason", sorted[0].Kind)
	kinds, containers := a.PutEmptySlice("capture.reasons"), pcommon.NewSlice()
	for _, t := range sorted {
		addOnce(kinds, t.Kind)
		addOnce(containers, t.Container.Label())
	}
	if containers.Len() > 0 {
		containers.CopyTo(a.PutEmptySlice("capture.containers"))
	}
}

func addOnce(list pcommon.Slice, text string) {
	if text == "" {
		return
	}
	for _, v := range list.All() {
		if v.Str() == text {
			return
		}
	}
	list.AppendEmpty().SetStr(text)
}

func newRecord(about bundle.Container, at time.Time) (plog.Logs, plog.LogRecord) {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	for _, tag := range [][2]string{
		{"container.id", about.ID}, {"container.name", about.Name}, {"container.image.name", about.Image},
		{"service.name", about.Service}, {"docker.compose.project", about.Project},
	} {
		if tag[1] != "" {
			resource.Resource().Attributes().PutStr(tag[0], tag[1])
		}
	}
	scope := resource.ScopeLogs().AppendEmpty()
	scope.Scope().SetName("github.com/tallymanhq/tallyman/internal/recorder/keeper")
	record := scope.LogRecords().AppendEmpty()
	record.SetTimestamp(pcommon.NewTimestampFromTime(at))
	record.SetObservedTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	return logs, record
}
