package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBootKillsMachineAtDeadline(t *testing.T) {
	fakeMachine(t, "echo TALLYMAN-VM: begin a 1; exec /bin/sleep 600")
	start := time.Now()
	rep, err := machine{dir: t.TempDir()}.boot(t.Context(), 300*time.Millisecond, io.Discard)
	require.ErrorIs(t, err, errDeadline)
	require.Less(t, time.Since(start), time.Minute)
	require.ErrorIs(t, rep.verdict([]string{"a"}), errNoEnd)
}

func TestBootReportsMachineError(t *testing.T) {
	fakeMachine(t, "exit 3")
	_, err := machine{dir: t.TempDir()}.boot(t.Context(), time.Minute, io.Discard)
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 3, exit.ExitCode())
}

func TestBootNamesMissingEmulator(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := machine{dir: t.TempDir()}.boot(t.Context(), time.Minute, io.Discard)
	require.ErrorIs(t, err, exec.ErrNotFound)
	require.ErrorContains(t, err, "qemu-system-x86")
}

func TestFetchKernelNamesWhatAptLacks(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\necho E: Unable to locate package; exit 100\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "apt-get"), []byte(script), 0o755))
	t.Setenv("PATH", bin)
	cache := t.TempDir()
	_, err := fetchKernel(t.Context(), kernel{Name: "9.9", Package: "linux-image-9.9.9-1-amd64"}, cache)
	require.ErrorIs(t, err, errKernelAbsent)
	require.ErrorContains(t, err, "linux-image-9.9.9-1-amd64")
	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Empty(t, left, "what did not work leaves nothing behind")
}

func TestCheckStatic(t *testing.T) {
	require.ErrorIs(t, checkStatic("/bin/ls"), errNotStatic)
}

// fakeMachine puts a script in the place of the emulator: the wire between them is its standard output.
func fakeMachine(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	t.Setenv("PATH", bin)
}
