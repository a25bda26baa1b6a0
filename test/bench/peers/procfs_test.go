package main

import (
	"errors"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

const dockerdStat = "742 (dockerd) S 1 740 740 0 -1 4194560 9117 60 0 0 13 9 2 1 20 0 12 0 5187 1549017088 23057 " +
	"18446744073709551615 1 1 0 0 0 0 1002060288 0 2143420159 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"

func TestParseStat(t *testing.T) {
	f := func(text string, want procStat) {
		t.Helper()
		got, err := parseStat([]byte(text))
		require.NoError(t, err)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(procStat{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	f(dockerdStat, procStat{name: "dockerd", parent: 1, own: 0.25})
	f("7 (a) b) (c) R 3 0 0 0 0 0 0 0 0 0 100 0 0 0 0", procStat{name: "a) b) (c", parent: 3, own: 1})

	g := func(text string) {
		t.Helper()
		if got, err := parseStat([]byte(text)); !errors.Is(err, errFormat) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	g("")
	g("742 dockerd S 1")
	g(")742 (dockerd")
	g("7 (a) R 3 0 0 0 0 0 0 0 0 0 100 0 0")
	g("7 (a) R x 0 0 0 0 0 0 0 0 0 100 0 0 0 0")
	g("7 (a) R 3 0 0 0 0 0 0 0 0 0 100 -1 0 0 0")
}

// What is parsed is never a negative or unfinite time, and the name is part of
// the text.
func FuzzParseStat(f *testing.F) {
	f.Add([]byte(dockerdStat))
	f.Add([]byte("7 () R 3 0 0 0 0 0 0 0 0 0 18446744073709551615 0 0 0 0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStat(text)
		if err != nil {
			return
		}
		if !(s.own >= 0) || math.IsInf(s.own, 0) {
			t.Errorf("%q: time %v", text, s.own)
		}
		if !slices.Contains(append(bytesWithin(text, len(s.name)), ""), s.name) {
			t.Errorf("%q: name %q", text, s.name)
		}
	})
}

func bytesWithin(text []byte, n int) []string {
	var parts []string
	for i := 0; i+n <= len(text); i++ {
		parts = append(parts, string(text[i:i+n]))
	}
	return parts
}

func TestStatusField(t *testing.T) {
	text := []byte("Name:\tcadvisor\nVmHWM:\t   80000 kB\nVmRSS:\t   70544 kB\nVmData:\t x kB\nVmLib:\t 5 MB\n")
	f := func(name string, want float64) {
		t.Helper()
		got, err := statusField(text, name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	f("VmRSS", 70544*1024)
	f("VmHWM", 80000*1024)
	for _, name := range []string{"Vm", "VmSwap", "VmData", "VmLib"} {
		_, err := statusField(text, name)
		require.ErrorIs(t, err, errFormat, name)
	}
}

func TestParseBusy(t *testing.T) {
	// Idle and iowait are not busy; steal is another machine's.
	got, err := parseBusy([]byte("cpu  100 20 300 99999 5000 4 60 7000 11 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"))
	require.NoError(t, err)
	require.InDelta(t, 4.84, got, 1e-9)
	for _, text := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8 9 0\n", "cpu 1 2 x 4 5 6 7 8 9 0\n"} {
		_, err := parseBusy([]byte(text))
		require.ErrorIs(t, err, errFormat, text)
	}
}

func TestFamily(t *testing.T) {
	all := map[int]procStat{1: {}, 5: {parent: 1}, 6: {parent: 5}, 7: {parent: 6}, 8: {parent: 1}}
	got := family(all, 5)
	slices.Sort(got)
	require.Equal(t, []int{5, 6, 7}, got)
	require.Equal(t, []int{8}, family(all, 8))
}

// The running kernel's files are in the form that the parsers know.
func TestReadsThisProcess(t *testing.T) {
	all, err := processes()
	require.NoError(t, err)
	self := all[os.Getpid()]
	require.Equal(t, os.Getppid(), self.parent)
	m, err := readMemory(os.Getpid())
	require.NoError(t, err)
	require.Positive(t, m.now)
	require.GreaterOrEqual(t, m.peak, m.now)
	busy, err := readBusy()
	require.NoError(t, err)
	require.GreaterOrEqual(t, busy, self.own)
}
