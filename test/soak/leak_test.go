package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/test/soak/inside"
)

const (
	startWithin = 30 * time.Second
	// testLaps have testSamples each; laps of an hour make it a run whose memory is
	// judged.
	testLaps, testSamples = 12, 10
)

// A process that loses something of one kind with each sample is found, by that kind;
// one that does not is flat.
func TestLeaksAreFound(t *testing.T) {
	for leak, want := range map[string][]string{
		"":            nil,
		"memory":      {"RSS, MiB", "of it anonymous, MiB", "PSS, MiB", "heap, live, MiB", "Go runtime, MiB"},
		"goroutines":  {"goroutines"},
		"descriptors": {"descriptors", "file"},
	} {
		t.Run("leak "+leak, func(t *testing.T) {
			s := watchStandIn(t, leak)
			rows, err := judgeAll(s, testLaps, time.Hour)
			require.NoError(t, err)
			var found []string
			for _, r := range rows {
				if r.bound >= 0 && r.Grows {
					found = append(found, r.name)
				}
			}
			var table strings.Builder
			printRows(&table, rows, time.Hour)
			for _, name := range want {
				require.True(t, slices.Contains(found, name), "%s does not grow:\n%s", name, table.String())
			}
			if leak == "" {
				require.Empty(t, found, table.String())
				require.NoError(t, grown(rows))
				return
			}
			require.ErrorIs(t, grown(rows), errGrows)
			require.Contains(t, table.String(), "GROWS")
		})
	}
}

// watchStandIn samples a process that leaks.
func watchStandIn(t *testing.T, leak string) *samples {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), standIn+"=1", inside.SocketEnv+"="+socket, inside.LeakEnv+"="+leak)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, stdin.Close())
		require.NoError(t, cmd.Wait())
	})
	testkit.Eventually(t, startWithin, func() error {
		_, err := os.Stat(socket)
		return err
	})
	s := &samples{begun: time.Now(), look: func(ctx context.Context) (map[string]float64, error) {
		return look(ctx, cmd.Process.Pid, socket, dir)
	}}
	for lap := range testLaps {
		s.enter(phase{lap: lap, calm: true})
		for range testSamples {
			s.take(t.Context())
		}
	}
	require.Zero(t, s.missed, "%v", s.why)
	return s
}

func TestUnknownLeakIsRefused(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), standIn+"=1", inside.SocketEnv+"="+filepath.Join(t.TempDir(), "s"), inside.LeakEnv+"=time")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), inside.LeakEnv+`="time"`)
}
