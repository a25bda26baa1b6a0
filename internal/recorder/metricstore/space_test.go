package metricstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// TestDiskFull takes the free space away while recording and gives it back. All
// samples of the last two minutes are answered at every moment.
func TestDiskFull(t *testing.T) {
	c, d := newClock(), roomyDisk()
	o := options(t, c)
	o.Space = d.Space
	s, _ := open(t, o)
	record(t, s, c, 30*time.Minute)
	before := s.Stats()
	require.Equal(t, metricstore.Normal, before.Mode)

	d.set(100 << 20)
	require.NoError(t, s.Maintain(context.Background()))
	require.Equal(t, metricstore.MemoryOnly, s.Stats().Mode)
	logged := s.Stats().Bytes.Log
	record(t, s, c, 5*time.Minute)
	require.Equal(t, metricstore.MemoryOnly, s.Stats().Mode)
	if got := s.Stats().Bytes.Log; got != logged {
		t.Errorf("the log grew from %d to %d bytes on a full disk", logged, got)
	}
	if got := askOne(t, s, "count_over_time(load_bytes[2m])", c.Now()); got != 120 {
		t.Errorf("%v samples of the last 2 minutes", got)
	}
	if got := askOne(t, s, "count_over_time(load_bytes[35m])", c.Now()); got < 120+15*60 {
		t.Errorf("%v samples: what is on disk is not answered", got)
	}

	d.set(50 << 30)
	require.NoError(t, s.Maintain(context.Background()))
	require.Equal(t, metricstore.Normal, s.Stats().Mode)
	if got := askOne(t, s, "count_over_time(load_bytes[2m])", c.Now()); got != 120 {
		t.Errorf("%v samples of the last 2 minutes after the return", got)
	}
	record(t, s, c, time.Minute)
	require.NoError(t, s.Close())
	_, r := open(t, o)
	if !r.Last.Equal(c.Now()) {
		t.Errorf("last sample on disk is of %v, want %v", r.Last, c.Now())
	}
}

// TestFullForgets: series that are silent are forgotten, also while the disk is full.
func TestFullForgets(t *testing.T) {
	c, d := newClock(), roomyDisk()
	o := options(t, c)
	o.Space, o.SeriesPerContainer = d.Space, 1
	s, _ := open(t, o)
	d.set(0)
	require.NoError(t, s.Maintain(context.Background()))
	write(t, s, container("a", c.Now()).gauge("load", 1))
	full := s.Write(context.Background(), container("a", c.Now()).gauge("other", 1).md)
	require.Equal(t, map[string]int{metricstore.ReasonSeriesLimit: 1}, full.Dropped)
	silent(t, s, c)
	require.Equal(t, metricstore.MemoryOnly, s.Stats().Mode)
	write(t, s, container("a", c.Now()).gauge("other", 1))
}

// TestRefusedByDisk: what was kept in memory and is refused by the disk is counted.
func TestRefusedByDisk(t *testing.T) {
	c, d := newClock(), roomyDisk()
	o := options(t, c)
	o.Space = d.Space
	s, _ := open(t, o)
	record(t, s, c, time.Minute)
	d.set(0)
	require.NoError(t, s.Maintain(context.Background()))
	write(t, s, container("a", c.Now()).gauge("load", -1)) // there is another value of that time
	c.set(c.Now().Add(time.Second))
	write(t, s, container("a", c.Now()).gauge("load", 61))
	require.Empty(t, s.Stats().Dropped)
	d.set(50 << 30)
	require.NoError(t, s.Maintain(context.Background()))
	require.Equal(t, map[string]uint64{metricstore.ReasonDuplicate: 1}, s.Stats().Dropped)
	require.Equal(t, 61.0, askOne(t, s, "load_bytes", c.Now()))
	require.Equal(t, 60.0, askOne(t, s, "load_bytes", c.Now().Add(-time.Second)))
}

// TestFullAtClose ends a store while it keeps to memory.
func TestFullAtClose(t *testing.T) {
	c, d := newClock(), roomyDisk()
	o := options(t, c)
	o.Space = d.Space
	s, _ := open(t, o)
	record(t, s, c, time.Minute)
	d.set(0)
	require.NoError(t, s.Maintain(context.Background()))
	record(t, s, c, time.Minute)
	require.NoError(t, s.Close())
	d.set(50 << 30)
	s, _ = open(t, o)
	if got := askOne(t, s, "count_over_time(load_bytes[2m])", c.Now()); got != 120 {
		t.Errorf("%v samples, want 120", got)
	}
}

