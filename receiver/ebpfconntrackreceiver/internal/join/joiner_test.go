package join_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver/internal/join"
)

// TestTimes: what is found waits for the batch that follows, what is not waits out,
// and what is not wanted goes at once.
func TestTimes(t *testing.T) {
	one, other := hairpin().ends()
	lonely, unwanted := hairpin(), hairpin()
	lonely.from, unwanted.from = "172.17.0.2:40001", "172.17.0.2:40002"
	lonely.seen, unwanted.seen = "172.17.0.1:50001", "172.17.0.1:50002"
	three, _ := lonely.ends()
	four, _ := unwanted.ends()
	four.Wanted = false
	got := run(t, join.Options{}, []join.End{one, three, other, four})
	begin := got[3].at
	require.Equal(t, begin+batch, got[0].at)
	require.Equal(t, begin+batch, got[2].at)
	require.Equal(t, begin+3*batch, got[1].at)
	require.Equal(t, nothing, got[1].found)
	require.Equal(t, nothing, got[3].found)
}

func TestOrderOfArrival(t *testing.T) {
	var ends []join.End
	for i := range 100 {
		k := hairpin()
		k.from, k.seen = fmt.Sprintf("172.17.0.2:%d", 40000+i), fmt.Sprintf("172.17.0.1:%d", 50000+i)
		ends = append(ends, both(k)...)
	}
	for i, got := range run(t, join.Options{}, ends) {
		require.Equal(t, i, got.order)
	}
}

// TestLateEnd: the server keeps its half of the connection for seconds after the
// client's end was handed out.
func TestLateEnd(t *testing.T) {
	f := func(after time.Duration, want join.Found) {
		t.Helper()
		client, server := hairpin().ends()
		server.Ended += after
		batches := make([][]join.End, int(after/batch)+1)
		batches[0], batches[len(batches)-1] = []join.End{client}, []join.End{server}
		got := run(t, join.Options{}, batches...)
		require.Equal(t, nothing, got[0].found)
		require.Equal(t, want, got[1].found)
	}
	f(3*time.Second, known("c1", "172.17.0.2:40000"))
	f(9*time.Second, known("c1", "172.17.0.2:40000"))
	f(11*time.Second, nothing)
}

// TestUnwantedIsFound: who needs no answer is one.
func TestUnwantedIsFound(t *testing.T) {
	client, server := hairpin().ends()
	client.Wanted = false
	check(t, []join.End{client, server}, nothing, known("c1", "172.17.0.2:40000"))
}

// drain returns the numbers of what Take hands out.
func drain(j *join.Joiner[int], now time.Duration) (ids []int) {
	j.Take(now, func(_ *join.End, id *int, _ join.Found) { ids = append(ids, *id) })
	return ids
}

func TestTooManyWait(t *testing.T) {
	j := join.New[int](join.Options{MaxWaiting: 8})
	for i := range 20 {
		k := hairpin()
		k.from = fmt.Sprintf("172.17.0.2:%d", 40000+i)
		client, _ := k.ends()
		require.Equal(t, i >= 7, j.Add(0, client, i))
	}
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, drain(j, 0))
	require.Empty(t, drain(j, 0))
	s := j.Stats()
	require.Equal(t, join.Stats{Added: 20, Crowded: 14, Unpaired: 14, Waiting: 6, Remembered: 14}, s)
	require.Equal(t, []int{14, 15, 16, 17, 18, 19}, drain(j, time.Second))
	require.Equal(t, uint64(6), j.Stats().WaitedOut)
}

// TestTooManyWaitAreFound: who has to go gets what is known.
func TestTooManyWaitAreFound(t *testing.T) {
	j := join.New[int](join.Options{MaxWaiting: 2})
	client, server := hairpin().ends()
	j.Add(0, client, 0)
	require.True(t, j.Add(0, server, 1))
	var found []join.Found
	each := func(_ *join.End, _ *int, f join.Found) { found = append(found, f) }
	j.Take(0, each)
	j.Flush(each)
	require.Equal(t, []join.Found{known("c2", "172.17.0.3:80"), known("c1", "172.17.0.2:40000")}, found)
}

func TestTooManyRemembered(t *testing.T) {
	j := join.New[int](join.Options{MaxRemembered: 10})
	add := func(i int) {
		k := hairpin()
		k.from, k.seen = fmt.Sprintf("172.17.0.2:%d", 40000+i), fmt.Sprintf("172.17.0.1:%d", 50000+i)
		client, _ := k.ends()
		client.Wanted = false
		j.Add(0, client, i)
	}
	for i := range 25 {
		add(i)
	}
	require.Len(t, drain(j, 0), 25)
	require.Equal(t, join.Stats{Added: 25, Unwanted: 25, Forgotten: 15, Remembered: 10}, j.Stats())
	// What goes by its age is not counted.
	require.Empty(t, drain(j, 10*time.Second))
	require.Equal(t, join.Stats{Added: 25, Unwanted: 25, Forgotten: 15}, j.Stats())
}

// TestMemoryIsUsedAgain: a minute of traffic takes no more room than its limits,
// and leaves nothing.
func TestMemoryIsUsedAgain(t *testing.T) {
	j := join.New[int](join.Options{MaxWaiting: 1000, MaxRemembered: 2000})
	out := 0
	each := func(*join.End, *int, join.Found) { out++ }
	now := time.Duration(0)
	for i := range 600 {
		for n := range 100 {
			p := web("c", fmt.Sprintf("172.17.0.2:%d", 1024+n), 5000+n)
			p.begin, p.up = start+now+time.Duration(n)*100*time.Microsecond, uint64(i%7)
			for _, e := range p.legs() {
				j.Add(now, e, n)
			}
		}
		j.Take(now, each)
		require.LessOrEqual(t, j.Stats().Waiting, 1000)
		require.LessOrEqual(t, j.Stats().Remembered, 2000)
		now += batch
	}
	j.Flush(each)
	require.Equal(t, 600*400, out)
	s := j.Stats()
	require.Equal(t, uint64(600*400), s.Added)
	require.Equal(t, s.Added, s.Paired+s.Proxied+s.Ambiguous+s.Unpaired+s.Unwanted)
	require.Equal(t, uint64(600*200), s.Proxied)
	require.Zero(t, s.Waiting+s.Remembered)
	require.LessOrEqual(t, j.Slots(), 1000+2000+400)
}

func TestFlush(t *testing.T) {
	j := join.New[int](join.Options{})
	client, server := hairpin().ends()
	j.Add(0, client, 0)
	j.Add(0, server, 1)
	var found []join.Found
	each := func(_ *join.End, _ *int, f join.Found) { found = append(found, f) }
	j.Flush(each)
	require.Equal(t, []join.Found{known("c2", "172.17.0.3:80"), known("c1", "172.17.0.2:40000")}, found)
	j.Flush(each)
	require.Len(t, found, 2)
	require.Equal(t, join.Stats{Added: 2, Paired: 2}, j.Stats())
}
