package capture_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/internal/recorder/capture"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/report"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// Whatever the engine is busy with, a picture is taken at once.
func TestPicturesWaitForNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.metrics.pinGate = make(chan struct{})
		r.tell("container.oom_kill", workerID, nil)
		require.Empty(t, r.engine.Unfinished(), "the journal waits")
		r.tell("container.oom_kill", apiID, nil)
		require.Len(t, r.camera.requests(), 2)
		require.Equal(t, apiID, r.camera.requests()[1].Container)
		close(r.metrics.pinGate)
		r.pass(time.Second)
		require.Len(t, r.engine.Unfinished(), 1)
		require.Len(t, r.engine.Unfinished()[0].Triggers, 2)
	})
}

// A container near its limit is often killed a moment later: that is another
// picture.
func TestAPictureForEachKind(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		for range 3 {
			r.use(workerID, 0.99)
		}
		r.pass(time.Second)
		r.tell("container.oom_kill", workerID, nil)
		require.Len(t, r.camera.requests(), 2)
		require.False(t, r.camera.requests()[1].KernelFrom.IsZero())
		r.tell("container.oom_kill", workerID, nil)
		require.Len(t, r.camera.requests(), 2, "of that moment there is one")
	})
}

// A picture that a trigger without a capture has paid for is there for the next.
func TestPictureOfAQuietTrigger(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		r.pass(10*time.Minute - 5*time.Second)
		require.Len(t, r.done, 1)
		r.tell("container.oom_kill", workerID, nil)
		require.Equal(t, uint64(1), r.engine.Stats().Quiet)
		r.pass(6 * time.Second)
		r.tell("container.oom_kill", workerID, nil)
		require.Len(t, r.camera.of(workerID), 2)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 2)
		reader, err := bundle.Open(r.done[1].Path)
		require.NoError(t, err)
		require.True(t, reader.Has("state/cgroup/"+workerID+"/memory.events"))
		require.NoError(t, reader.Close())
	})
}

// The clock of the host goes forth: what is open is cut, and later triggers open
// captures of the new time.
func TestClockGoesForth(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		r.ahead.Store(int64(24 * time.Hour))
		r.pass(15 * time.Second)
		require.Len(t, r.done, 1, "its window is over")
		r.tell("container.oom_kill", apiID, nil) // the event's own time is of the old clock
		u := r.engine.Unfinished()
		require.Len(t, u, 1)
		require.WithinDuration(t, time.Now().Add(24*time.Hour), u[0].Triggers[0].At, time.Second)
	})
}

// It goes back: nothing is held for hours, and nobody is silenced.
func TestClockGoesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		r.ahead.Store(-int64(5 * time.Hour))
		r.pass(15 * time.Second)
		require.Len(t, r.done, 1, "its window is farther away than any is long")
		r.tell("container.oom_kill", workerID, nil)
		require.Len(t, r.engine.Unfinished(), 1, "five hours apart")
		require.Len(t, r.camera.of(workerID), 2)
		require.Zero(t, r.engine.Stats().Quiet)

		// A signal of the old time is no excuse for an end of now.
		r.tell("container.kill", apiID, nil)
		r.ahead.Store(-int64(10 * time.Hour))
		r.tell("container.die", apiID, map[string]any{"container.exit_code": 137})
		require.Equal(t, string(capture.Exit), r.engine.Unfinished()[0].Triggers[0].Kind)
	})
}

// A journal that cannot be begun costs that capture, is told, and silences nobody.
func TestJournalThatCannotBeBegun(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		open := filepath.Join(r.dir, "open")
		require.NoError(t, os.Remove(open))
		r.tell("container.oom_kill", workerID, nil)
		require.Len(t, r.failed, 1)
		require.ErrorContains(t, r.failed[0].Err, "open capture 20000101T000000.000Z-oom-worker")
		require.Empty(t, r.metrics.windows(), "let go")
		require.Empty(t, r.engine.Unfinished())
		require.NoError(t, os.Mkdir(open, 0o700))
		r.tell("container.oom_kill", workerID, nil)
		require.Len(t, r.engine.Unfinished(), 1)
	})
}

// greedy is a store that wants more than the disk has.
type greedy struct{ store }

// Cut implements [capture.Store].
func (g *greedy) Cut(_ context.Context, r capture.CutRequest) (capture.CutResult, error) {
	err := os.WriteFile(filepath.Join(r.Dir, "block"), make([]byte, 4<<20), 0o600)
	return capture.CutResult{}, err
}

// smallDisk mounts a file system of one MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	testkit.NeedRoot(t)
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// The disk is too small for the metrics: the rest of the capture is made, and it
// says what is missing.
func TestDiskTooSmallForTheMetrics(t *testing.T) {
	dir := smallDisk(t)
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Dir, r.options.Metrics = dir, &greedy{}
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		r.pass(3 * time.Minute)
		require.Empty(t, r.failed)
		require.Len(t, r.done, 1)
		m := r.done[0].Manifest
		require.Len(t, m.Missing, 2)
		require.Equal(t, "metrics", m.Missing[0].What)
		require.Contains(t, m.Missing[0].Why, "no space left on device")
		reader, err := bundle.Open(r.done[0].Path)
		require.NoError(t, err)
		require.NoError(t, reader.Verify())
		require.NoError(t, reader.Close())
	})
}

