package cadence

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHowManyReadingsOfWhatStaysTheSame(t *testing.T) {
	f := func(interval, unchanged time.Duration, want uint64) {
		t.Helper()
		require.Equal(t, want, New(interval, unchanged).every, "%v of %v", unchanged, interval)
	}
	f(time.Second, 5*time.Second, 5)
	f(2*time.Second, 5*time.Second, 2) // every 4 s: at least once in 5 s
	f(time.Second, 0, 1)
	f(10*time.Second, 5*time.Second, 1)
	f(3*time.Second, 5*time.Second, 1)
	f(time.Second, -time.Second, 1)
	f(0, 5*time.Second, 1)
}

// told plays readings and returns the places of those that are told, with those that
// are told late because of the next one.
func told(c Cadence, s *Steps, readings []int) (places []int) {
	for i, r := range readings {
		tell, before := s.Next(c, i > 0 && r != readings[i-1])
		if before {
			places = append(places, i-1)
		}
		if tell {
			places = append(places, i)
		}
	}
	return places
}

func TestWhatIsTold(t *testing.T) {
	f := func(readings string, number uint64, want ...int) {
		t.Helper()
		var numbers []int
		for _, r := range readings {
			numbers = append(numbers, int(r))
		}
		s := Begin(number)
		require.Equal(t, want, told(New(time.Second, 5*time.Second), &s, numbers), readings)
	}
	f("abcd", 0, 0, 1, 2, 3)
	f("aaaaaaaaaaaa", 0, 0, 1, 4, 9)
	f("aaaaaaaaaaaa", 3, 0, 1, 6, 11)        // another number, another turn
	f("aaaabcccccc", 0, 0, 1, 3, 4, 5, 6, 9) // the last a, at its time, and one c that says 0
	f("aabaacc", 0, 0, 1, 2, 3, 4, 5, 6)     // nothing was left out: nothing is told again
	f("aaaaab", 0, 0, 1, 4, 5)               // the turn was just before the change
}

// Of readings of every kind, straight lines through what is told pass through all of
// them, and no silence is longer than the cadence allows.
func TestNothingIsLost(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 8))
	for range 500 {
		every := 1 + r.IntN(9)
		readings := make([]int, 200)
		for i := 1; i < len(readings); i++ {
			readings[i] = readings[i-1]
			if r.IntN(1+r.IntN(12)) == 0 {
				readings[i] += r.IntN(3)
			}
		}
		s := Begin(r.Uint64())
		places := told(New(time.Second, time.Duration(every)*time.Second), &s, readings)
		require.Equal(t, 0, places[0])
		for i := 1; i < len(places); i++ {
			last, next := places[i-1], places[i]
			require.Greater(t, next, last, "told once, in order")
			require.LessOrEqual(t, next-last, every)
			for k := last + 1; k < next; k++ {
				require.Equal(t, readings[last], readings[k])
				require.Equal(t, readings[next], readings[k], "the line ends where it was left")
			}
		}
		require.Less(t, len(readings)-1-places[len(places)-1], every)
	}
}

// Things that begin together do not come together.
func TestTurnsAreSpread(t *testing.T) {
	c, all := New(time.Second, 5*time.Second), make([]Steps, 50)
	for i := range all {
		all[i] = Begin(uint64(i))
	}
	for pass := range 100 {
		n := 0
		for i := range all {
			if tell, _ := all[i].Next(c, false); tell {
				n++
			}
		}
		if pass > 1 {
			require.Equal(t, 10, n)
		}
	}
}

func TestQuiet(t *testing.T) {
	var s Steps
	c := New(time.Second, 5*time.Second)
	require.False(t, s.Quiet())
	for range 3 {
		s.Next(c, false)
	}
	require.True(t, s.Quiet())
	s.Next(c, true)
	require.False(t, s.Quiet())
}

func BenchmarkNext(b *testing.B) {
	var s Steps
	c := New(time.Second, 5*time.Second)
	b.ReportAllocs()
	for b.Loop() {
		s.Next(c, false)
	}
}
