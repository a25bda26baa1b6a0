package metricstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// TestClockBackOnAFullDisk sets the clock back when there is no room for a block of
// what was recorded until then: both times are kept, and on disk when there is room.
func TestClockBackOnAFullDisk(t *testing.T) {
	c, d := newClock(), roomyDisk()
	o := options(t, c)
	o.Dir, o.Space = filepath.Join(smallDisk(t), "metrics"), d.Space
	s, _ := open(t, o)
	record(t, s, c, 10*time.Minute)
	before := c.Now()
	ballast := fill(t, filepath.Dir(o.Dir))

	c.set(before.Add(-time.Hour))
	write(t, s, container("a", c.Now()).gauge("load", -1))
	kept := func(newest float64) {
		t.Helper()
		require.Equal(t, 600.0, askOne(t, s, "count_over_time(load_bytes[10m])", before))
		require.Equal(t, newest, askOne(t, s, "load_bytes", c.Now()))
	}
	require.Equal(t, metricstore.MemoryOnly, s.Stats().Mode)
	kept(-1)
	require.ErrorIs(t, s.Maintain(context.Background()), unix.ENOSPC, "it is tried again, as the disk is said to have room")
	kept(-1)
	d.set(0)
	record(t, s, c, time.Minute)
	kept(60)

	require.NoError(t, os.Remove(ballast))
	d.set(50 << 30)
	require.NoError(t, s.Maintain(context.Background()))
	require.Equal(t, metricstore.Normal, s.Stats().Mode)
	record(t, s, c, time.Minute)
	kept(60)
	require.Empty(t, s.Stats().Dropped)
	require.NoError(t, s.Close())
	s, r := open(t, o)
	require.False(t, r.Unclean, "%+v", r)
	kept(60)
	require.Equal(t, 121.0, askOne(t, s, "count_over_time(load_bytes[10m])", c.Now()))
}

// smallDisk mounts a file system of 64 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	testkit.NeedRoot(t)
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// fill leaves no room below dir, and returns the file that took it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	file, err := os.Create(filepath.Join(dir, "ballast"))
	require.NoError(t, err)
	for page := make([]byte, os.Getpagesize()); err == nil; {
		_, err = file.Write(page)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, file.Close())
	return file.Name()
}

// TestClockBackAndNoMark sets the clock back when a block cannot be marked as one of
// the later time. Samples are kept in memory until it can.
func TestClockBackAndNoMark(t *testing.T) {
	c := newClock()
	o := options(t, c)
	s, _ := open(t, o)
	record(t, s, c, 40*time.Minute)
	before := c.Now()
	inTheWay := filepath.Join(oldestBlock(t, o.Dir), "meta.json.new")
	require.NoError(t, os.Mkdir(inTheWay, 0o700))

	c.set(before.Add(-time.Hour))
	for i := range 3 {
		c.set(c.Now().Add(time.Second))
		write(t, s, container("a", c.Now()).gauge("load", float64(-i)))
		require.NoError(t, s.Maintain(context.Background()))
	}
	require.Equal(t, metricstore.MemoryOnly, s.Stats().Mode)
	require.Equal(t, 3.0, askOne(t, s, "count_over_time(load_bytes[10m])", c.Now()))

	require.NoError(t, os.Remove(inTheWay))
	require.NoError(t, s.Maintain(context.Background()))
	require.Equal(t, metricstore.Normal, s.Stats().Mode)
	record(t, s, c, time.Minute)
	require.Equal(t, 63.0, askOne(t, s, "count_over_time(load_bytes[10m])", c.Now()))
	require.Equal(t, 2400.0, askOne(t, s, "count_over_time(load_bytes[40m])", before))
	require.NoError(t, s.Close())
	_, r := open(t, o)
	require.False(t, r.Unclean, "%+v", r)
}

