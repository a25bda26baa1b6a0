package ebpfconntrackreceiver

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/edges"
)

// batch is the metrics of one collection interval: one resource for each container.
type batch struct {
	s       *server
	version string
	at      time.Time
	md      pmetric.Metrics
	pages   map[string]*page // by container
}

// collect makes the metrics of now.
func (s *server) collect(version string) pmetric.Metrics {
	b := &batch{s: s, version: version, at: time.Now(), md: pmetric.NewMetrics(), pages: map[string]*page{}}
	s.table.Flush(b.report)
	b.active()
	b.responses()
	b.conntrack()
	return b.md
}

// page finds or makes the page of a container.
func (b *batch) page(container string, start time.Time) *page {
	p := b.pages[container]
	if p == nil {
		p = newPage(b.md, b.version, start, b.at)
		describe(p.resource, b.s.pipe.owners.identity(container))
		b.pages[container] = p
	}
	return p
}

// report adds what was added up of a container. Those that found no place are one
// resource of their own.
func (b *batch) report(r *edges.Report) {
	var p *page
	if r.Nameless {
		p = newPage(b.md, b.version, r.Start, b.at)
		p.resource.PutBool("otel.metric.overflow", true)
	} else {
		p = b.page(r.Container, r.Start)
	}
	p.at, p.start = stamp(r.Time), stamp(r.Start)
	for i := range r.Totals {
		p.total(&r.Totals[i])
	}
	for i := range r.Edges {
		p.edge(&r.Edges[i])
	}
}

// active adds how many connections are open. Who has none any more says so once.
func (b *batch) active() {
	for key, n := range b.s.looks.takeActive() {
		p := b.page(key.owner, b.s.began)
		to := p.number(connectionActive, stamp(b.s.began), uint64(n))
		to.PutStr("network.transport", tcp)
		to.PutStr("network.direction", directionNames[key.direction])
	}
}

// conntrack adds how full the host's table is.
func (b *batch) conntrack() {
	table, ok := b.s.host.table()
	if !ok {
		return
	}
	p := b.page("", b.s.began)
	p.number(conntrackCount, stamp(b.s.began), table.Count)
	if table.Limit > 0 {
		p.number(conntrackLimit, stamp(b.s.began), table.Limit)
	}
}