// TestFloor lets the disk run low: the oldest block goes, one for each look.
func TestFloor(t *testing.T) {
	c, d := newClock(), roomyDisk()
	o := options(t, c)
	o.Space = d.Space
	s, _ := open(t, o)
	record(t, s, c, 2*time.Hour)
	before := s.Stats()
	d.set(900 << 20)
	require.NoError(t, s.Maintain(context.Background()))
	after := s.Stats()
	if after.Blocks != before.Blocks-1 || !after.Oldest.After(before.Oldest) || after.Mode != metricstore.Normal {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
}

// TestDiskRules shows what the rules mean for disks of all sizes.
func TestDiskRules(t *testing.T) {
	const mega, giga = uint64(1 << 20), uint64(1 << 30)
	for _, test := range []struct {
		name        string
		free, total uint64
		mode        metricstore.Mode
		loses       bool // the oldest block
	}{
		{"2 TB, 96 % full", 80 * giga, 2000 * giga, metricstore.Normal, false},
		{"2 TB, 99.9 % full", 2 * giga, 2000 * giga, metricstore.Normal, false},
		{"2 TB, below the floor", 1000 * mega, 2000 * giga, metricstore.Normal, true},
		{"2 TB, full", 400 * mega, 2000 * giga, metricstore.MemoryOnly, true},
		{"8 GB, 6 % free", 490 * mega, 8 * giga, metricstore.Normal, false},
		{"8 GB, 4 % free", 327 * mega, 8 * giga, metricstore.Normal, true},
		{"8 GB, full", 160 * mega, 8 * giga, metricstore.MemoryOnly, true},
		{"a file system that does not tell its size", 0, 0, metricstore.Normal, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, d := newClock(), roomyDisk()
			o := options(t, c)
			o.Block = time.Minute
			o.Space = d.Space
			s, _ := open(t, o)
			record(t, s, c, 6*time.Minute)
			before := s.Stats()
			require.GreaterOrEqual(t, before.Blocks, 3)
			d.free, d.total = test.free, test.total
			require.NoError(t, s.Maintain(context.Background()))
			after := s.Stats()
			if after.Mode != test.mode || after.Oldest.After(before.Oldest) != test.loses || before.Blocks-after.Blocks > 1 {
				t.Errorf("mode %s, %d of %d blocks are left, from %v on", after.Mode, after.Blocks, before.Blocks, after.Oldest.Sub(began()))
			}
		})
	}
}

func TestBudgetTooSmall(t *testing.T) {
	c := newClock()
	o := options(t, c)
	o.MaxBytes = 1 << 20
	_, _, err := metricstore.Open(o)
	require.ErrorIs(t, err, metricstore.ErrBudget)
	require.ErrorContains(t, err, "raise the budget")

	// 20 series at 1 s are 20 samples/s: 20 minutes of them are 535 kB.
	o.MaxBytes = 0
	s, _ := open(t, o)
	many(t, s, c, 40*time.Minute)
	require.NoError(t, s.Close())
	o.MaxBytes = 400_000
	_, _, err = metricstore.Open(o)
	require.ErrorIs(t, err, metricstore.ErrBudget)
	o.MaxBytes = 600_000
	open(t, o)
}

// TestBudgetAndShortBlock begins to record a moment before a block ends: that one has
// many samples for its length, which says nothing of the rate.
func TestBudgetAndShortBlock(t *testing.T) {
	c := newClock()
	c.set(began().Add(-10 * time.Millisecond))
	o := options(t, c)
	o.MaxBytes = 2 * leastBudget
	s, _ := open(t, o)
	b := container("a", c.Now())
	for n := range 100 {
		b.gauge("first", 1, "n", fmt.Sprint(n))
	}
	write(t, s, b)
	c.set(began())
	record(t, s, c, 22*time.Minute)
	for s.Stats().Blocks == 0 {
		require.Less(t, c.Now().Sub(began()), time.Hour)
		record(t, s, c, time.Second)
		require.NoError(t, s.Maintain(context.Background()))
	}
	require.NoError(t, s.Close())
	block := metaOf(t, oldestBlock(t, o.Dir))
	require.EqualValues(t, 10, block.MaxTime-block.MinTime)
	require.EqualValues(t, 100, block.Stats.NumSamples)
	open(t, o)
}

// TestBudgetAndLaterBlock: the rate is that of the newest block of this clock's time,
// and one of a later time where there is no other.
func TestBudgetAndLaterBlock(t *testing.T) {
	c := newClock()
	o := options(t, c)
	s, _ := open(t, o)
	many(t, s, c, 40*time.Minute) // 20 samples/s, which need 535 kB
	c.set(began().Add(-time.Hour))
	record(t, s, c, 40*time.Minute) // 2 samples/s, which need 54 kB
	require.NoError(t, s.Close())
	reopen := func(budget int64) error {
		again := o // a small budget deletes blocks
		again.Dir, again.MaxBytes = filepath.Join(t.TempDir(), "metrics"), budget
		require.NoError(t, os.CopyFS(again.Dir, os.DirFS(o.Dir)))
		s, _, err := metricstore.Open(again)
		if err == nil {
			require.NoError(t, s.Close())
		}
		return err
	}
	require.ErrorIs(t, reopen(40_000), metricstore.ErrBudget)
	require.NoError(t, reopen(200_000))
	c.set(began().Add(-24 * time.Hour))
	require.ErrorIs(t, reopen(400_000), metricstore.ErrBudget)
	require.NoError(t, reopen(600_000))
}