// TestClockBackAndClosed ends a store that could not move to the new time. The next
// run has what was recorded before.
func TestClockBackAndClosed(t *testing.T) {
	c := newClock()
	o := options(t, c)
	s, _ := open(t, o)
	record(t, s, c, 40*time.Minute)
	before := c.Now()
	inTheWay := filepath.Join(oldestBlock(t, o.Dir), "meta.json.new")
	require.NoError(t, os.Mkdir(inTheWay, 0o700))
	c.set(before.Add(-time.Hour))
	write(t, s, container("a", c.Now()).gauge("load", -1))
	require.NoError(t, s.Close())
	require.NoDirExists(t, filepath.Join(o.Dir, "memory"))
	require.NoError(t, s.Maintain(context.Background()), "what is closed stays closed")
	w := s.Write(context.Background(), container("a", c.Now()).gauge("load", -1).md)
	require.Equal(t, map[string]int{metricstore.ReasonClosed: 1}, w.Dropped)

	require.NoError(t, os.Remove(inTheWay))
	s, r := open(t, o)
	require.True(t, r.Unclean)
	record(t, s, c, time.Minute)
	require.Equal(t, 60.0, askOne(t, s, "count_over_time(load_bytes[10m])", c.Now()))
	require.Equal(t, 2400.0, askOne(t, s, "count_over_time(load_bytes[40m])", before))
}

// TestClockBackAndNoLog sets the clock back when the log cannot be closed off. What
// is left of it is moved away, not removed.
func TestClockBackAndNoLog(t *testing.T) {
	c := newClock()
	o := options(t, c)
	s, _ := open(t, o)
	record(t, s, c, 10*time.Minute)
	before := c.Now()
	require.NoError(t, os.RemoveAll(filepath.Join(o.Dir, "db", "wal")))

	c.set(before.Add(-time.Hour))
	record(t, s, c, time.Minute)
	require.Equal(t, metricstore.Normal, s.Stats().Mode)
	require.DirExists(t, filepath.Join(o.Dir, "corrupt", "chunks_head"))
	require.Equal(t, 60.0, askOne(t, s, "count_over_time(load_bytes[10m])", c.Now()))
}

// brokenEnv names the folder of the store that a child process of the test breaks: what
// then cannot be closed would be found open after all tests.
const brokenEnv = "METRICSTORE_TEST_BROKEN"

// TestClockBackAndDamage sets the clock back when what was recorded before cannot be
// read, at which the TSDB panics. The store keeps to memory until the next run, and
// that one has what the log has.
func TestClockBackAndDamage(t *testing.T) {
	c := newClock()
	o := options(t, c)
	if dir := os.Getenv(brokenEnv); dir != "" {
		o.Dir = dir
		moveAndDamage(t, o, c)
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), brokenEnv+"="+o.Dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	before := began().Add(20 * time.Minute)
	c.set(before.Add(-time.Hour))
	s, r := open(t, o)
	require.True(t, r.Unclean)
	write(t, s, container("a", c.Now()).gauge("load", -1))
	require.Equal(t, 1200.0, askOne(t, s, "count_over_time(load_bytes[20m])", before), "%+v", r)
}

func moveAndDamage(t *testing.T, o metricstore.Options, c *clock) {
	t.Helper()
	o.SeriesPerContainer = 2
	s, _ := open(t, o)
	record(t, s, c, 20*time.Minute)
	require.NoError(t, s.Close()) // chunks are gathered in memory before they are written
	s, _ = open(t, o)
	damageHead(t, o.Dir)

	for range 2 { // also when it goes back once more
		c.set(c.Now().Add(-time.Hour))
		record(t, s, c, time.Minute)
		require.Equal(t, metricstore.MemoryOnly, s.Stats().Mode)
		require.Equal(t, 60.0, askOne(t, s, "count_over_time(load_bytes[10m])", c.Now()))
	}
	flood := func() metricstore.Written {
		return s.Write(context.Background(), container("a", c.Now()).gauge("new", 1).gauge("newer", 1).md)
	}
	require.Equal(t, map[string]int{metricstore.ReasonSeriesLimit: 2}, flood().Dropped)
	silent(t, s, c)
	require.Equal(t, metricstore.Written{Samples: 2}, flood(), "silent series are forgotten")
}

