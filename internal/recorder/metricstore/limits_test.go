package metricstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// TestQueryTooLarge asks for 7.2 million values at once.
func TestQueryTooLarge(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	record(t, s, c, time.Minute)
	_, err := s.Instant(context.Background(), "max_over_time(vector(1)[2h:1ms])", c.Now())
	require.ErrorIs(t, err, metricstore.ErrTooLarge)
	require.ErrorContains(t, err, "more than 5000000 samples at once (ask for a shorter time")
}

// TestQueryNeeds measures what the largest query of the pages holds in memory: the
// rate of one counter of 200 containers over six hours, in steps of 15 seconds.
func TestQueryNeeds(t *testing.T) {
	const containers, hours, every = 200, 6, 5 // seconds; with a sample each second it is 48 more
	c := newClock()
	s, _ := open(t, options(t, c))
	for second := 0; second <= hours*3600; second += every {
		c.set(began().Add(time.Duration(second) * time.Second))
		b := container("0", c.Now())
		for n := range containers {
			if n > 0 {
				b.next(fmt.Sprint(n))
			}
			b.gauge("busy", float64(second))
		}
		write(t, s, b)
	}
	q, err := s.Engine().NewRangeQuery(context.Background(), s.Queryable(), nil,
		"sum by (container_id) (rate(busy_bytes[1m]))", began(), c.Now(), 15*time.Second)
	require.NoError(t, err)
	defer q.Close()
	result := q.Exec(context.Background())
	require.NoError(t, result.Err)
	matrix, err := result.Matrix()
	require.NoError(t, err)
	require.Len(t, matrix, containers)
	peak := q.Stats().Samples.PeakSamples
	if peak < 250_000 || peak > 300_000 {
		t.Errorf("a query of a page holds %d samples, not the 288,012 that the bound was set with", peak)
	}
}
