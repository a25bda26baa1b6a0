package aggregate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
)

const overflow = " statsd.overflow=true"

func TestOriginLimit(t *testing.T) {
	r := newRig(t, aggregate.Settings{Cumulative: true, Limits: aggregate.Limits{OriginContexts: 20}})
	for i := range 25 {
		r.add(1, fmt.Sprintf("m:2|c|#i:%d", i))
	}
	for range 2 { // known ones go on
		r.add(1, "m:1|c|#i:0", "m:1|c|#i:24", "h:1|h", "h:2|h|#x", "other:1|h")
	}
	r.add(2, "m:1|c|#i:24")
	points := r.flush()
	require.Equal(t, 4., points["1 m|c i=0"].Value)
	require.Equal(t, 12., points["1 m|c"+overflow].Value)
	require.True(t, points["1 m|c"+overflow].Overflow)
	require.Equal(t, uint64(4), points["1 h|h"+overflow].Histogram.Count)
	require.NotContains(t, points, "1 other|h"+overflow, "a tenth of 20 are two")
	require.Equal(t, 1., points["2 m|c i=24"].Value)
	require.False(t, points["2 m|c i=24"].Overflow)
	require.Equal(t, map[string]uint64{"1 origin_contexts": 11, "1 overflow_contexts": 2}, r.counts())
	require.Equal(t, 21, r.table.Len())

	// What has expired makes room.
	r.now = r.now.Add(time.Hour)
	r.flush()
	r.add(1, "m:1|c|#i:24")
	require.Equal(t, map[string]float64{"1 m|c i=24": 1}, values(r.flush()))
}

func TestTableLimit(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{Contexts: 30, Origins: 40}})
	for i := range 50 {
		r.add(aggregate.Origin(i+1), "m:1|c|#a")
	}
	points := r.flush()
	require.Len(t, points, 33)
	require.Equal(t, 30, r.table.Len())
	counts := r.counts()
	require.Equal(t, uint64(1), counts["31 contexts"])
	require.Equal(t, uint64(1), counts["34 overflow_contexts"], "a tenth of 30 were there")
	require.Equal(t, uint64(10), counts["0 origins"])
	require.Len(t, counts, 11)
}

// Orders of tags must not fill the index; they cost time instead.
func TestAliasesAreBounded(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{OriginContexts: 10}})
	tags := []string{"a", "b", "c", "d", "e"}
	n := 0
	var permute func(k int)
	permute = func(k int) {
		if k == len(tags) {
			r.add(1, fmt.Sprintf("m:1|c|#%s,%s,%s,%s,%s", tags[0], tags[1], tags[2], tags[3], tags[4]))
			n++
			return
		}
		for i := k; i < len(tags); i++ {
			tags[k], tags[i] = tags[i], tags[k]
			permute(k + 1)
			tags[k], tags[i] = tags[i], tags[k]
		}
	}
	permute(0)
	require.Equal(t, map[string]float64{"1 m|c a= b= c= d= e=": float64(n)}, values(r.flush()))
	require.Equal(t, 20, r.table.Keys())
	require.Equal(t, map[string]uint64{"1 tag_orders": uint64(n - 20)}, r.counts())
}

// Without memory there are no new contexts, no wider histograms and no larger
// sets; the values go to the overflow, and what is there works on.
func TestMemoryLimit(t *testing.T) {
	const budget = 4 << 20
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{Bytes: budget, OriginContexts: 1 << 30, Contexts: 1 << 30}})
	r.add(1, "h:1|h", "s:a|s", "h:1|h|#kept", "g:1|g|#kept")
	n := 0
	for ; r.counts()["1 memory"] == 0; n++ {
		r.add(1, fmt.Sprintf("m:1|c|#i:%d", n))
		require.Less(t, n, 1<<20, "the limit has no effect")
	}
	require.LessOrEqual(t, r.table.Bytes(), budget+chunkAndSlab)
	for i := range 100_000 { // and another hundred thousand change nothing
		r.add(1, fmt.Sprintf("m:1|c|#i:%d", n+i))
	}
	require.LessOrEqual(t, r.table.Bytes(), budget+chunkAndSlab)
	r.add(1, "h:1000|h", "h:1|h|#kept", "h:-1|h|#kept", "g:5|g|#kept")
	for i := range 200 {
		r.add(1, fmt.Sprintf("s:%d|s", i))
	}
	points := r.flush()
	require.Equal(t, 100_001., points["1 m|c"+overflow].Value)
	require.Equal(t, uint64(1), points["1 h|h"].Histogram.Count)
	require.Equal(t, uint64(2), points["1 h|h kept="].Histogram.Count)
	require.Equal(t, 2., points["1 h|h"+overflow].Value+float64(points["1 h|h"+overflow].Histogram.Count))
	require.Equal(t, 5., points["1 g|g kept="].Value)
	require.InDelta(t, 201, points["1 s|s"].Value+points["1 s|s"+overflow].Value, 1)
	require.Equal(t, 2., points["1 s|s"].Value, "its four places hold two")
	require.Equal(t, uint64(100_000+2+199), r.counts()["1 memory"])
}

// chunkAndSlab is what the first overflow contexts may allocate beyond the budget.
const chunkAndSlab = 256<<10 + 512*(64+96+72)

func TestBlocked(t *testing.T) {
	policy, err := aggregate.NewPolicy(aggregate.Rules{Block: []string{"noise.*"}})
	require.NoError(t, err)
	r := newRig(t, aggregate.Settings{Policy: policy})
	for range 3 {
		r.add(1, "m:1|c", "noise.a:1|c", "noise.b:1|h|#x")
	}
	require.Equal(t, map[string]float64{"1 m|c": 3}, values(r.flush()))
	require.Equal(t, map[string]uint64{"1 blocked": 6}, r.counts())
	require.Equal(t, 3, r.table.Keys())
	r.now = r.now.Add(2 * time.Minute)
	r.flush()
	require.Equal(t, 1, r.table.Keys(), "blocked keys are not kept for ever")
}

func TestChunksAreOfOneOriginAndBounded(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{OriginContexts: 30_000}})
	for i := range 25_000 {
		r.add(1, fmt.Sprintf("m:1|c|#i:%d", i))
	}
	r.add(2, "m:1|c")
	for i := range 3000 {
		r.add(3, fmt.Sprintf("h:1|h|#i:%d", i), fmt.Sprintf("h:1.5|h|#i:%d", i), fmt.Sprintf("h:2|h|#i:%d", i))
	}
	of := map[aggregate.Origin][]int{}
	total := map[aggregate.Origin]float64{}
	r.table.Flush(nil, func(origin aggregate.Origin, points []aggregate.Point) {
		of[origin] = append(of[origin], len(points))
		for i := range points {
			total[origin] += points[i].Value
			if h := points[i].Histogram; h != nil {
				for _, n := range h.Positive.Counts {
					total[origin] += float64(n)
				}
			}
			require.LessOrEqual(t, len(points), 10_000)
		}
	})
	require.Len(t, of[1], 3)
	require.Len(t, of[2], 1)
	require.Greater(t, len(of[3]), 1, "129 buckets each: wide chunks end early")
	require.Equal(t, map[aggregate.Origin]float64{1: 25_000, 2: 1, 3: 9000}, total)
}
