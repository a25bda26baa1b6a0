package machine

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// twoPackages are what testdata/good.txt ran.
func twoPackages() []string { return []string{"test/vm/selftest", "internal/cgroup"} }

func goodConsole(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/good.txt")
	require.NoError(t, err)
	return string(text)
}

func TestReadConsoleCountsAndEchoes(t *testing.T) {
	console := goodConsole(t)
	var echo strings.Builder
	rep, err := ReadConsole(iotest.OneByteReader(strings.NewReader(console)), &echo)
	require.NoError(t, err)
	require.NoError(t, rep.Verdict(twoPackages()))

	want := Report{
		runs: []packageRun{
			{name: "test/vm/selftest", start: 1.85, passed: 2},
			{name: "internal/cgroup", start: 2.15, passed: 1, skipped: 1},
		},
		ended:   true,
		endTime: 4.5,
	}
	if diff := cmp.Diff(want, rep, cmp.AllowUnexported(Report{}, packageRun{})); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(console, echo.String()); diff != "" {
		t.Errorf("echo (-want +got):\n%s", diff)
	}
}

// A console cut anywhere before the end line is complete must not count as passed.
func TestVerdictOfTruncatedConsole(t *testing.T) {
	console := goodConsole(t)
	whole := strings.Index(console, "TALLYMAN-VM: end")
	whole += strings.IndexByte(console[whole:], '\n')
	for cut := range whole + 1 {
		rep := mustRead(t, console[:cut])
		require.ErrorIs(t, rep.Verdict(twoPackages()), ErrNoEnd, "cut after %d bytes", cut)
	}
	rep := mustRead(t, console[:whole+1])
	require.NoError(t, rep.Verdict(twoPackages()))
}

func TestVerdictNamesEveryReason(t *testing.T) {
	console := goodConsole(t)
	f := func(old, replacement string, wants ...error) {
		t.Helper()
		if strings.Count(console, old) != 1 {
			t.Fatalf("%q is not in the fixture exactly once", old)
		}
		rep := mustRead(t, strings.Replace(console, old, replacement, 1))
		got := rep.Verdict(twoPackages())
		for _, want := range wants {
			if !errors.Is(got, want) {
				t.Errorf("with %q: got %v, want %v", replacement, got, want)
			}
		}
	}
	f("internal/cgroup=0", "internal/cgroup=2", ErrTestsFailed)
	f("--- PASS: TestWalk (0.50s)", "--- FAIL: TestWalk (0.50s)", ErrTestsFailed)
	f("--- PASS: TestWalk (0.50s)", "--- SKIP: TestWalk (0.50s)", ErrNoTests)
	f("--- PASS: TestWalk (0.50s)", "    --- PASS: TestWalk (0.50s)", ErrNoTests)
	f("begin internal/cgroup 2.15", "begin internal/other 2.15", ErrMark, ErrNoEnd)
	f("begin internal/cgroup 2.15", "begin internal/cgroup soon", ErrMark, ErrNoEnd)
	f("begin internal/cgroup 2.15", "begin test/vm/selftest 2.15", ErrMark, ErrNoEnd)
	f("end 4.50 2 ", "end 4.50 3 ", ErrMark, ErrNoEnd)
	f("end 4.50 2 ", "end late 2 ", ErrMark, ErrNoEnd)
	f("selftest=0 internal/cgroup=0", "selftest=0", ErrMark, ErrNoEnd)
	f("internal/cgroup=0", "internal/cgroup=", ErrMark, ErrNoEnd)
	f("TALLYMAN-VM: end", "TALLYMAN-VM: fin", ErrMark, ErrNoEnd)
	f("[    4.7", "TALLYMAN-VM: end 1.0 0\n[    4.7", ErrMark)
	f("--- PASS: TestWalk (0.50s)", "[    3.1] Kernel panic - not syncing: Attempted to kill init!\n--- PASS: TestWalk (0.50s)", ErrPanic)
	f("reboot: Power down", "Kernel panic - not syncing: ACPI", ErrPanic)
}

func TestVerdictMissesPackage(t *testing.T) {
	rep := mustRead(t, goodConsole(t))
	require.ErrorIs(t, rep.Verdict(append(twoPackages(), "internal/container")), ErrNotRun)
}

func TestVerdictOfSilence(t *testing.T) {
	rep := mustRead(t, "")
	require.ErrorIs(t, rep.Verdict(nil), ErrNoEnd)
}

func TestIsPanic(t *testing.T) {
	f := func(line string, want bool) {
		t.Helper()
		if got := isPanic(line); got != want {
			t.Errorf("isPanic(%q) = %v", line, got)
		}
	}
	f("[    0.412345] Kernel panic - not syncing: VFS: Unable to mount root fs", true)
	f("[12345.000000] Kernel panic - not syncing: Fatal exception", true)
	f("=== RUN   TestHal[    2.108224] Kernel panic - not syncing: sysrq triggered crash", true)
	f("    kmsg_test.go:12: Kernel panic - not syncing: a fixture", false)
	f("    kmsg_test.go:12: [stamp] Kernel panic - not syncing: a fixture", false)
	f("1.0] Kernel panic - not syncing", false)
	f("[    2.328052] reboot: Power down", false)
	f("", false)
}

func TestReadConsolePassesReadErrorOn(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("TALLYMAN-VM: begin a 1\n"), iotest.ErrReader(io.ErrUnexpectedEOF))
	rep, err := ReadConsole(broken, io.Discard)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Len(t, rep.runs, 1)
}

// FuzzReadConsole: a console that counts as passed has a whole end line and a passed test, and no panic.
func FuzzReadConsole(f *testing.F) {
	console := goodConsole(f)
	f.Add(console)
	f.Add(console[:len(console)/2])
	f.Add("TALLYMAN-VM: begin a 1\n--- PASS: T\nTALLYMAN-VM: end 2 1 a=0\n")
	f.Add("TALLYMAN-VM: end 2 0\n[1] Kernel panic - not syncing\n")
	f.Fuzz(func(t *testing.T, console string) {
		rep := mustRead(t, console)
		if rep.Verdict([]string{"a"}) != nil {
			return
		}
		_, rest, began := strings.Cut(console, "TALLYMAN-VM: begin a ")
		_, rest, passed := strings.Cut(rest, "--- PASS: ")
		_, rest, ended := strings.Cut(rest, "TALLYMAN-VM: end ")
		if !began || !passed || !ended || !strings.Contains(rest, "a=") || !strings.Contains(rest, "\n") {
			t.Errorf("passed without begin, pass and end: %q", console)
		}
		if strings.Contains(console, "[1] Kernel panic - not syncing") {
			t.Errorf("passed with a panic: %q", console)
		}
	})
}

func mustRead(t *testing.T, console string) Report {
	t.Helper()
	rep, err := ReadConsole(strings.NewReader(console), io.Discard)
	require.NoError(t, err)
	return rep
}