// The disk is full: that is told, the engine goes on, and the capture is made
// when there is room.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t)
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Dir = dir
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		filler := filepath.Join(dir, "filler")
		err := os.WriteFile(filler, make([]byte, 4<<20), 0o600)
		require.ErrorIs(t, err, unix.ENOSPC)
		r.pass(2*time.Minute + time.Second)
		require.Empty(t, r.done)
		require.Len(t, r.failed, 1)
		require.ErrorIs(t, r.failed[0].Err, unix.ENOSPC)
		r.tell("container.oom_kill", apiID, nil)
		require.Len(t, r.failed, 2, "not even a journal")
		require.ErrorIs(t, r.failed[1].Err, unix.ENOSPC)

		require.NoError(t, os.Remove(filler))
		r.tell("container.degraded", dbID, nil)
		require.Len(t, r.engine.Unfinished(), 2)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 2)
		require.Contains(t, []string{r.done[0].ID, r.done[1].ID}, "20000101T000000.000Z-oom-worker")
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, entry := range entries {
			require.True(t, entry.Name() == "open" || strings.HasSuffix(entry.Name(), bundle.Suffix), entry.Name())
		}
		left, err := os.ReadDir(filepath.Join(dir, "open"))
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// A journal keeps the newest captures when there are more than can be open.
func TestMoreJournalsThanCanBeOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		id := r.engine.Unfinished()[0].ID
		r.engine.Close()
		journal, err := os.ReadFile(filepath.Join(r.dir, "open", id, "journal.jsonl"))
		require.NoError(t, err)
		for _, name := range strings.Fields("19990101-a 19990102-b 19990103-c 19990104-d 19990105-e 19990106-f 19990107-g 19990108-h 19990109-i") {
			dir := filepath.Join(r.dir, "open", name)
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "journal.jsonl"), journal, 0o600))
		}
		r.start()
		require.Len(t, r.recovery.Open, 8)
		require.Contains(t, r.recovery.Open, id)
		require.ElementsMatch(t, []string{"19990101-a", "19990102-b"}, r.recovery.Dropped)
	})
}

// hung is a container engine that does not answer.
type hung struct{}

// Inspect implements [capture.Inspector].
func (hung) Inspect(ctx context.Context, _ string) (*docker.Container, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Plots and Marks implement [capture.Story].
func (hung) Plots(ctx context.Context, _ string, _ bundle.Window) ([]report.Plot, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (hung) Marks(ctx context.Context, _ bundle.Window, _ func(string) bool) ([]report.Mark, error) {
	return nil, ctx.Err()
}

// A container engine that hangs, and queries that take too long, cost their part
// of the capture.
func TestOthersThatHang(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Inspect, r.options.Story = hung{}, hung{}
		r.start()
		r.tell("container.oom_kill", workerID, nil)
		r.pass(3 * time.Minute)
		require.Empty(t, r.failed)
		require.Len(t, r.done, 1)
		var missing []string
		for _, m := range r.done[0].Manifest.Missing {
			missing = append(missing, m.What)
		}
		require.Equal(t, []string{"inspect of 9f86d081884c", "plots of the report", "time line of the report"}, missing)
		require.Equal(t, 45*time.Second, r.done[0].Took)
	})
}

// crowd is a host where everybody belongs together.
type crowd struct{ entities }

// Around implements [capture.Entities].
func (crowd) Around(id string, _ bundle.Window) []string {
	var ids []string
	for n := range 40 {
		ids = append(ids, fmt.Sprintf("%s-%d", id, n))
	}
	return ids
}

// However many containers are hit, a capture has some of their neighbours, not all.
func TestScopeIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.options.Entities = crowd{}
		r.start()
		for n := range 20 {
			r.tell("container.oom_kill", fmt.Sprintf("victim%d", n), nil)
		}
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 1)
		scope := r.done[0].Manifest.Scope.Containers
		require.Len(t, scope, 64)
		for n := range 20 {
			require.Contains(t, scope, fmt.Sprintf("victim%d", n))
		}
		_, err := r.engine.Manual(t.Context(), capture.Request{Containers: make([]string, 65)})
		require.ErrorContains(t, err, "at most 64")
	})
}

// What is no id of a container is no trigger, and fills no memory.
func TestOddIDs(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start()
		r.tell("container.oom_kill", strings.Repeat("x", 300), nil)
		for range 3 {
			r.use(strings.Repeat("x", 300), 1)
		}
		require.Empty(t, r.engine.Unfinished())
		r.tell("container.oom_kill", "../../etc", nil)
		r.pass(3 * time.Minute)
		require.Len(t, r.done, 1)
		reader, err := bundle.Open(r.done[0].Path)
		require.NoError(t, err)
		require.True(t, reader.Has("state/cgroup/odd-------etc/memory.events"), "%v", reader.Names())
		require.NoError(t, reader.Close())
	})
}
