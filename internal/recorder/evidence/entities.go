package evidence

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
	"github.com/tallymanhq/tallyman/internal/recorder/live"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

const (
	// maxAround bounds the containers beside the one that a capture is about: with
	// 60 series each, 12 minutes of 32 are 6 MB at most.
	maxAround = 31
	// groupShare and peersShare are how many of them may be of the same project or
	// pod, and peers, so that the others have a chance.
	groupShare, peersShare = 16, 8
	// busiest is how many are taken of those that use most of one thing.
	busiest = 10
)

// podTag is the tag that containers of one pod share.
const podTag = "k8s.pod.uid"

// Neighbours is what the recorder knows of containers and who belongs together.
type Neighbours struct {
	table   *entity.Table
	live    *live.Live
	metrics *metricstore.Store
	events  *eventstore.Store
}

var _ capture.Entities = (*Neighbours)(nil)

// Entities looks containers up in the table. Who is busy is found in the ring,
// who talks to whom in the metrics and events; what is nil is not asked.
func Entities(t *entity.Table, l *live.Live, m *metricstore.Store, e *eventstore.Store) *Neighbours {
	return &Neighbours{table: t, live: l, metrics: m, events: e}
}

// Lookup implements [capture.Entities]. Of several incarnations it is the last.
func (n *Neighbours) Lookup(id string) (capture.Entity, bool) {
	e, ok := n.table.Lookup(id)
	if !ok {
		return capture.Entity{}, false
	}
	return capture.Entity{
		Container: bundle.Container{ID: e.ID, Name: e.Name, Image: e.Image, Service: e.Service, Project: e.Project},
		Tags:      e.Tags, Start: e.Start, Stop: e.Stop,
	}, true
}

// askWithin bounds the time that is spent on finding peers: a capture without
// them is better than none.
const askWithin = 5 * time.Second

// Around implements [capture.Entities]: the containers of the same project or pod
// that lived in the window, the peers of its connections in the window, and who
// was busiest in its last two minutes. Around none it is whom something has happened
// to in the window, and who was busiest. They are 31 at most.
func (n *Neighbours) Around(id string, w bundle.Window) []string {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	chosen := chosen{self: id}
	if id == "" {
		chosen.add(n.hit(w), groupShare)
	}
	chosen.add(n.group(id, w), groupShare)
	chosen.add(n.peers(ctx, id, w), peersShare)
	chosen.add(n.busy(ctx, w), maxAround)
	return chosen.ids
}

// chosen are containers, none of them twice.
type chosen struct {
	self string
	ids  []string
}

// add takes the first ones, at most so many, as long as there is room.
func (c *chosen) add(ids []string, share int) {
	for _, id := range ids {
		if share == 0 || len(c.ids) >= maxAround {
			return
		}
		if id != "" && id != c.self && !slices.Contains(c.ids, id) {
			c.ids = append(c.ids, id)
			share--
		}
	}
}

// group is who is of the same project or pod: first whom something has happened
// to, then who was started last.
func (n *Neighbours) group(id string, w bundle.Window) []string {
	self, ok := n.table.Lookup(id)
	pod := self.Tags[podTag]
	if !ok || self.Project == "" && pod == "" {
		return nil
	}
	var found []entity.Entity
	for _, e := range n.table.List(entity.Filter{From: w.From, To: w.To}) {
		if self.Project != "" && e.Project == self.Project || pod != "" && e.Tags[podTag] == pod {
			found = append(found, e)
		}
	}
	slices.SortStableFunc(found, func(a, b entity.Entity) int {
		return cmp.Or(trouble(&b, w)-trouble(&a, w), b.Began().Compare(a.Began()))
	})
	ids := make([]string, len(found))
	for i, e := range found {
		ids[i] = e.ID
	}
	return ids
}

func trouble(e *entity.Entity, w bundle.Window) int {
	switch {
	case len(e.Degraded) > 0, e.OOMKilled:
		return 2
	case !e.Stop.IsZero() && !e.Stop.After(w.To):
		return 1
	}
	return 0
}
