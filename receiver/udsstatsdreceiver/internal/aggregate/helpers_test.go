package aggregate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// rig is a table with a clock that stands still.
type rig struct {
	t     *testing.T
	now   time.Time
	table *aggregate.Table
}

func newRig(t *testing.T, s aggregate.Settings) *rig {
	t.Helper()
	r := &rig{t: t, now: time.Unix(1_700_000_000, 0)}
	s.Now = func() time.Time { return r.now }
	r.table = aggregate.New(s)
	return r
}

// add parses a line, so that samples are what the parser makes of them.
func (r *rig) add(origin aggregate.Origin, lines ...string) {
	r.t.Helper()
	var p dogstatsd.Parser
	r.table.Lock()
	defer r.table.Unlock()
	for _, line := range lines {
		found := 0
		for kind := range p.Lines([]byte(line), false) {
			require.Equal(r.t, dogstatsd.KindMetric, kind, line)
			r.table.Add(origin, p.Sample())
			found++
		}
		require.Equal(r.t, 1, found, line)
	}
}

// seen is a point that was kept beyond its flush.
type seen struct {
	aggregate.Point
	Origin aggregate.Origin
	Tags   string
	Start  time.Time
	Time   time.Time
}

// flush returns the points by origin, name, type and tags, as written by id.
func (r *rig) flush() map[string]seen {
	r.t.Helper()
	all := map[string]seen{}
	r.table.Flush(nil, func(origin aggregate.Origin, points []aggregate.Point) {
		for i := range points {
			s := keep(origin, &points[i])
			id := id(s)
			if _, isTwice := all[id]; isTwice {
				r.t.Fatalf("%s was handed out twice", id)
			}
			all[id] = s
		}
	})
	return all
}

func keep(origin aggregate.Origin, p *aggregate.Point) seen {
	s := seen{Point: *p, Origin: origin, Start: time.Unix(0, p.Start), Time: time.Unix(0, p.Time)}
	var tags []string
	for key, value := range p.Tags() {
		tags = append(tags, key+"="+value)
	}
	s.Tags = strings.Join(tags, " ")
	if p.Histogram != nil {
		h := *p.Histogram
		h.Positive.Counts = append([]uint64(nil), h.Positive.Counts...)
		h.Negative.Counts = append([]uint64(nil), h.Negative.Counts...)
		s.Histogram = &h
	}
	return s
}

// id names a point: "1 name|type tags", with the second of a late one.
func id(s seen) string {
	types := map[dogstatsd.Type]string{
		dogstatsd.Counter: "c", dogstatsd.Gauge: "g", dogstatsd.Set: "s",
		dogstatsd.Histogram: "h", dogstatsd.Timer: "ms", dogstatsd.Distribution: "d",
	}
	text := fmt.Sprintf("%d %s|%s", s.Origin, s.Name, types[s.Type])
	if s.Tags != "" {
		text += " " + s.Tags
	}
	if s.Late {
		text += fmt.Sprintf(" @%d", s.Time.Unix())
	}
	return text
}

// values are the points as numbers: the count of a histogram.
func values(points map[string]seen) map[string]float64 {
	all := map[string]float64{}
	for id, p := range points {
		all[id] = p.Value
		if p.Histogram != nil {
			all[id] = float64(p.Histogram.Count)
		}
	}
	return all
}

// counts are those since the last call, by origin and reason.
func (r *rig) counts() map[string]uint64 {
	all := map[string]uint64{}
	r.table.Counts(func(origin aggregate.Origin, counts aggregate.Counts) {
		for reason, n := range counts {
			if n > 0 {
				all[fmt.Sprintf("%d %s", origin, aggregate.Reason(reason))] = n
			}
		}
	})
	return all
}
