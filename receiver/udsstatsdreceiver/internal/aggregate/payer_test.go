package aggregate_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

func (r *rig) charge(payer aggregate.Origin, origins ...aggregate.Origin) {
	r.table.Lock()
	defer r.table.Unlock()
	for _, o := range origins {
		r.table.Charge(o, payer)
	}
}

func (r *rig) forget(origins ...aggregate.Origin) {
	r.table.Lock()
	defer r.table.Unlock()
	for _, o := range origins {
		r.table.Forget(o)
	}
}

// addMany adds n counters with a tag of their own, of one name.
func (r *rig) addMany(origin aggregate.Origin, n int) {
	r.t.Helper()
	for i := range n {
		r.add(origin, fmt.Sprintf("m:1|c|#i:%d", i))
	}
}

// addTags adds one to a counter with tags that no datagram has room for.
func (r *rig) addTags(origin aggregate.Origin, tags string) {
	r.table.Lock()
	defer r.table.Unlock()
	r.table.Add(origin, &dogstatsd.Sample{
		Name: []byte("m"), Type: dogstatsd.Counter, Values: []float64{1}, Rate: 1, Tags: []byte(tags),
	})
}

// A sender with three origins has no more contexts than one with one.
func TestPayerHasOneLimit(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{OriginContexts: 20}})
	r.charge(1, 2, 3)
	r.charge(1, 2, 3) // again: nothing changes
	r.addMany(2, 12)
	r.addMany(1, 5)
	r.addMany(3, 12)
	r.addMany(4, 12)
	points := r.flush()
	require.Equal(t, 9., points["3 m|c"+overflow].Value)
	require.Equal(t, map[string]uint64{"3 origin_contexts": 9}, r.counts())
	require.Equal(t, 20+12, r.table.Len())

	// On its own account again it has room, and so have those that are left.
	r.charge(3, 3)
	r.add(3, "other:1|c")
	r.add(1, "other:1|c")
	require.Equal(t, map[string]float64{"1 other|c": 1, "3 other|c": 1}, values(r.flush()))
	require.Empty(t, r.counts())
}

// What expires is given back to the payer too, and places to others.
func TestPayerGetsBack(t *testing.T) {
	r := newRig(t, aggregate.Settings{Cumulative: true, Limits: aggregate.Limits{OriginContexts: 20, OriginBytes: 4096}})
	for round := range 50 {
		pending := aggregate.Origin(10 + round)
		r.charge(1, pending)
		for i := range 20 {
			r.add(pending, fmt.Sprintf("m:1|c|#i:%d", i), fmt.Sprintf("m:-1|c|#i:%d", i))
		}
		r.add(pending, "n:1|h")
		require.Equal(t, map[string]uint64{
			fmt.Sprintf("%d non_monotonic", pending): 1, fmt.Sprintf("%d origin_contexts", pending): 1,
		}, r.counts(), round)
		r.flush()
		r.forget(pending)
		r.now = r.now.Add(time.Hour)
		r.flush()
		r.flush()
		require.Zero(t, r.table.Keys())
		require.Equal(t, aggregate.Usage{}, r.table.Bill(1), round)
	}
	r.now = r.now.Add(time.Hour)
	r.flush()
	require.Zero(t, r.table.Owners())
	require.Zero(t, r.table.Bodies())
}

// An origin that is charged to another keeps its payer while it has no contexts.
func TestPayerIsRemembered(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{OriginContexts: 5}})
	r.charge(1, 2)
	r.addMany(2, 5)
	for range 3 {
		r.flush()
		r.now = r.now.Add(time.Hour)
	}
	require.Zero(t, r.table.Len())
	r.addMany(2, 5)
	r.addMany(1, 5)
	require.Equal(t, map[string]uint64{"1 origin_contexts": 5}, r.counts())
}