// silent lets the time pass after which silent series are forgotten.
func silent(t *testing.T, s *metricstore.Store, c *clock) {
	t.Helper()
	for range 21 {
		c.set(c.Now().Add(time.Minute))
		require.NoError(t, s.Maintain(context.Background()))
	}
}

// TestClockBackInMemory sets the clock back while the disk is full: samples are still
// kept in memory, and all go to disk when there is room.
func TestClockBackInMemory(t *testing.T) {
	c, d := newClock(), roomyDisk()
	o := options(t, c)
	o.Space = d.Space
	s, _ := open(t, o)
	record(t, s, c, 10*time.Minute)
	before := c.Now()
	d.set(0)
	require.NoError(t, s.Maintain(context.Background()))
	record(t, s, c, time.Minute)
	c.set(before.Add(-time.Hour))
	record(t, s, c, time.Minute)
	require.Equal(t, metricstore.MemoryOnly, s.Stats().Mode)
	d.set(50 << 30)
	require.NoError(t, s.Maintain(context.Background()))
	require.Equal(t, metricstore.Normal, s.Stats().Mode)
	require.Equal(t, 60.0, askOne(t, s, "count_over_time(load_bytes[10m])", c.Now()))
	require.Equal(t, 600.0, askOne(t, s, "count_over_time(load_bytes[10m])", before))
	require.Empty(t, s.Stats().Dropped)
}

// TestClockForthAndBack sets the clock ahead by a day for one second. The past of
// blocks stays as long as it would have.
func TestClockForthAndBack(t *testing.T) {
	c := newClock()
	s, _ := open(t, shortBlocks(t, c))
	record(t, s, c, 20*time.Minute)
	before := c.Now()
	c.set(before.Add(24 * time.Hour))
	write(t, s, container("a", c.Now()).gauge("load", -1))
	c.set(before)
	record(t, s, c, 2*time.Minute)
	if got := askOne(t, s, "count_over_time(load_bytes[7m])", before); got != 420 {
		t.Errorf("%v of 420 samples are left of the 7 minutes before", got)
	}
}

// shortBlocks are options of a store that keeps ten minutes in blocks of one.
func shortBlocks(t *testing.T, c *clock) metricstore.Options {
	t.Helper()
	o := options(t, c)
	o.Block, o.Retention = time.Minute, 10*time.Minute
	return o
}

// TestEndInTheFuture ends a container at times that the clock does not have yet: the
// end is now, and costs nothing of the past.
func TestEndInTheFuture(t *testing.T) {
	for _, ahead := range []time.Duration{5 * time.Minute, 24 * time.Hour} {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			c := newClock()
			s, _ := open(t, shortBlocks(t, c))
			record(t, s, c, 20*time.Minute)
			before := c.Now()
			s.End(context.Background(), "a", before.Add(ahead))
			if newest := s.Stats().Newest; newest.After(before.Add(time.Second)) {
				t.Errorf("the newest sample is of %v after now", newest.Sub(before))
			}
			c.set(before.Add(time.Second))
			write(t, s, container("b", c.Now()).gauge("load", 1))
			require.NoError(t, s.Maintain(context.Background()))
			if got := askOne(t, s, `count_over_time(load_bytes{container_id="a"}[9m])`, before); got != 540 {
				t.Errorf("%v of 540 samples are left of the 9 minutes before", got)
			}
			require.Equal(t, 1.0, askOne(t, s, "load_bytes", c.Now()), "a has ended")
		})
	}
}

// damageHead damages a chunk that is in no block yet.
func damageHead(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "db", "chunks_head", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	file, err := os.OpenFile(files[len(files)-1], os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte("damage"), 60) // in the first chunk
	require.NoError(t, errors.Join(err, file.Close()))
}
