package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func TestComplaints(t *testing.T) {
	log := strings.Join([]string{
		"2026-11-22T10:00:00.000Z\tinfo\tservice@v1/service.go:282\tEverything is ready. Begin running and processing data.\t{}",
		"2026-11-22T10:00:01.000Z\twarn\tx/y.go:1\tengine does not answer for 12 s\t{}",
		"2026-11-22T10:00:02.000Z\twarn\tx/y.go:1\tengine does not answer for 7 s\t{}",
		"2026-11-22T10:00:03.000Z\terror\tx/y.go:1\tno space",
		"panic: runtime error",
	}, "\n")
	got, err := complaints(strings.NewReader(log))
	require.NoError(t, err)
	want := map[string]int{"warn: engine does not answer for # s": 2, "error: no space": 1, "panic: runtime error": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Only what was logged after the signal counts.
func TestSaysReady(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	first := "x\tinfo\ty\t" + readyLine + "\n"
	require.NoError(t, os.WriteFile(log, []byte(first), 0o600))
	require.NoError(t, saysReady(log, 0))
	require.ErrorIs(t, saysReady(log, int64(len(first))), errStarted)
	require.NoError(t, os.WriteFile(log, []byte(first+"more\n"+first), 0o600))
	require.NoError(t, saysReady(log, int64(len(first))))
	require.ErrorIs(t, saysReady(filepath.Join(t.TempDir(), "none"), 0), os.ErrNotExist)
}

func TestFlags(t *testing.T) {
	var a Agent
	flags, err := a.flags(Options{Config: "c.yaml", Set: []string{"a::b: c"}})
	require.NoError(t, err)
	require.Equal(t, "yaml:a::b: c", flags[len(flags)-1])
	require.True(t, filepath.IsAbs(flags[1]), flags[1])
	ports := map[string]bool{}
	for _, url := range []string{a.Page, a.Own, a.health} {
		ports[url] = true
	}
	require.Len(t, ports, 3, "of one agent")
}