// Chains end at who pays for itself, and circles are not made.
func TestPayerOfAPayer(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{OriginContexts: 20}})
	r.charge(1, 2)
	r.charge(2, 3) // 1 pays
	r.charge(3, 1) // no
	r.addMany(3, 20)
	r.addMany(2, 1)
	r.addMany(1, 1)
	require.Equal(t, map[string]uint64{"1 origin_contexts": 1, "2 origin_contexts": 1}, r.counts())

	// With its contexts to another payer.
	r.charge(4, 3)
	r.addMany(4, 1)
	r.addMany(1, 20)
	require.Equal(t, map[string]uint64{"4 origin_contexts": 1}, r.counts())
}

// Made-up origins take half of the places at the most, and none of those of
// origins that pay for themselves.
func TestPlacesOfOrigins(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{Origins: 20}})
	for i := range 50 {
		r.charge(1, aggregate.Origin(100+i))
		r.add(aggregate.Origin(100+i), "m:1|c|#a", "m:1|c|#a")
	}
	for i := range 21 {
		r.add(aggregate.Origin(1+i), "m:1|c|#b")
	}
	points := r.flush()
	require.Equal(t, 2., points["109 m|c a="].Value)
	require.NotContains(t, points, "110 m|c a=")
	require.Equal(t, 80., points["1 m|c"+overflow].Value)
	require.Equal(t, 1., points["20 m|c b="].Value)
	require.NotContains(t, points, "21 m|c b=")
	require.Equal(t, map[string]uint64{"1 charged_origins": 80, "0 origins": 1}, r.counts())

	// A place that is free goes to the first that asks.
	r.forget(105)
	r.now = r.now.Add(time.Hour)
	r.flush()
	r.add(149, "m:1|c|#a")
	r.add(148, "m:1|c|#a")
	require.Equal(t, map[string]float64{"149 m|c a=": 1, "1 m|c" + overflow: 1}, values(r.flush()))
	require.NoError(t, r.table.Move(148, 149))
	for i := range 50 {
		r.forget(aggregate.Origin(100 + i))
	}
	r.counts()
	r.now = r.now.Add(time.Hour)
	r.flush()
	r.now = r.now.Add(time.Hour)
	r.flush()
	require.Zero(t, r.table.Owners())
	require.Zero(t, r.table.Refused())
}

// Without a place for the payer there is none for what is charged to it.
func TestNoPlaceForThePayer(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{Origins: 2}})
	r.add(1, "m:1|c")
	r.add(2, "m:1|c")
	r.charge(3, 4)
	r.add(4, "m:1|c")
	require.Equal(t, map[string]uint64{"0 origins": 1}, r.counts())
	require.Len(t, r.flush(), 2)
}

// Text is charged: one that sends long ones leaves the memory to others, and an
// account of 96 MiB stays near that.
func TestLongTextOfOne(t *testing.T) {
	const budget = 96 << 20
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{Bytes: budget}})
	long := strings.Repeat("x", 16_000)
	for i := range 6095 {
		r.addTags(1, fmt.Sprintf("i:%d,t:%s", i, long))
	}
	require.Less(t, r.table.Bytes(), budget/6)
	r.addMany(2, 5000)
	counts := r.counts()
	require.Greater(t, counts["1 origin_memory"], uint64(5000))
	require.Len(t, counts, 1, "the other one has lost nothing")
	require.Equal(t, float64(counts["1 origin_memory"]), r.flush()["1 m|c"+overflow].Value)
}

