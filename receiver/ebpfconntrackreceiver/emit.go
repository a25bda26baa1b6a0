package ebpfconntrackreceiver

import (
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/expohist"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/metadata"
)

// tcp is the one transport whose connections are watched.
const tcp = "tcp"

// The names of the directions and outcomes.
var (
	directionNames = [...]string{edges.Outgoing: "outgoing", edges.Incoming: "incoming"}
	outcomeNames   = [...]string{edges.Closed: "closed", edges.Reset: "reset", edges.Failed: "failed", edges.Timeout: "timeout"}
)

// page is the metrics of one resource that are being made.
type page struct {
	resource pcommon.Map
	scope    pmetric.ScopeMetrics
	byName   map[string]pmetric.Metric
	at       pcommon.Timestamp
	start    pcommon.Timestamp // of what has no other
}

func newPage(md pmetric.Metrics, version string, start, at time.Time) *page {
	rm := md.ResourceMetrics().AppendEmpty()
	scope := rm.ScopeMetrics().AppendEmpty()
	scope.Scope().SetName(metadata.ScopeName)
	scope.Scope().SetVersion(version)
	return &page{resource: rm.Resource().Attributes(), scope: scope, byName: map[string]pmetric.Metric{}, at: stamp(at), start: stamp(start)}
}

// describe says whose the data are; the host has no id.
func describe(to pcommon.Map, c container.Identity) {
	for _, a := range []struct{ key, value string }{
		{"container.id", c.ID}, {"container.runtime.name", c.Runtime},
		{"k8s.pod.uid", c.PodUID}, {"container.parent.id", c.ParentID},
	} {
		if a.value != "" {
			to.PutStr(a.key, utf8(a.value))
		}
	}
}

// metric finds or makes the metric of a definition.
func (p *page) metric(d definition) pmetric.Metric {
	m, ok := p.byName[d.name]
	if ok {
		return m
	}
	m = p.scope.Metrics().AppendEmpty()
	m.SetName(d.name)
	m.SetUnit(d.unit)
	m.SetDescription(d.description)
	if d.kind == histogram {
		m.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	} else {
		sum := m.SetEmptySum()
		sum.SetIsMonotonic(d.kind == counter)
		sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	}
	p.byName[d.name] = m
	return m
}

// number adds a point, and returns its attributes.
func (p *page) number(d definition, start pcommon.Timestamp, value uint64) pcommon.Map {
	point := p.metric(d).Sum().DataPoints().AppendEmpty()
	point.SetStartTimestamp(start)
	point.SetTimestamp(p.at)
	point.SetIntValue(int64(value))
	return point.Attributes()
}

// distribution adds a point, unless it is empty, and returns its attributes.
func (p *page) distribution(d definition, start pcommon.Timestamp, h *expohist.Point) (pcommon.Map, bool) {
	if h == nil || h.Count == 0 {
		return pcommon.Map{}, false
	}
	point := p.metric(d).ExponentialHistogram().DataPoints().AppendEmpty()
	point.SetStartTimestamp(start)
	point.SetTimestamp(p.at)
	point.SetCount(h.Count)
	point.SetSum(h.Sum)
	point.SetMin(h.Min)
	point.SetMax(h.Max)
	point.SetScale(h.Scale)
	point.SetZeroCount(h.Zero)
	if len(h.Positive.Counts) > 0 {
		point.Positive().SetOffset(h.Positive.Offset)
		point.Positive().BucketCounts().FromRaw(h.Positive.Counts)
	}
	return point.Attributes(), true
}

// total adds what a container has had to do with anybody, in one direction.
func (p *page) total(t *edges.Total) {
	direction := directionNames[t.Direction]
	for outcome, n := range t.Connections {
		if n > 0 {
			to := p.number(connectionCount, p.start, n)
			to.PutStr("network.transport", tcp)
			to.PutStr("network.direction", direction)
			to.PutStr("connection.outcome", outcomeNames[outcome])
		}
	}
	for _, io := range [...]struct {
		direction string
		n         uint64
	}{{"transmit", t.Sent}, {"receive", t.Received}} {
		to := p.number(connectionIO, p.start, io.n)
		to.PutStr("network.transport", tcp)
		to.PutStr("network.direction", direction)
		to.PutStr("network.io.direction", io.direction)
	}
	p.number(connectionRetransmits, p.start, t.Retransmits).PutStr("network.direction", direction)
	for _, h := range [...]struct {
		of definition
		is *expohist.Point
	}{{connectionRTT, t.RTT}, {connectionDuration, t.Duration}, {connectionSetup, t.Setup}} {
		if to, ok := p.distribution(h.of, p.start, h.is); ok {
			to.PutStr("network.direction", direction)
		}
	}
}

// edge adds what a container has had to do with one peer at one port.
func (p *page) edge(e *edges.Edge) {
	start := stamp(e.Start)
	name := func(to pcommon.Map) pcommon.Map {
		to.EnsureCapacity(4)
		key, value := peerName(e.Peer)
		to.PutStr(key, value)
		to.PutInt("server.port", int64(e.ServerPort))
		to.PutStr("network.direction", directionNames[e.Direction])
		if e.Peer.Kind == edges.Overflow {
			to.PutBool("otel.metric.overflow", true)
		}
		return to
	}
	connections := uint64(0)
	for _, n := range e.Connections {
		connections += n
	}
	name(p.number(edgeConnections, start, connections))
	name(p.number(edgeIO, start, e.Sent)).PutStr("network.io.direction", "transmit")
	name(p.number(edgeIO, start, e.Received)).PutStr("network.io.direction", "receive")
	// Most edges have none of these, and every series costs.
	if n := e.Failures(); n > 0 {
		name(p.number(edgeFailures, start, n))
	}
	if e.Retransmits > 0 {
		name(p.number(edgeRetransmits, start, e.Retransmits))
	}
}

// What peer.address says of who is neither a container nor in a group.
const (
	peerHost      = "host"
	peerAmbiguous = "ambiguous"
	peerOverflow  = "overflow"
	peerUnknown   = "unknown"
)

// peerWords are those that no group may be called.
func peerWords() []string { return []string{peerHost, peerAmbiguous, peerOverflow, peerUnknown} }

// peerName is the attribute that names the other end.
func peerName(p edges.Peer) (key, value string) {
	switch p.Kind {
	case edges.Container:
		return "peer.container.id", utf8(p.ID)
	case edges.Host:
		return "peer.address", peerHost
	case edges.Group:
		return "peer.address", utf8(p.ID)
	case edges.Ambiguous:
		return "peer.address", peerAmbiguous
	case edges.Overflow:
		return "peer.address", peerOverflow
	}
	return "peer.address", peerUnknown
}

func stamp(t time.Time) pcommon.Timestamp { return pcommon.NewTimestampFromTime(t) }

// utf8 is for names of directories, which may hold any bytes.
func utf8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
