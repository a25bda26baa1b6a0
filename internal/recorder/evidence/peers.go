package evidence

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
)

// edgeNames are the metrics of the ebpf_conntrack receiver about who talks to
// whom: container.edge.connections and .edge.io, as the metric store names them.
const edgeNames = "container_edge_connections_total|container_edge_io_bytes_total"

// labelPeer is what the metric store makes of peer.container.id.
const labelPeer = "peer_container_id"

// maxConnections bounds how many events are looked at: connections of one
// container that are unusual, or all of them if somebody asked for these.
const maxConnections = 5000

// peers are the other ends of a container's connections in the window, who
// moved most first. What cannot be read is left out.
func (n *Neighbours) peers(ctx context.Context, id string, w bundle.Window) []string {
	if id == "" {
		return nil // the host talks to everybody
	}
	weights := map[string]float64{}
	if n.metrics != nil {
		n.edges(ctx, edge{own: labelContainer, id: id, peer: labelPeer}, w, weights)
		n.edges(ctx, edge{own: labelPeer, id: id, peer: labelContainer}, w, weights)
	}
	if n.events != nil {
		n.connections(ctx, id, w, weights)
	}
	return slices.SortedFunc(maps.Keys(weights), func(a, b string) int {
		return cmp.Or(cmp.Compare(weights[b], weights[a]), cmp.Compare(a, b))
	})
}

// edge is one side from which edges are looked at.
type edge struct{ own, id, peer string }

// edges adds who stands at the other end of edges with samples in the window, by
// how much their counters grew: bytes, and connections where there were none.
func (n *Neighbours) edges(ctx context.Context, side edge, w bundle.Window, weights map[string]float64) {
	names, err := labels.NewMatcher(labels.MatchRegexp, labelName, edgeNames)
	if err != nil {
		return
	}
	q, err := n.metrics.Querier(w.From.UnixMilli(), w.To.UnixMilli())
	if err != nil {
		return // the store is being opened anew, or has ended
	}
	defer func() { _ = q.Close() }() // nothing is written through it
	own := &labels.Matcher{Type: labels.MatchEqual, Name: side.own, Value: side.id}
	set := q.Select(ctx, false, nil, names, own)
	var it chunkenc.Iterator
	for set.Next() {
		series := set.At()
		peer := series.Labels().Get(side.peer)
		it = series.Iterator(it)
		if grown, ok := growth(it); peer != "" && ok {
			weights[peer] += grown
		}
	}
}

// growth is what a counter gained; a fall is a new start.
func growth(it chunkenc.Iterator) (grown float64, ok bool) {
	before := 0.0
	for kind := it.Next(); kind == chunkenc.ValFloat; kind = it.Next() {
		_, v := it.At()
		switch {
		case value.IsStaleNaN(v):
			continue
		case ok && v >= before:
			grown += v - before
		case ok:
			grown += v
		}
		before, ok = v, true
	}
	return grown, ok
}

// connections adds the other ends of connections that have events. They count
// for little beside the bytes of edges.
func (n *Neighbours) connections(ctx context.Context, id string, w bundle.Window, weights map[string]float64) {
	query := eventstore.Query{
		From: w.From, To: w.To, Kinds: []string{"network.connection.closed"}, Containers: []string{id},
		Limit: maxConnections, Newest: true,
	}
	_ = n.events.Scan(ctx, query, func(e eventstore.Event) bool { // what was found before an error counts
		for _, key := range []string{"source.container.id", "destination.container.id"} {
			if v, ok := e.Attributes.Get(key); ok && v.AsString() != id {
				weights[v.AsString()]++
			}
		}
		return true
	})
}
