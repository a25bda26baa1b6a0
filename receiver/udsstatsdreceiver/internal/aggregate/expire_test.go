package aggregate_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
)

// model is what a cumulative table should know of one counter.
type model struct {
	sum  float64
	last time.Time
}

// Contexts come and go for hours. Each sum is that of a map which forgets what
// was unseen for five minutes, and memory follows what is alive.
func TestChurnAgainstAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	r := newRig(t, aggregate.Settings{Cumulative: true})
	known := map[string]model{}
	highest := 0
	for round := range 400 {
		touched := map[string]bool{}
		for range 200 {
			// The window of names moves on; some names come back much later.
			n := round*20 + random.IntN(400)
			if random.IntN(20) == 0 {
				n = random.IntN(2000)
			}
			origin := aggregate.Origin(1 + n%11)
			tags := fmt.Sprintf("n:%d,text:%s", n, strings.Repeat("x", n%90))
			if random.IntN(2) == 0 {
				tags = fmt.Sprintf("text:%s,n:%d", strings.Repeat("x", n%90), n)
			}
			id := fmt.Sprintf("%d m|c n=%d text=%s", origin, n, strings.Repeat("x", n%90))
			m := known[id]
			if r.now.Sub(m.last) > 5*time.Minute {
				m.sum = 0
			}
			m.sum++
			m.last = r.now
			known[id] = m
			touched[id] = true
			r.add(origin, fmt.Sprintf("m:1|c|#%s", tags))
		}
		want := map[string]float64{}
		for id := range touched {
			want[id] = known[id].sum
		}
		require.Equal(t, want, values(r.flush()))
		r.now = r.now.Add(time.Duration(random.IntN(25)) * time.Second)
		if round == 200 {
			highest = r.table.Bytes()
		}
	}
	require.LessOrEqual(t, r.table.Bytes(), 2*highest, "places and text are used again")
	require.Less(t, r.table.Texts(), 20)
	r.now = r.now.Add(time.Hour)
	r.flush()
	require.Zero(t, r.table.Len())
	require.Zero(t, r.table.Keys())
	require.Zero(t, r.table.Owners())
	require.Equal(t, 1, r.table.Texts(), "the one that is written")
}

// Bodies are given back: histograms, sets and late points do not add up.
func TestBodiesAreGivenBack(t *testing.T) {
	r := newRig(t, aggregate.Settings{Cumulative: true})
	once := 0
	for round := range 20 {
		for i := range 300 {
			r.add(1, fmt.Sprintf("h%d.%d:%d|h", round, i, i), fmt.Sprintf("h%d.%d:-1e9|h", round, i),
				fmt.Sprintf("s%d.%d:a|s", round, i), fmt.Sprintf("g%d.%d:1|g|T%d", round, i, r.now.Unix()))
		}
		r.flush()
		r.now = r.now.Add(time.Hour)
		r.flush()
		if round == 0 {
			once = r.table.Bytes()
		}
	}
	require.LessOrEqual(t, r.table.Bytes(), once+256<<10)
}
