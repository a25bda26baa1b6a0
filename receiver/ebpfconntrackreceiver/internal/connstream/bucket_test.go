package connstream_test

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/expohist"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/connstream"
)

// isAbove tells whether a time is above 2^(i/4) s, without rounding: its fourth
// power is compared with the border's.
func isAbove(ns uint64, i int) bool {
	value := new(big.Int).Exp(new(big.Int).SetUint64(ns), big.NewInt(4), nil)
	border := new(big.Int).Exp(big.NewInt(1e9), big.NewInt(4), nil)
	if i < 0 {
		value.Lsh(value, uint(-i))
	} else {
		border.Lsh(border, uint(i))
	}
	return value.Cmp(border) > 0
}

// around returns the times next to the border 2^(i/4) s: two on each side.
func around(i int) []uint64 {
	low, high := uint64(0), uint64(1)<<40
	for low < high { // the first time above it
		middle := (low + high) / 2
		if isAbove(middle, i) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return []uint64{low - 2, low - 1, low, low + 1}
}

// The program puts each time into the bucket that OpenTelemetry's definition
// gives, and that internal/expohist gives.
func TestBuckets(t *testing.T) {
	testkit.NeedBPF(t)
	program, err := connstream.LoadBucket()
	require.NoError(t, err)
	defer program.Close()
	const last = len(connstream.ResponseTimes{}.Buckets) - 1
	f := func(ns uint64) {
		t.Helper()
		context := [2]uint64{ns} // at least one argument more than the program reads
		got, err := program.Run(&ebpf.RunOptions{Context: context})
		require.NoError(t, err)
		bucket := int(got) + connstream.FirstBucket
		require.LessOrEqual(t, int(got), last, "%d ns", ns)
		require.True(t, got == 0 || isAbove(ns, bucket), "%d ns is in bucket %d, which begins later", ns, bucket)
		require.True(t, int(got) == last || !isAbove(ns, bucket+1), "%d ns is in bucket %d, which ends before", ns, bucket)
		if got > 0 && int(got) < last {
			require.Equal(t, bucket, expohistBucket(float64(ns)/1e9), "%d ns", ns)
		}
	}
	for i := connstream.FirstBucket; i <= connstream.FirstBucket+last+1; i++ {
		for _, ns := range around(i) {
			f(ns)
		}
	}
	for _, ns := range []uint64{0, 1, 2, 29, 30, 1e9 >> 9, 1e9, 64e9, 64e9 + 1, 1 << 62, 1<<64 - 1} {
		f(ns)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		f(random.Uint64() >> (27 + random.IntN(37))) // up to 137 s
	}
}

// expohistBucket is the bucket at scale 2 that this repository's histograms
// give.
func expohistBucket(seconds float64) int {
	var h expohist.Histogram
	h.Init()
	h.Record(seconds, 1)
	var copies expohist.Copies
	p := copies.Take(&h, seconds)
	return int(p.Positive.Offset >> (p.Scale - connstream.ResponseScale))
}
