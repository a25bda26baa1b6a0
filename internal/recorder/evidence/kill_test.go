package evidence

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
	"github.com/tallymanhq/tallyman/internal/recorder/eventstore"
)

// childEnv names the folder of the recorder that a child process of the test
// fills until it is killed.
const childEnv = "EVIDENCE_TEST_CHILD"

// ready is what the child prints when its capture is in the journal.
const ready = "ready"

// killedAfter is how long it records, in seconds; awayFor how long nobody does
// then.
const killedAfter, awayFor = 120, 45

// doomed records, sees a trigger, and waits for its end.
func doomed(t *testing.T, dir string) {
	s := sceneIn(t, dir, began)
	c, _ := capturerIn(t, s, scenery{s}, filepath.Join(dir, "captures"))
	worker := forwarder()
	s.record(killedAfter, worker)
	kill := happening{"container.oom_kill", "The OOM killer killed python of the container.", map[string]any{"process.pid": 211}}.of(worker, s.now)
	c.engine.ObserveEvents(kill)
	s.table.ObserveLogs(kill)
	s.events.Append(kill)
	require.NoError(t, s.events.Flush()) // the store does it after two seconds
	require.NoError(t, s.table.Maintain())
	c.wait("container.oom_kill")
	fmt.Println(ready)
	select {}
}

// An agent that is killed between the trigger and the cut finds the capture in the
// journal when it is started again, and makes it of what is there from before and
// after.
func TestCaptureAfterAKill(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		doomed(t, dir)
	}
	dir := t.TempDir()
	startAndKill(t, dir)

	trigger := began.Add(killedAfter * time.Second)
	s := sceneIn(t, dir, trigger.Add(awayFor*time.Second))
	c, found := capturerIn(t, s, scenery{s}, filepath.Join(dir, "captures"))
	require.Len(t, found.Open, 1)
	require.Empty(t, found.Dropped)
	s.record(120-awayFor+1, forwarder())
	made := c.finish()

	m := made.Manifest
	require.Equal(t, found.Open[0], m.ID)
	require.Equal(t, bundle.Window{From: trigger.Add(-10 * time.Minute), To: trigger.Add(2 * time.Minute)}, m.Window)
	var told []string
	for _, gap := range m.Gaps {
		told = append(told, fmt.Sprintf("%s %s: %s", gap.From.Sub(trigger), gap.To.Sub(trigger), gap.Why))
	}
	require.Contains(t, told, "-10m0s -1m59s: "+noSamples, "nobody recorded before")
	require.Contains(t, told, "0s 46s: "+noSamples, "nor while there was no agent")

	reader, err := bundle.Open(made.Path)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	require.NoError(t, reader.Verify())
	require.True(t, reader.Has("state/cgroup/"+id(1)+"/memory.events"), "the picture from before the kill")
	out := t.TempDir()
	require.NoError(t, reader.Extract(out, nil))
	samples := counted(t, filepath.Join(out, bundle.MetricsDir), "container_memory_usage_bytes", m.Window)
	require.Equal(t, map[string]float64{id(1): killedAfter + 120 - awayFor}, samples, "before the kill and after the restart")
	events, _, err := eventstore.OpenDir(filepath.Join(out, bundle.EventsDir))
	require.NoError(t, err)
	defer func() { require.NoError(t, events.Close()) }()
	n := 0
	require.NoError(t, events.Scan(t.Context(), eventstore.Query{Kinds: []string{"container.oom_kill"}}, func(eventstore.Event) bool { n++; return true }))
	require.Equal(t, 1, n)
}

// startAndKill runs this test as a child and kills it once it is ready.
func startAndKill(t *testing.T, dir string) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$")
	child.Env = append(os.Environ(), childEnv+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != ready {
		t.Log(lines.Text())
	}
	require.Equal(t, ready, lines.Text())
	require.NoError(t, child.Process.Kill())
	require.ErrorContains(t, child.Wait(), "killed")
}
