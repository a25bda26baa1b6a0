package containertagprocessor

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// edgeMetrics begins the names of metrics whose points may name a peer. To look
// at every point of every metric would cost more than all other tagging.
const edgeMetrics = "container.edge."

// peers adds to points that name another container what it is called.
func (t *tagger) peers(rm pmetric.ResourceMetrics) {
	for _, sm := range rm.ScopeMetrics().All() {
		for _, m := range sm.Metrics().All() {
			if strings.HasPrefix(m.Name(), edgeMetrics) {
				t.peersOf(m)
			}
		}
	}
}

func (t *tagger) peersOf(m pmetric.Metric) {
	switch m.Type() {
	case pmetric.MetricTypeSum:
		for _, p := range m.Sum().DataPoints().All() {
			t.peer(p.Attributes())
		}
	case pmetric.MetricTypeGauge:
		for _, p := range m.Gauge().DataPoints().All() {
			t.peer(p.Attributes())
		}
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			t.peer(p.Attributes())
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			t.peer(p.Attributes())
		}
	}
}

// peer names the other end. It does not wait for one that is not known yet.
func (t *tagger) peer(point pcommon.Map) {
	id, ok := point.Get("peer.container.id")
	if !ok {
		return
	}
	peer := shortText(id)
	if peer == "" {
		return
	}
	entry := t.container(peer, "")
	if entry == nil || !entry.known {
		return
	}
	put := func(key, value string) {
		if value == "" {
			return
		}
		if v, ok := point.GetOrPutEmpty(key); !ok {
			v.SetStr(value)
		}
	}
	put("peer.container.name", entry.name)
	put("peer.service.name", entry.service)
}