// Sets, histograms and timestamped points are charged as they grow, and overflow
// contexts have an end too: by origin, and all together.
func TestBodiesOfOneAndOfAll(t *testing.T) {
	const budget, share = 8 << 20, 1 << 20
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{Bytes: budget, OriginBytes: share}})
	lost := map[string]uint64{}
	for origin := range aggregate.Origin(20) {
		origin++
		before := r.table.Bytes()
		for i := range 400 {
			for n := range 150 {
				r.add(origin, fmt.Sprintf("s%d:%d|s", i, n))
			}
			r.add(origin, fmt.Sprintf("h%d:1|h", i), fmt.Sprintf("h%d:1.9|h", i), fmt.Sprintf("h%d:7|h|@0.000001", i))
			r.add(origin, fmt.Sprintf("h%d:-1|h", i))
		}
		require.LessOrEqual(t, r.table.Bill(origin).Bytes, share+share/8+sketch)
		require.LessOrEqual(t, r.table.Bytes()-before, share+share/8+share/2, "what is not charged: places and indexes")
		require.LessOrEqual(t, r.table.Bytes(), budget+budget/8+chunkAndSlab)
		for reason, n := range r.counts() {
			_, reason, _ = strings.Cut(reason, " ")
			lost[reason] += n
		}
	}
	require.NotZero(t, lost["origin_memory"])
	require.NotZero(t, lost["memory"])
	require.NotZero(t, lost["overflow_memory"])
	sum := 0.
	for _, p := range r.flush() {
		if p.Histogram != nil {
			sum += float64(p.Histogram.Count)
		}
	}
	require.Positive(t, sum)
	r.now = r.now.Add(time.Hour)
	r.flush()
	for origin := range aggregate.Origin(20) {
		require.Equal(t, aggregate.Usage{}, r.table.Bill(origin+1))
	}
	require.Zero(t, r.table.Bodies())
}

// sketch is what a set may take in its last step.
const sketch = 17 << 10

// Wider counters are growth like others.
func TestWiderCountersAreCharged(t *testing.T) {
	r := newRig(t, aggregate.Settings{Cumulative: true})
	for i := range 8 {
		r.add(1, fmt.Sprintf("h:%d|h", 100+i))
	}
	before := r.table.Bill(1).Bytes
	r.add(1, "h:100|h|@0.0001")
	require.Greater(t, r.table.Bill(1).Bytes, before)
	require.Equal(t, uint64(10_008), r.flush()["1 h|h"].Histogram.Count)
}

// A burst of names of an origin over its limit goes to the overflow context of
// the name that the policy makes of it, and what is blocked stays blocked.
func TestOverCapByName(t *testing.T) {
	policy, err := aggregate.NewPolicy(aggregate.Rules{
		Prefix: "p.", Block: []string{"p.noise*"}, Mappings: []aggregate.Mapping{{Match: "a.*.z", Name: "a", Tags: []aggregate.Tag{{Key: "b", Value: "$1"}}}},
	})
	require.NoError(t, err)
	r := newRig(t, aggregate.Settings{Policy: policy, Limits: aggregate.Limits{OriginContexts: 20}})
	r.addMany(1, 20)
	for i := range 5 {
		r.add(1, fmt.Sprintf("a.%d.z:1|c|#x:%d", i, i), fmt.Sprintf("noise:1|c|#x:%d", i), fmt.Sprintf("m:1|c|#x:%d", i))
	}
	r.add(1, "\x01:1|c|#x", "m:1|c|#i:3") // no room, and one that is known
	points := r.flush()
	require.Len(t, points, 22)
	require.Equal(t, 5., points["1 p.a|c"+overflow].Value)
	require.Equal(t, 5., points["1 p.m|c"+overflow].Value)
	require.Equal(t, 2., points["1 p.m|c i=3"].Value)
	require.Equal(t, map[string]uint64{"1 origin_contexts": 10, "1 overflow_contexts": 1, "1 blocked": 5}, r.counts())
	keys := r.table.Keys()
	for i := range 100 {
		r.add(1, fmt.Sprintf("m:1|c|#y:%d", i), fmt.Sprintf("noise:1|c|#y:%d", i))
	}
	require.Equal(t, keys, r.table.Keys())
}

