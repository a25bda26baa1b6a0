package metricstore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// childEnv names the folder of the store that a child process of the test fills.
const childEnv = "METRICSTORE_TEST_CHILD"

// child writes 400 series as fast as it can, a second apart by its own clock,
// and prints the second of each batch that Write has returned from.
func child(dir string) int {
	c := newClock()
	s, _, err := metricstore.Open(metricstore.Options{Dir: dir, Now: c.Now, Every: 50 * time.Millisecond, Space: roomyDisk().Space})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for i := 1; ; i++ {
		c.set(began().Add(time.Duration(i) * time.Second))
		b := container("0", c.Now())
		for n := range 400 {
			b.gauge(fmt.Sprintf("load.%d", n), float64(i))
		}
		if w := s.Write(context.Background(), b.md); w.Samples != 400 {
			fmt.Fprintln(os.Stderr, w)
			return 1
		}
		fmt.Println(i)
	}
}

// TestKilled kills a process in the middle of writing. Every batch that it was
// told is written must be there, head and blocks alike.
func TestKilled(t *testing.T) {
	const enough = 3000 // seconds: two blocks were cut, the head is half full
	dir := filepath.Join(t.TempDir(), "metrics")
	last := fillAndKill(t, dir, enough)

	c := newClock()
	c.set(began().Add(time.Duration(last) * time.Second))
	o := options(t, c)
	o.Dir = dir
	s, r := open(t, o)
	t.Logf("killed after %d s: %+v", last, r)
	if !r.Unclean || r.Text() == "" {
		t.Errorf("an unclean end was not told: %+v", r)
	}
	if r.Took > 5*time.Second {
		t.Errorf("opened in %v", r.Took)
	}
	if r.Last.Before(c.Now()) {
		t.Errorf("last sample is of %v, the one written last of %v", r.Last, c.Now())
	}
	for _, name := range []string{"load_0_bytes", "load_399_bytes"} {
		expr := fmt.Sprintf("count_over_time(%s[%ds])", name, last)
		if got := askOne(t, s, expr, c.Now()); got != float64(last) {
			t.Errorf("%s is %v after %d written", expr, got, last)
		}
	}
}

// fillAndKill returns the last second that the child said was written.
func fillAndKill(t *testing.T, dir string, enough int) int {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	last := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		require.NoError(t, err)
		if last = n; n == enough {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "the child ended by itself")
	require.GreaterOrEqual(t, last, enough)
	return last
}

func TestCleanEnd(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	c := newClock()
	o := options(t, c)
	s, _ := open(t, o)
	record(t, s, c, time.Minute)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	if w := s.Write(context.Background(), container("a", c.Now()).gauge("load", 1).md); w.Dropped[metricstore.ReasonClosed] != 1 {
		t.Errorf("write after close: %+v", w)
	}
	if _, err := s.Instant(context.Background(), "load_bytes", c.Now()); err == nil {
		t.Error("a closed store answers")
	}
	_, r := open(t, o)
	if r.Unclean || r.Text() != "" || !r.Last.Equal(c.Now()) {
		t.Errorf("after a clean end: %+v", r)
	}
}

func TestOpenTwice(t *testing.T) {
	c := newClock()
	o := options(t, c)
	s, _ := open(t, o)
	record(t, s, c, time.Minute)
	if _, _, err := metricstore.Open(o); err == nil {
		t.Fatal("two stores are open in one folder")
	}
	if got := askOne(t, s, "load_bytes", c.Now()); got != 60 {
		t.Errorf("after the refused second open: %v", got)
	}
}
