package metricstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// host is 200 containers with 60 metrics each, whose values move like those of
// real ones: 12 constant, 10 busy counters of seconds, 14 of bytes, 8 gauges of
// memory, 6 of pressure, 4 that hardly move and 6 counters of rare things. A
// third of the containers idle. It is the mixture that the goals were set with.
type host struct {
	md     pmetric.Metrics
	points []pmetric.NumberDataPoint
	values []*walk

	replaced int
}

const (
	hostContainers = 200
	hostMetrics    = 60
	hostSeries     = hostContainers * hostMetrics
	// replaceEvery is how often one container makes room for a new one.
	replaceEvery = 180 // seconds
)

func newHost() *host {
	h := &host{md: pmetric.NewMetrics()}
	for c := range hostContainers {
		rm := h.md.ResourceMetrics().AppendEmpty()
		h.describe(c, 0)
		sm := rm.ScopeMetrics().AppendEmpty()
		for m := range hostMetrics {
			w := newWalk(c, m)
			p := w.metric(sm.Metrics().AppendEmpty(), m)
			p.Attributes().PutStr("network.io.direction", "receive")
			h.points, h.values = append(h.points, p), append(h.values, w)
		}
	}
	return h
}

// containerID is that of the n-th container in place c.
func containerID(c, n int) string { return fmt.Sprintf("%064x", c*7919+n<<32) }

// describe makes resource c that of the n-th container in its place.
func (h *host) describe(c, n int) {
	attributes := h.md.ResourceMetrics().At(c).Resource().Attributes()
	attributes.PutStr("container.id", containerID(c, n))
	attributes.PutStr("container.name", fmt.Sprintf("app-%d-%d", c, n))
	attributes.PutStr("container.image.name", fmt.Sprintf("registry/app%d", c%40))
	for i := range 15 { // as many tags as container_tag adds
		attributes.PutStr(fmt.Sprintf("tag.number.%d", i), strconv.Itoa(c))
	}
}

// replace ends a container and starts one in its place, from the last place on.
func (h *host) replace(s *metricstore.Store, at time.Time) {
	c, n := hostContainers-1-h.replaced%hostContainers, h.replaced/hostContainers
	h.replaced++
	if s != nil {
		s.End(context.Background(), containerID(c, n), at)
	}
	h.describe(c, n+1)
	for m := range hostMetrics {
		h.values[c*hostMetrics+m] = newWalk(c, m)
	}
}

// step moves all values by one second.
func (h *host) step(at time.Time) {
	ts := pcommon.NewTimestampFromTime(at)
	for i, p := range h.points {
		p.SetTimestamp(ts)
		p.SetDoubleValue(h.values[i].next())
	}
}

// walk is one value over time.
type walk struct {
	kind    string
	v, rate float64
	rnd     *rand.Rand
}

// newWalk gives metric m of container c its kind. A third of the containers idle.
func newWalk(c, m int) *walk {
	w := &walk{rnd: rand.New(rand.NewPCG(uint64(c), uint64(m))), kind: kindOf(m)}
	w.v, w.rate = float64(w.rnd.IntN(1<<18))*4096, w.rnd.Float64()*w.rnd.Float64()
	if w.kind == "cpu" || w.kind == "bytes" {
		w.v = 0
		if c%3 == 0 {
			w.rate /= 100
		}
	}
	return w
}

func kindOf(m int) string {
	for _, k := range []struct {
		below int
		kind  string
	}{{12, "constant"}, {22, "cpu"}, {36, "bytes"}, {44, "memory"}, {50, "pressure"}, {54, "slow"}} {
		if m < k.below {
			return k.kind
		}
	}
	return "idle"
}

func isCounter(kind string) bool { return kind == "cpu" || kind == "bytes" || kind == "idle" }

func (w *walk) metric(m pmetric.Metric, n int) pmetric.NumberDataPoint {
	m.SetName(fmt.Sprintf("container.%s.n%d", w.kind, n))
	if isCounter(w.kind) {
		m.SetEmptySum().SetIsMonotonic(true)
		m.Sum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		return m.Sum().DataPoints().AppendEmpty()
	}
	return m.SetEmptyGauge().DataPoints().AppendEmpty()
}

func (w *walk) next() float64 {
	once := func(in int) bool { return w.rnd.IntN(in) == 0 }
	switch w.kind {
	case "cpu": // microseconds
		w.v += float64(int64(w.rate * 5e5 * (0.5 + w.rnd.Float64())))
		return w.v / 1e6
	case "bytes":
		w.v += float64(int64(w.rate * 2e5 * (0.2 + 1.6*w.rnd.Float64())))
	case "memory": // pages
		if once(3) {
			w.v = max(0, w.v+float64(w.rnd.IntN(201)-100)*4096)
		}
	case "pressure": // hundredths
		if once(4) {
			w.v = float64(w.rnd.IntN(300)) / 100
		} else {
			w.v = float64(int64(w.v*85)) / 100
		}
	case "slow":
		if once(30) {
			w.v += float64(w.rnd.IntN(5) - 2)
		}
	case "idle":
		if once(60) {
			w.v++
		}
	}
	return w.v
}