// Who becomes known takes along what was counted, and what it has is kept and
// charged to the new payer: without room there it gets no more.
func TestMoveTakesAlong(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{OriginContexts: 20}})
	r.charge(9, 2)
	r.addMany(1, 15)
	r.addMany(2, 22)
	for i := range 15 {
		r.add(1, fmt.Sprintf("m:1|c|#other:%d", i))
	}
	r.add(2, "m:-1|c|#i:0")
	require.NoError(t, r.table.Move(2, 1))
	require.Equal(t, map[string]uint64{"1 origin_contexts": 2 + 10, "1 non_monotonic": 1}, r.counts())
	require.Zero(t, r.table.Bill(9).Contexts)
	r.add(1, "new:1|c")
	points := r.flush()
	require.Equal(t, aggregate.Usage{}, r.table.Bill(9))
	require.Equal(t, 2., points["1 m|c i=14"].Value)
	require.Equal(t, 1., points["1 m|c i=19"].Value, "kept beyond the limit")
	require.Equal(t, 12., points["1 m|c"+overflow].Value)
	require.Equal(t, 1., points["1 new|c"+overflow].Value)
	require.False(t, points["1 m|c i=0"].Monotonic)
	require.Equal(t, 25, r.table.Len())

	// Twice the limit is the end.
	for from := range aggregate.Origin(3) {
		for i := range 20 {
			r.add(20+from, fmt.Sprintf("m%d:1|c|#i:%d", from, i))
		}
		require.NoError(t, r.table.Move(20+from, 1))
	}
	r.flush()
	require.Equal(t, 40, r.table.Len())
}

// Within one payer a move is no growth, even if there is no room left.
func TestMoveToThePayer(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{OriginContexts: 20, Contexts: 20}})
	r.charge(1, 2)
	r.addMany(2, 20)
	require.NoError(t, r.table.Move(2, 1))
	require.Len(t, r.flush(), 20)
	require.Empty(t, r.counts())
	require.Equal(t, 20, r.table.Bill(1).Contexts)
	r.now = r.now.Add(2 * time.Minute)
	r.flush()
	require.Equal(t, 1, r.table.Owners())
}

// An origin goes when its counts were taken, also if nothing else expires.
func TestOwnersGoAfterTheirCounts(t *testing.T) {
	r := newRig(t, aggregate.Settings{Limits: aggregate.Limits{Contexts: 1 << 20}})
	tooLong := strings.Repeat("x", 70_000)
	for origin := range aggregate.Origin(3000) {
		r.addTags(origin+1, tooLong)
	}
	r.now = r.now.Add(time.Hour)
	r.flush()
	require.Equal(t, 3000, r.table.Owners(), "not before somebody knows")
	require.Len(t, r.counts(), 3000)
	r.now = r.now.Add(time.Hour)
	r.flush()
	require.Zero(t, r.table.Owners())
}

// The sweep beside a reader: for the race detector.
func TestSweepBesideAReader(t *testing.T) {
	policy, err := aggregate.NewPolicy(aggregate.Rules{Block: []string{"noise*"}})
	require.NoError(t, err)
	var now atomic.Int64
	table := aggregate.New(aggregate.Settings{Policy: policy, Now: func() time.Time { return time.Unix(now.Add(1), 0) }})
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		s := dogstatsd.Sample{Values: []float64{1}, Rate: 1}
		for i := range 3000 {
			s.Name = fmt.Appendf(s.Name[:0], "noise%d", i)
			table.Lock()
			table.Charge(aggregate.Origin(1+i%50), 1)
			table.Add(aggregate.Origin(1+i%50), &s)
			table.Unlock()
		}
	})
	blocked := uint64(0)
	take := func(_ aggregate.Origin, counts aggregate.Counts) { blocked += counts[aggregate.Blocked] }
	for isDone := false; !isDone; {
		select {
		case <-done:
			isDone = true
		default:
		}
		now.Add(1000)
		table.Flush(nil, func(aggregate.Origin, []aggregate.Point) {})
		table.Counts(take)
	}
	wg.Wait()
	table.Counts(take)
	require.Equal(t, uint64(3000), blocked)
}

func TestKept(t *testing.T) {
	var kept []string
	for r := aggregate.Reason(0); r.String() != "unknown"; r++ {
		if r.Kept() {
			kept = append(kept, r.String())
		}
	}
	require.Equal(t, []string{"tag_orders", "invalid_text", "non_monotonic", "weight_capped"}, kept)
}
