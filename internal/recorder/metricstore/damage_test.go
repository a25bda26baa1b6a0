package metricstore_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// recorded is a closed store with an hour of one sample per second: three
// blocks and a log.
func recorded(t *testing.T) (metricstore.Options, *clock) {
	t.Helper()
	c := newClock()
	o := options(t, c)
	s, _ := open(t, o)
	record(t, s, c, time.Hour)
	require.GreaterOrEqual(t, s.Stats().Blocks, 2)
	require.NoError(t, s.Close())
	return o, c
}

func TestCorruptBlock(t *testing.T) {
	for _, part := range []string{"meta.json", "index"} {
		t.Run(part, func(t *testing.T) {
			o, c := recorded(t)
			block := oldestBlock(t, o.Dir)
			require.NoError(t, os.WriteFile(filepath.Join(block, part), []byte("not what it should be"), 0o600))

			s, r := open(t, o)
			require.Len(t, r.Moved, 1)
			require.Len(t, r.Reasons, 1)
			require.NotEmpty(t, r.Text())
			require.DirExists(t, r.Moved[0])
			require.NoDirExists(t, block)
			if got := askOne(t, s, "load_bytes", c.Now()); got != 3600 {
				t.Errorf("newest value is %v", got)
			}
			record(t, s, c, time.Minute)
			if got := askOne(t, s, "count_over_time(load_bytes[90s])", c.Now()); got != 90 {
				t.Errorf("%v samples in the last 90 s", got)
			}
		})
	}
}

// TestCorruptChunk damages samples of a block that opens well. The first query
// that meets them says so; then what is whole is answered again.
func TestCorruptChunk(t *testing.T) {
	o, c := recorded(t)
	block := oldestBlock(t, o.Dir)
	flip(t, filepath.Join(block, "chunks", "000001"), 40) // in the first chunk, after the header
	s, r := open(t, o)
	require.Empty(t, r.Moved)

	both := `count_over_time({__name__=~"load_bytes|other_bytes"}[1h])`
	_, err := s.Instant(context.Background(), both, c.Now())
	require.ErrorIs(t, err, metricstore.ErrDamaged)
	require.NoError(t, s.Maintain(context.Background()))
	require.NoDirExists(t, block)

	result, err := s.Instant(context.Background(), `count_over_time(other_bytes[1h])`, c.Now())
	require.NoError(t, err)
	vector, err := result.Vector()
	require.NoError(t, err)
	require.Len(t, vector, 1)
	whole := vector[0].F
	damaged := askOne(t, s, `count_over_time(load_bytes[1h])`, c.Now())
	if damaged >= 3600 || damaged < 1800 || whole != 3600 {
		t.Errorf("%v samples of the damaged series and %v of the other, of 3600", damaged, whole)
	}
}

// TestCorruptLog damages the log in the middle: what was before it is there, the
// rest is told, and the store goes on.
func TestCorruptLog(t *testing.T) {
	c := newClock()
	o := options(t, c)
	s, _ := open(t, o)
	record(t, s, c, 10*time.Minute)
	require.NoError(t, s.Close())
	segment := filepath.Join(o.Dir, "db", "wal", "00000000")
	info, err := os.Stat(segment)
	require.NoError(t, err)
	flip(t, segment, info.Size()/2)

	s, r := open(t, o)
	if r.LogLost == 0 || r.Text() == "" {
		t.Errorf("nothing is told of the damage: %+v", r)
	}
	if !r.Last.After(began()) || !r.Last.Before(c.Now()) {
		t.Errorf("last sample is of %v, not between %v and %v", r.Last, began(), c.Now())
	}
	record(t, s, c, time.Minute)
	if got := askOne(t, s, "count_over_time(load_bytes[1m])", c.Now()); got != 60 {
		t.Errorf("%v samples in the minute after", got)
	}
}

// TestHopelessLog damages the log so that it cannot be opened at all.
func TestHopelessLog(t *testing.T) {
	o, c := recorded(t)
	wal := filepath.Join(o.Dir, "db", "wal")
	require.NoError(t, os.RemoveAll(wal))
	require.NoError(t, os.WriteFile(wal, []byte("a file where a folder should be"), 0o600))
	s, r := open(t, o)
	require.NotEmpty(t, r.Moved)
	if got := askOne(t, s, "count_over_time(load_bytes[1h])", c.Now()); math.IsNaN(got) || got < 1800 {
		t.Errorf("%v samples left in blocks", got)
	}
	record(t, s, c, time.Minute)
}

func oldestBlock(t *testing.T, dir string) string {
	t.Helper()
	metas, err := filepath.Glob(filepath.Join(dir, "db", "*", "meta.json"))
	require.NoError(t, err)
	require.NotEmpty(t, metas)
	return filepath.Dir(metas[0]) // names sort by creation
}

func flip(t *testing.T, name string, offset int64) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Greater(t, int64(len(text)), offset)
	text[offset] ^= 0xff
	require.NoError(t, os.WriteFile(name, text, 0o600))
}
