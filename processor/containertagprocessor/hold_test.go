package containertagprocessor

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// parcel is data of one container: the number n of its producer, and how many
// items it stands for.
type parcel struct {
	key      string
	n, items int
}

// passedOn remembers what a hold has handed on.
type passedOn struct {
	mu    sync.Mutex
	all   []parcel
	byKey map[string][]int
}

func (p *passedOn) pass(data []*parcel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range data {
		p.all = append(p.all, *d)
		if p.byKey == nil {
			p.byKey = map[string][]int{}
		}
		p.byKey[d.key] = append(p.byKey[d.key], d.n)
		// Whoever takes data may do with it what it likes.
		*d = parcel{}
	}
}

func (p *passedOn) numbers(key string) []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.byKey[key])
}

func (p *passedOn) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}

func newParcelHold(pass func([]*parcel), now func() time.Time) *hold[*parcel] {
	return newHold(pass, func(d *parcel) int { return d.items }, now)
}

func put(h *hold[*parcel], deadline time.Time, d parcel) bool {
	return h.accepts() && h.add(d.key, deadline, &d)
}

// upTo lists 0 to n-1.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// A container's data goes at its deadline, not before, and not with another's.
func TestHoldDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got passedOn
		h := newParcelHold(got.pass, time.Now)
		h.start()
		defer h.close()
		begin := time.Now()
		require.True(t, put(h, begin.Add(2*time.Second), parcel{"late", 0, 1}))
		require.True(t, put(h, begin.Add(time.Second), parcel{"early", 0, 1}))
		require.True(t, put(h, begin.Add(time.Hour), parcel{"early", 1, 1}), "the first one's deadline counts")
		require.EqualValues(t, 3, h.size())

		wait(begin.Add(time.Second - 1))
		require.Zero(t, got.len())
		wait(begin.Add(time.Second))
		require.Equal(t, []int{0, 1}, got.numbers("early"))
		require.Empty(t, got.numbers("late"))
		require.False(t, h.has("early"))
		require.True(t, h.has("late"))
		wait(begin.Add(2 * time.Second))
		require.Equal(t, []int{0}, got.numbers("late"))
		require.True(t, h.isEmpty())
		require.Zero(t, h.size())
	})
}

// wait lets the clock of the bubble reach a moment, and all that is due then be
// done.
func wait(until time.Time) {
	<-time.After(time.Until(until))
	synctest.Wait()
}

// News of a container release its data, and only its data.
func TestHoldReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got passedOn
		h := newParcelHold(got.pass, time.Now)
		h.start()
		defer h.close()
		deadline := time.Now().Add(time.Hour)
		require.True(t, put(h, deadline, parcel{"a", 0, 1}))
		require.True(t, put(h, deadline, parcel{"b", 0, 1}))
		h.changed("a", false)
		h.changed("nobody", true)
		synctest.Wait()
		require.Zero(t, got.len(), "nothing is ready")
		h.changed("a", true)
		synctest.Wait()
		require.Equal(t, []int{0}, got.numbers("a"))
		require.Empty(t, got.numbers("b"))
	})
}

// A resource without a single point waits as well, and keeps its place.
func TestHoldEmptyData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got passedOn
		h := newParcelHold(got.pass, time.Now)
		h.start()
		defer h.close()
		require.True(t, put(h, time.Now().Add(time.Hour), parcel{"a", 0, 0}))
		require.False(t, h.isEmpty())
		require.True(t, h.has("a"))
		h.changed("a", true)
		synctest.Wait()
		require.Equal(t, []int{0}, got.numbers("a"))
		require.True(t, h.isEmpty())
	})
}

// What is passed on belongs to the next component, which may empty it: the
// number of what waits must not depend on it.
func TestHoldCountsBeforePassing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got passedOn // its pass empties what it takes
		h := newParcelHold(got.pass, time.Now)
		h.start()
		defer h.close()
		for n := range 3 {
			require.True(t, put(h, time.Now().Add(time.Second), parcel{"a", n, maxHeld / 3}))
			h.changed("a", true)
			synctest.Wait()
			require.Zero(t, h.size())
		}
	})
}

func TestHoldMaxHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got passedOn
		h := newParcelHold(got.pass, time.Now)
		h.start()
		defer h.close()
		deadline := time.Now().Add(time.Hour)
		require.True(t, put(h, deadline, parcel{"a", 0, maxHeld - 1}))
		require.True(t, put(h, deadline, parcel{"b", 0, 5}), "one may go beyond")
		require.False(t, h.accepts())
		require.EqualValues(t, maxHeld+4, h.size())
		h.changed("a", true)
		synctest.Wait()
		require.EqualValues(t, 5, h.size())
		require.True(t, put(h, deadline, parcel{"c", 0, 1}), "there is room again")
	})
}

func TestHoldClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got passedOn
		h := newParcelHold(got.pass, time.Now)
		h.start()
		deadline := time.Now().Add(time.Hour)
		for n := range 3 {
			require.True(t, put(h, deadline, parcel{"a", n, 1}))
			require.True(t, put(h, deadline, parcel{"b", n, 1}))
		}
		h.close()
		require.Equal(t, upTo(3), got.numbers("a"))
		require.Equal(t, upTo(3), got.numbers("b"))
		require.True(t, h.isEmpty())
		require.False(t, h.accepts())
		require.False(t, h.add("a", deadline, &parcel{"a", 3, 1}), "whoever has asked before the end")
		h.close()
		require.Equal(t, 6, got.len())
	})
}

// What comes while earlier data of the container is on its way does not overtake
// it: it has to wait, and follows without another deadline.
func TestHoldAddWhilePassing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got passedOn
		entered, goOn := make(chan struct{}), make(chan struct{})
		var first sync.Once
		h := newParcelHold(func(data []*parcel) {
			first.Do(func() {
				close(entered)
				<-goOn
			})
			got.pass(data)
		}, time.Now)
		h.start()
		defer h.close()
		require.True(t, put(h, time.Now().Add(time.Hour), parcel{"a", 0, 1}))
		h.changed("a", true)
		<-entered
		require.True(t, h.has("a"), "its data is not there yet")
		require.True(t, put(h, time.Now().Add(time.Hour), parcel{"a", 1, 1}))
		close(goOn)
		synctest.Wait()
		require.Equal(t, upTo(2), got.numbers("a"))
		require.False(t, h.has("a"))
	})
}

// Producers of many containers add or send directly, as Consume does, while
// others tell of news and deadlines end. Nothing is lost or doubled, and within
// each container the order stays.
func TestHoldKeepsOrderConcurrently(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	const producers, keysEach, parcels = 4, 25, 200
	var got passedOn
	h := newParcelHold(got.pass, time.Now)
	h.start()
	var direct, waited atomic.Int64
	var wg, news sync.WaitGroup
	stop := make(chan struct{})
	news.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				h.changed(keyOf(i%producers, i/producers%keysEach), true)
			}
		}
	})
	for p := range producers {
		wg.Go(func() {
			for n := range parcels {
				if n == parcels/2 { // so that some of it does not wait, however slow the hold is
					if err := testkit.Poll(t.Context(), func() error { return noneWaits(h) }); err != nil {
						t.Error(err)
					}
				}
				for k := range keysEach {
					d := parcel{keyOf(p, k), n, 1}
					// Some of it has to wait, as when tags come and go.
					if (n%20 == 1 || h.has(d.key)) && put(h, time.Now().Add(time.Millisecond), d) {
						waited.Add(1)
						continue
					}
					direct.Add(1)
					got.pass([]*parcel{&d})
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	news.Wait()
	h.close()
	t.Logf("%d waited, %d did not", waited.Load(), direct.Load())
	require.NotZero(t, direct.Load())
	require.NotZero(t, waited.Load())
	require.Equal(t, producers*keysEach*parcels, got.len())
	for p := range producers {
		for k := range keysEach {
			require.Equal(t, upTo(parcels), got.numbers(keyOf(p, k)))
		}
	}
	require.Zero(t, h.size())
	require.True(t, h.isEmpty())
}

func noneWaits(h *hold[*parcel]) error {
	if h.isEmpty() {
		return nil
	}
	return fmt.Errorf("%d items wait", h.size())
}

func keyOf(producer, k int) string { return fmt.Sprintf("%d-%d", producer, k) }

// Close while producers are at it: what was taken is handed on, once.
func TestHoldCloseConcurrently(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	var got passedOn
	h := newParcelHold(got.pass, time.Now)
	h.start()
	const enough = 1000
	var taken atomic.Int64
	var closing atomic.Bool
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				if put(h, time.Now(), parcel{keyOf(p, n%10), n, 1}) {
					taken.Add(1)
				} else if closing.Load() {
					return
				}
			}
		})
	}
	testkit.Eventually(t, patience, func() error {
		if n := taken.Load(); n < enough {
			return fmt.Errorf("%d taken", n)
		}
		return nil
	})
	closing.Store(true)
	h.close()
	wg.Wait()
	require.EqualValues(t, taken.Load(), got.len())
}
