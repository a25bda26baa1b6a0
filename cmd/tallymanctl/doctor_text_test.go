package main

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/doctor"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// example has every status, results that share what is to be said, an error of
// two lines, and words that are too long.
func example() doctorOutput {
	refused := func(name string) doctor.Result {
		return doctor.Result{
			Name: "bpf.program." + name, Title: "BPF program " + name, Status: doctor.Fail, Found: "refused",
			Meaning: "No process stream, and this sentence is long enough to need a second line in a terminal.",
			Remedy:  "Run as root.", Error: "load program: permission denied\nR9 !read_ok",
		}
	}
	return doctorOutput{
		Version: "1.2.3+abc",
		Host:    doctor.Host{Name: "web1", Kernel: "6.1.0-50-cloud-amd64", Architecture: "x86_64", UID: 1000, RootPath: "/hostfs"},
		Report: doctor.Report{
			Checks: []doctor.Result{
				{Name: "kernel.version", Title: "kernel", Status: doctor.Pass, Found: "6.1.0-50-cloud-amd64", Meaning: "New enough."},
				{
					Name: "docker.socket", Title: "Docker engine", Status: doctor.Warn,
					Found:   "/run/" + strings.Repeat("long/", 14) + "docker.sock is not there",
					Meaning: "No names.", Remedy: "Without Docker, nothing.",
				},
				refused("on_exec"), refused("on_fork"),
				{Name: "kernel.lockdown", Title: "lockdown", Status: doctor.Unknown, Found: "not known", Meaning: "Größe unbekannt.", Error: "gone"},
			},
			Summary: doctor.Summary{Pass: 1, Warn: 1, Fail: 2, Unknown: 1},
		},
	}
}

func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv(testkit.UpdateEnv) == "1" {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (%s=1 updates it), -want +got:\n%s", file, testkit.UpdateEnv, diff)
	}
}

func TestText(t *testing.T) {
	plain := doctorText{}
	text := plain.render(example())
	checkGolden(t, "testdata/doctor.txt", text)
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > lineWidth && !strings.Contains(line, "long/long/") {
			t.Errorf("wider than %d: %q", lineWidth, line)
		}
		if strings.HasSuffix(line, " \n") {
			t.Errorf("space at the end: %q", line)
		}
	}
}

func TestVerboseText(t *testing.T) {
	verbose := doctorText{verbose: true}
	checkGolden(t, "testdata/doctor-verbose.txt", verbose.render(example()))
}

// Colour changes nothing but the colour.
func TestColour(t *testing.T) {
	plain, coloured := doctorText{}, doctorText{colour: true}
	want, got := plain.render(example()), coloured.render(example())
	require.Contains(t, got, "\x1b[31mFAIL\x1b[0m  BPF program on_exec")
	for _, code := range []string{"\x1b[0m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"} {
		require.Contains(t, got, code)
		got = strings.ReplaceAll(got, code, "")
	}
	require.Equal(t, want, got)
}

func TestWantsColour(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	require.NoError(t, err)
	defer file.Close()
	require.False(t, wantsColour(file, ""))
	require.False(t, wantsColour(&strings.Builder{}, ""))
	device, err := os.OpenFile("/dev/null", os.O_WRONLY, 0) // a device, as a terminal is
	require.NoError(t, err)
	defer device.Close()
	require.True(t, wantsColour(device, ""))
	require.False(t, wantsColour(device, "1"))
}

// What cannot be written is an error, and no exit code that says all is well.
func TestOutputThatCannotBeWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	for _, form := range [][]string{{"doctor"}, {"doctor", "--json"}} {
		var stderr strings.Builder
		require.Equal(t, exitFailed, run(t.Context(), form, full, &stderr))
		require.Contains(t, stderr.String(), "no space left on device")
	}
}