func many(t *testing.T, s *metricstore.Store, c *clock, length time.Duration) {
	t.Helper()
	start := c.Now()
	for i := 1; i <= int(length/time.Second); i++ {
		c.set(start.Add(time.Duration(i) * time.Second))
		b := container("a", c.Now())
		for n := range 20 {
			b.gauge("load", float64(i*n), "n", string(rune('a'+n)))
		}
		write(t, s, b)
		if i%60 == 0 {
			require.NoError(t, s.Maintain(context.Background()))
		}
	}
}

// TestBudget records more than the budget holds. What is on disk stays within
// it, but for the block that is just being cut.
func TestBudget(t *testing.T) {
	c := newClock()
	o := options(t, c)
	o.Block = time.Minute
	o.MaxBytes = leastBudget
	s, _ := open(t, o)
	record(t, s, c, 30*time.Minute)
	if st := s.Stats(); st.OverBudget || st.Blocks < 20 {
		t.Fatalf("a budget that is not used up: %+v", st)
	}
	require.NoError(t, s.Close())
	all := int64(0)
	o.MaxBytes = 0
	s, _ = open(t, o)
	st := s.Stats()
	all = st.Bytes.Blocks + st.Bytes.Log + st.Bytes.Head
	require.NoError(t, s.Close())

	o.MaxBytes = all - st.Bytes.Blocks/2
	s, _ = open(t, o)
	if st := s.Stats(); st.Bytes.Blocks+st.Bytes.Log+st.Bytes.Head > o.MaxBytes || st.Blocks < 5 {
		t.Errorf("with %d of %d bytes: %+v", o.MaxBytes, all, st)
	}
	if got := askOne(t, s, "load_bytes", c.Now()); got != 1800 {
		t.Errorf("newest value is %v: not the oldest went", got)
	}
}

// leastBudget is what a store without old data asks for at least.
const leastBudget = 32 << 20

// TestRetention keeps an hour in blocks, and a pinned window beyond it.
func TestRetention(t *testing.T) {
	c := newClock()
	o := options(t, c)
	o.Retention = time.Hour
	s, _ := open(t, o)
	pinned := metricstore.Window{From: began().Add(16 * time.Minute), To: began().Add(20 * time.Minute)}
	release := s.Pin(pinned.From, pinned.To)
	record(t, s, c, 3*time.Hour)
	count := func(at time.Time) float64 { return askOne(t, s, "count_over_time(load_bytes[4m])", at) }
	if got := count(pinned.To); got != 240 {
		t.Errorf("%v samples of the pinned window, want 240", got)
	}
	if got := ask(t, s, "load_bytes", began().Add(40*time.Minute)); len(got) != 0 {
		t.Errorf("beyond the retention: %v", got)
	}
	if got := count(c.Now().Add(-time.Hour)); got != 240 {
		t.Errorf("%v samples an hour ago, want 240", got)
	}
	release()
	release()
	require.NoError(t, s.Maintain(context.Background()))
	if got := ask(t, s, "load_bytes", pinned.To); len(got) != 0 {
		t.Errorf("after release: %v", got)
	}
}

func TestFolderOfTheStore(t *testing.T) {
	o := options(t, newClock())
	open(t, o)
	info, err := os.Stat(o.Dir)
	require.NoError(t, err)
	if mode := info.Mode().Perm(); mode != 0o700 {
		t.Errorf("the folder has mode %v: what is recorded may be secret", mode)
	}
	if _, _, err := metricstore.Open(metricstore.Options{}); err == nil {
		t.Error("a store without a folder opens")
	}
}

// TestBlocksOnASmallDisk: a block takes the room that it needs, not more.
func TestBlocksOnASmallDisk(t *testing.T) {
	c := newClock()
	o := options(t, c)
	o.Dir = filepath.Join(smallDisk(t), "metrics")
	s, _ := open(t, o)
	record(t, s, c, 25*time.Minute)
	require.Equal(t, 1, s.Stats().Blocks)
	_, err := s.Cut(context.Background(), metricstore.Window{From: began(), To: c.Now()}, nil, filepath.Dir(o.Dir))
	require.NoError(t, err)
}
