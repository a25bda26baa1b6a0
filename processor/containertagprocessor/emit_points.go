package containertagprocessor

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
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
	t.nameOf(point, "peer.container.id", "peer.container.name", "peer.service.name")
}

// nameOf adds what the container is called whose id is under a key.
func (t *tagger) nameOf(to pcommon.Map, key, name, service string) {
	id, ok := to.Get(key)
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
		if v, ok := to.GetOrPutEmpty(key); !ok {
			v.SetStr(value)
		}
	}
	put(name, entry.name)
	put(service, entry.service)
}

// connectionEvent is the log record that names the containers at both ends.
const connectionEvent = "network.connection.closed"

// ends adds to records of connections what the containers at both ends are called.
func (t *tagger) ends(rl plog.ResourceLogs) {
	for _, sl := range rl.ScopeLogs().All() {
		for _, record := range sl.LogRecords().All() {
			if record.EventName() != connectionEvent {
				continue
			}
			to := record.Attributes()
			t.nameOf(to, "source.container.id", "source.container.name", "source.service.name")
			t.nameOf(to, "destination.container.id", "destination.container.name", "destination.service.name")
		}
	}
}
