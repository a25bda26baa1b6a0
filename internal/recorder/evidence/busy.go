package evidence

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/live"
)

// busy are the ids of those that use most CPU, memory and disk, in turns.
func (n *Neighbours) busy(ctx context.Context, w bundle.Window) []string {
	if n.live == nil {
		return nil
	}
	now := n.live.Snapshot()
	if now.At.Sub(w.To) > live.Seconds*time.Second {
		return n.busyThen(ctx, w)
	}
	rows := slices.DeleteFunc(now.Rows, func(h live.History) bool { return h.ID == "" })
	uses := []func(h *live.History) float64{
		func(h *live.History) float64 { return total(h, live.CPU) },
		func(h *live.History) float64 { return total(h, live.Memory) },
		func(h *live.History) float64 { return total(h, live.IORead) + total(h, live.IOWrite) },
	}
	var tops [][]string
	for _, use := range uses {
		tops = append(tops, top(rows, use))
	}
	return inTurns(tops)
}

// busyThen asks the metrics: the ring forgets after two minutes.
func (n *Neighbours) busyThen(ctx context.Context, w bundle.Window) []string {
	if n.metrics == nil {
		return nil
	}
	length := fmt.Sprintf("[%ds]", int(w.To.Sub(w.From).Seconds()))
	// By the second: what does not change has fewer samples than what does.
	seconds := strings.Replace(length, "]", ":1s]", 1)
	var tops [][]string
	for _, use := range []string{
		"avg_over_time(container_cpu_usage" + seconds + ")",
		"avg_over_time(container_memory_usage_bytes" + seconds + ")",
		"sum by (" + labelContainer + ") (increase(container_disk_io_bytes_total" + length + "))",
	} {
		tops = append(tops, n.topThen(ctx, use, w.To))
	}
	return inTurns(tops)
}

// topThen are those for which an expression was highest. What cannot be asked has
// none.
func (n *Neighbours) topThen(ctx context.Context, use string, at time.Time) []string {
	result, err := n.metrics.Instant(ctx, fmt.Sprintf("topk(%d, %s > 0)", busiest, use), at)
	if err != nil {
		return nil
	}
	vector, err := result.Vector()
	if err != nil {
		return nil
	}
	ids := make([]string, 0, len(vector))
	for _, sample := range vector { // topk sorts
		if id := sample.Metric.Get(labelContainer); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// inTurns takes one of each list after the other.
func inTurns(lists [][]string) []string {
	var ids []string
	for i := range busiest {
		for _, list := range lists {
			if i < len(list) {
				ids = append(ids, list[i])
			}
		}
	}
	return ids
}

// total is the sum over what the ring holds. What is not known counts as nothing:
// who has ended a while ago is not as busy as who still runs.
func total(h *live.History, m live.Metric) float64 {
	sum := 0.0
	for _, v := range h.Values[m] {
		if v > 0 { // not NaN
			sum += float64(v)
		}
	}
	return sum
}

// top are those that use most of something, without those that use none.
func top(rows []live.History, use func(*live.History) float64) []string {
	type score struct {
		id  string
		use float64
	}
	var scores []score
	for i := range rows {
		if v := use(&rows[i]); v > 0 {
			scores = append(scores, score{rows[i].ID, v})
		}
	}
	slices.SortFunc(scores, func(a, b score) int { return cmp.Or(cmp.Compare(b.use, a.use), cmp.Compare(a.id, b.id)) })
	ids := make([]string, 0, busiest)
	for _, s := range scores[:min(len(scores), busiest)] {
		ids = append(ids, s.id)
	}
	return ids
}
