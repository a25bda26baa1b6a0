package entity

import (
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// settled is how old a run must be before the engine's word that it does not run
// counts against the kernel's: an engine says so until its start is through.
const settled = 5 * time.Second

// uptimeOf is how long the container runs by the kernel's word, and when it was.
func uptimeOf(rm pmetric.ResourceMetrics) (uptime time.Duration, at time.Time, ok bool) {
	for i := range rm.ScopeMetrics().Len() {
		metrics := rm.ScopeMetrics().At(i).Metrics()
		for j := range metrics.Len() {
			m := metrics.At(j)
			if m.Name() != "container.uptime" || m.Type() != pmetric.MetricTypeGauge || m.Gauge().DataPoints().Len() == 0 {
				continue
			}
			p := m.Gauge().DataPoints().At(0)
			seconds := number(p)
			// A century is more than any host was up, and fits into a Duration.
			if seconds >= 0 && seconds < 100*365*86400 && p.Timestamp() != 0 {
				return time.Duration(seconds * float64(time.Second)), p.Timestamp().AsTime(), true
			}
		}
	}
	return 0, time.Time{}, false
}

// readAll takes what the metrics of a resource say about a run's life.
func (t *Table) readAll(r *run, rm pmetric.ResourceMetrics) {
	for i := range rm.ScopeMetrics().Len() {
		metrics := rm.ScopeMetrics().At(i).Metrics()
		for j := range metrics.Len() {
			t.read(r, metrics.At(j))
		}
	}
}

func (t *Table) read(r *run, m pmetric.Metric) {
	switch m.Name() {
	case "container.degraded", "container.state", "container.health.status", "container.restart.count":
	default:
		return
	}
	if m.Type() != pmetric.MetricTypeGauge && m.Type() != pmetric.MetricTypeSum {
		return
	}
	switch points := numbers(m); m.Name() {
	case "container.degraded":
		t.readDegraded(r, points)
	case "container.state":
		t.readState(r, points)
	case "container.health.status":
		if health, _, ok := which(points, "container.health.status"); ok {
			t.setWord(r, &r.Health, health)
		}
	case "container.restart.count":
		if points.Len() == 0 {
			return
		}
		if n := int(min(number(points.At(0)), 1<<30)); n > r.Restarts {
			r.Restarts = n
			t.touch(r)
		}
	}
}

// readDegraded follows the gauge where an event was missed. It is older than an
// event that came after it, and then says nothing.
func (t *Table) readDegraded(r *run, points pmetric.NumberDataPointSlice) {
	for i := range points.Len() {
		p := points.At(i)
		v, _ := p.Attributes().Get("degraded.reason")
		reason, at := v.AsString(), p.Timestamp().AsTime()
		isSame := func(d Degradation) bool { return d.Reason == reason }
		switch has := slices.ContainsFunc(r.Degraded, isSame); {
		case number(p) != 0 && !has:
			t.degrade(r, Degradation{Reason: reason, Since: t.clip(at)})
		case number(p) == 0 && has:
			t.recovered(r, func(d Degradation) bool { return isSame(d) && (d.Since.Before(at) || t.isToCome(d.Since)) })
		}
	}
}

// readState takes the engine's word. Five times 0 is a container that was made and
// not started.
func (t *Table) readState(r *run, points pmetric.NumberDataPointSlice) {
	status, at, ok := which(points, "container.state")
	if points.Len() == 0 || !r.Removed.IsZero() {
		return
	}
	if !ok {
		status = statusCreated
		if !r.Start.IsZero() {
			return
		}
	}
	switch status {
	case "running", "paused":
		if r.StopGuessed && t.outlives(at, r) && t.isLast(r) {
			t.reopen(r)
		}
	case "exited", "dead":
		if r.Stop.IsZero() && at.Sub(r.Began()) > settled || r.Start.IsZero() && r.Stop.IsZero() {
			t.end(r, t.clip(at), true)
		}
	}
	t.setWord(r, &r.Status, status)
}

func (t *Table) isLast(r *run) bool {
	runs := t.byID[r.ID]
	return len(runs) > 0 && runs[len(runs)-1] == r
}

// which returns the value of the attribute at the point that is not 0.
func which(points pmetric.NumberDataPointSlice, attribute string) (word string, at time.Time, ok bool) {
	for i := range points.Len() {
		p := points.At(i)
		at = p.Timestamp().AsTime()
		if number(p) == 0 {
			continue
		}
		if v, found := p.Attributes().Get(attribute); found && v.Type() == pcommon.ValueTypeStr {
			return v.Str(), at, true
		}
	}
	return "", at, false
}

func (t *Table) setWord(r *run, field *string, word string) {
	if word = cut(word); *field != word {
		*field = word
		t.touch(r)
	}
}

func number(p pmetric.NumberDataPoint) float64 {
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		return float64(p.IntValue())
	}
	return p.DoubleValue()
}
