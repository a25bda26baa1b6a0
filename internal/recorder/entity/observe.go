package entity

import (
	"cmp"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

const (
	containerID = "container.id"
	// maxIDBytes: runtimes use 64 characters, LXC and others the name.
	maxIDBytes = 256
	// ownScopes begins the scope names of Tallyman's receivers. What they say of a
	// container replaces what was known; what others say only adds to it, so that
	// two applications in a container cannot rename it in turns.
	ownScopes = "github.com/tallymanhq/tallyman/"
)

// Observe learns from the resource attributes of something that was made at a
// time. Attributes without container.id are ignored.
func (t *Table) Observe(attributes pcommon.Map, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id := t.idOf(attributes); id != "" {
		t.describe(t.runFor(id, t.clip(at)), attributes, true)
		t.evict()
	}
}

// ObserveMetrics learns from a batch of metrics: from the resources, and from the
// metrics about the life of a container (container.uptime, .state, .degraded,
// .health.status and .restart.count).
func (t *Table) ObserveMetrics(md pmetric.Metrics) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range md.ResourceMetrics().Len() {
		t.observeResource(md.ResourceMetrics().At(i))
		t.evict()
	}
}

// ObserveLogs learns from a batch of logs: from the resources, and from events.
func (t *Table) ObserveLogs(ld plog.Logs) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range ld.ResourceLogs().Len() {
		rl := ld.ResourceLogs().At(i)
		if t.idOf(rl.Resource().Attributes()) == "" {
			continue
		}
		for j := range rl.ScopeLogs().Len() {
			sl := rl.ScopeLogs().At(j)
			for k := range sl.LogRecords().Len() {
				t.observeRecord(rl.Resource().Attributes(), sl.Scope().Name(), sl.LogRecords().At(k))
				t.evict()
			}
		}
	}
}

// ObserveEvent learns from one log record with the attributes of its resource.
// The name of the scope tells the kernel's word from the engine's.
func (t *Table) ObserveEvent(resource pcommon.Map, scope string, record plog.LogRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idOf(resource) != "" {
		t.observeRecord(resource, scope, record)
		t.evict()
	}
}

func (t *Table) observeResource(rm pmetric.ResourceMetrics) {
	attributes := rm.Resource().Attributes()
	id := t.idOf(attributes)
	if id == "" {
		return
	}
	own := rm.ScopeMetrics().Len() > 0 && isOwn(rm.ScopeMetrics().At(0).Scope().Name())
	if !own {
		t.describe(t.runFor(id, t.clip(timeOf(rm))), attributes, false)
		return
	}
	uptime, at, ok := uptimeOf(rm)
	// A receiver says 0 as long as the begin is still to come by its clock, too.
	if !ok || uptime == 0 && t.ahead(id, t.clip(at)) != nil {
		r := t.runFor(id, t.clip(timeOf(rm)))
		t.describe(r, attributes, true)
		t.readAll(r, rm)
		return
	}
	at = t.clip(at)
	r := t.runSince(id, at.Add(-uptime), at)
	t.describe(r, attributes, true)
	t.readAll(r, rm)
}

// idOf returns the id of a container, or "".
func (t *Table) idOf(attributes pcommon.Map) string {
	v, ok := attributes.Get(containerID)
	if !ok {
		return ""
	}
	id := v.Str() // "" if it is no string
	if id == "" || len(id) > maxIDBytes {
		t.counts.droppedIDs++
		return ""
	}
	return id
}

// runFor is the run that something was heard of at a time.
func (t *Table) runFor(id string, at time.Time) *run {
	r := cmp.Or(t.ahead(id, at), t.runAt(id, at))
	if r == nil {
		r = t.begin(id, at)
	}
	t.see(r, at)
	return r
}

func (t *Table) see(r *run, at time.Time) {
	if t.first.IsZero() {
		t.first = at
	}
	if at.After(t.newest) {
		t.newest = at
	}
	if at.After(r.LastSeen) {
		r.LastSeen = at
	}
	if r.quiet && t.outlives(at, r) {
		t.reopen(r)
	}
}

// describe takes the tags of a run from attributes.
func (t *Table) describe(r *run, attributes pcommon.Map, own bool) {
	fingerprint := t.fingerprint(attributes, own)
	if slices.Contains(r.prints[:], fingerprint) {
		return
	}
	r.prints[r.next%rememberedPrints] = fingerprint
	r.next++
	found := attributeTags(attributes)
	tags := r.tags
	_, named := slices.BinarySearchFunc(found, "container.name", func(f tag, key string) int { return strings.Compare(f.key, key) })
	if own && named && r.inherited {
		tags, r.inherited = nil, false
	}
	tags, dropped := tags.merged(found, own)
	t.counts.droppedTags += uint64(dropped)
	if !slices.Equal(tags, r.tags) {
		t.setTags(r, tags)
		t.touch(r)
	}
}

// fingerprint is a hash of attributes in their order, never 0.
func (t *Table) fingerprint(attributes pcommon.Map, own bool) uint64 {
	h := uint64(1)
	if own {
		h = 2
	}
	attributes.Range(func(key string, v pcommon.Value) bool {
		h = t.hashValue(mix(h, maphash.String(t.seed, key)), v)
		return true
	})
	return max(h, 1)
}

func (t *Table) hashValue(h uint64, v pcommon.Value) uint64 {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return mix(h, maphash.String(t.seed, v.Str()))
	case pcommon.ValueTypeInt:
		return mix(h, uint64(v.Int()))
	case pcommon.ValueTypeDouble:
		return mix(h, math.Float64bits(v.Double()))
	case pcommon.ValueTypeSlice:
		all := v.Slice()
		for i := range all.Len() {
			h = t.hashValue(h, all.At(i))
		}
		return mix(h, uint64(all.Len()))
	}
	return mix(h, maphash.String(t.seed, v.AsString())) // the others are rare enough for an allocation
}

// mix folds a word into a hash. The multiplier is the golden ratio's, odd and
// with its bits well spread.
func mix(h, x uint64) uint64 {
	h = (h ^ x) * 0x9E3779B97F4A7C15
	return h ^ h>>32
}

func isOwn(scope string) bool { return strings.HasPrefix(scope, ownScopes) }

// timeOf is when the data of a resource were made: that of its first point, or
// the zero time.
func timeOf(rm pmetric.ResourceMetrics) time.Time {
	for i := range rm.ScopeMetrics().Len() {
		metrics := rm.ScopeMetrics().At(i).Metrics()
		for j := range metrics.Len() {
			if at := timestampOf(metrics.At(j)); at != 0 {
				return at.AsTime()
			}
		}
	}
	return time.Time{}
}

func timestampOf(m pmetric.Metric) pcommon.Timestamp {
	switch m.Type() {
	case pmetric.MetricTypeExponentialHistogram:
		if points := m.ExponentialHistogram().DataPoints(); points.Len() > 0 {
			return points.At(0).Timestamp()
		}
	case pmetric.MetricTypeHistogram:
		if points := m.Histogram().DataPoints(); points.Len() > 0 {
			return points.At(0).Timestamp()
		}
	case pmetric.MetricTypeGauge, pmetric.MetricTypeSum:
		if points := numbers(m); points.Len() > 0 {
			return points.At(0).Timestamp()
		}
	}
	return 0
}

// numbers are the points of a gauge or a sum; the caller has looked at the type.
func numbers(m pmetric.Metric) pmetric.NumberDataPointSlice {
	if m.Type() == pmetric.MetricTypeSum {
		return m.Sum().DataPoints()
	}
	return m.Gauge().DataPoints()
}
