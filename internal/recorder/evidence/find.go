package evidence

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/entity"
)

// Find implements [capture.Entities]. An id is itself; a name is its last bearer that
// lived in the window, or the last at all; what is neither may be the beginning of one
// id. Names of which several run at the end of the window are ambiguous.
func (n *Neighbours) Find(text string, w bundle.Window) (string, error) {
	if text = strings.TrimSpace(text); text == "" {
		return "", fmt.Errorf("%w: it has no name", capture.ErrUnknown)
	}
	if _, ok := n.table.Lookup(text); ok {
		return text, nil
	}
	found := n.table.List(entity.Filter{Text: text}) // in the order of their begin
	named := slices.DeleteFunc(slices.Clone(found), func(e entity.Entity) bool { return e.Name != text })
	if len(named) > 0 {
		return bearer(text, named, w)
	}
	var ids []string
	for _, e := range found {
		if strings.HasPrefix(e.ID, strings.ToLower(text)) && !slices.Contains(ids, e.ID) {
			ids = append(ids, e.ID)
		}
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("%w: %.80q is no name, no id and no beginning of an id", capture.ErrUnknown, text)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%w: the ids of %d begin with %.80q", capture.ErrAmbiguous, len(ids), text)
}

// bearer is who is meant by a name.
func bearer(name string, named []entity.Entity, w bundle.Window) (string, error) {
	in := slices.DeleteFunc(slices.Clone(named), func(e entity.Entity) bool {
		return e.Began().After(w.To) || !e.Stop.IsZero() && e.Stop.Before(w.From)
	})
	if len(in) == 0 {
		return named[len(named)-1].ID, nil
	}
	var alive []string
	for _, e := range in {
		if e.StateAt(w.To) != entity.Ended && !slices.Contains(alive, e.ID) {
			alive = append(alive, e.ID)
		}
	}
	switch len(alive) {
	case 0:
		return in[len(in)-1].ID, nil
	case 1:
		return alive[0], nil
	}
	return "", fmt.Errorf("%w: %d are named %.80q, so say which by the id", capture.ErrAmbiguous, len(alive), name)
}

// maxBefore is how many of one name go into a capture beside those that lived in its
// window: as many as anybody reads of a container that crashes all the time.
const maxBefore = 20

// Write implements [capture.Entities]: in the form of entities.jsonl.
func (n *Neighbours) Write(to io.Writer, w bundle.Window, keep func(container string) bool) error {
	wanted, related := map[uint64]bool{}, map[lineage]bool{}
	for e := range n.table.Walk() {
		if !keep(e.ID) {
			continue
		}
		related[lineageOf(&e)] = true
		if !e.Began().After(w.To) && (e.Stop.IsZero() || !e.Stop.Before(w.From)) {
			wanted[e.Seq] = true
		}
	}
	var others []life
	for e := range n.table.Walk() {
		if line := lineageOf(&e); related[line] && !wanted[e.Seq] {
			others = append(others, life{line, e.Seq, e.Began()})
		}
	}
	slices.SortStableFunc(others, func(a, b life) int { return a.began.Compare(b.began) })
	more := map[lineage]int{}
	for _, l := range slices.Backward(others) { // those that began last
		if more[l.lineage] < maxBefore {
			wanted[l.seq] = true
			more[l.lineage]++
		}
	}
	return n.table.Write(to, func(e *entity.Entity) bool { return wanted[e.Seq] })
}

// life is what is looked at of an incarnation: there can be tens of thousands.
type life struct {
	lineage lineage
	seq     uint64
	began   time.Time
}

// lineage is what incarnations have in common: the name or, without one, the id.
type lineage struct{ name, id string }

func lineageOf(e *entity.Entity) lineage {
	if e.Name != "" {
		return lineage{name: e.Name}
	}
	return lineage{id: e.ID}
}

// hit are those that something has happened to in the window: first whom something
// was killed in, or who ran without a process, then who ended with an error, in each
// case the last one first.
func (n *Neighbours) hit(w bundle.Window) []string {
	type victim struct {
		entity.Entity
		rank int
	}
	var victims []victim
	for _, e := range n.table.List(entity.Filter{From: w.From, To: w.To}) {
		if rank := harm(&e, w); rank > 0 {
			victims = append(victims, victim{e, rank})
		}
	}
	slices.Reverse(victims)
	slices.SortStableFunc(victims, func(a, b victim) int { return b.rank - a.rank })
	ids := make([]string, len(victims))
	for i, v := range victims {
		ids[i] = v.ID
	}
	return ids
}

// harm is how much has happened to a container in the window.
func harm(e *entity.Entity, w bundle.Window) int {
	killed := e.LastKill != nil && !e.LastKill.At.Before(w.From) && !e.LastKill.At.After(w.To)
	switch {
	case killed, e.StateAt(w.To) == entity.Broken:
		return 2
	case e.StateAt(w.To) == entity.Ended && e.ExitCode != nil && *e.ExitCode != 0:
		return 1
	}
	return 0
}
