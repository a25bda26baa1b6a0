package connstream_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/expohist"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// timesOf are the response times of exchanges that took so long.
func timesOf(start time.Duration, all ...time.Duration) *connstream.ResponseTimes {
	r := &connstream.ResponseTimes{Start: start}
	for i, d := range all {
		if i == 0 {
			r.Min = d
		}
		r.Sum += d
		r.Min, r.Max = min(r.Min, d), max(r.Max, d)
		r.Buckets[expohistBucket(d.Seconds())-connstream.FirstBucket]++
	}
	return r
}

// Several keys together are as if all their exchanges were of one.
func TestMerge(t *testing.T) {
	const ms = time.Millisecond
	f := func(want *connstream.ResponseTimes, parts ...*connstream.ResponseTimes) {
		t.Helper()
		var got connstream.ResponseTimes
		for _, part := range parts {
			got.Merge(part)
		}
		if diff := cmp.Diff(want, &got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	f(&connstream.ResponseTimes{})
	f(timesOf(7, 2*ms), timesOf(7, 2*ms))
	f(timesOf(3, ms, 2*ms, 40*ms, 40*ms), timesOf(7, 2*ms, 40*ms), timesOf(3, ms, 40*ms))
	f(timesOf(3, ms, 2*ms, 40*ms, 40*ms), timesOf(3, ms, 40*ms), timesOf(7, 2*ms, 40*ms))
}

// A point has the buckets from the first to the last that count.
func TestPoint(t *testing.T) {
	f := func(r *connstream.ResponseTimes, want expohist.Point) {
		t.Helper()
		if diff := cmp.Diff(want, r.Point()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	f(&connstream.ResponseTimes{}, expohist.Point{Scale: 2, Positive: expohist.Row{Offset: -80, Counts: []uint64{}}})
	f(timesOf(7, time.Second), expohist.Point{ // the upper end of the bucket that begins at 2^(-1/4) s
		Count: 1, Sum: 1, Min: 1, Max: 1, Scale: 2, Positive: expohist.Row{Offset: -1, Counts: []uint64{1}},
	})
	f(timesOf(7, time.Second/2, time.Second, time.Second), expohist.Point{
		Count: 3, Sum: 2.5, Min: 0.5, Max: 1, Scale: 2, Positive: expohist.Row{Offset: -5, Counts: []uint64{1, 0, 0, 0, 2}},
	})
	ends := timesOf(7, time.Microsecond, 64*time.Second)
	ends.Buckets[0]++ // shorter than there are buckets for
	ends.Sum, ends.Min = ends.Sum+500, 500
	row := make([]uint64, 104)
	row[0], row[103] = 2, 1
	f(ends, expohist.Point{
		Count: 3, Sum: 64.0000015, Min: 5e-7, Max: 64, Scale: 2, Positive: expohist.Row{Offset: -80, Counts: row},
	})
}
