package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The load is what the page says it is, and fills whole datagrams.
func TestUsualLoad(t *testing.T) {
	for _, perDatagram := range []int{1, 10, 55} {
		l := usual(perDatagram)
		bytesOf, lines := 0, 0
		for _, d := range l.datagrams() {
			require.Equal(t, perDatagram, bytes.Count(d, []byte("\n")))
			require.Less(t, len(d), 8192)
			bytesOf += len(d)
			lines += perDatagram
		}
		require.Equal(t, l.messages(), lines)
		require.InDelta(t, 138, float64(bytesOf)/float64(lines), 3)
	}
	require.Zero(t, names%len(kinds))
	require.Zero(t, usual(1).messages()%100, "contrib counts in hundreds")
}

// What is expected to be added up is what the lines say.
func TestTotals(t *testing.T) {
	l := load{First: 40, Contexts: 8, Values: 3, PerDatagram: 5}
	want := totals{Messages: 24}
	for _, d := range l.datagrams() {
		for line := range strings.Lines(string(d)) {
			_, rest, _ := strings.Cut(line, ":")
			value, kind, _ := strings.Cut(rest, "|")
			switch kind[0] {
			case 'c':
				require.Len(t, value, 1)
				want.Counted += int(value[0] - '0')
			case 'h', 'm':
				want.Observed++
			}
		}
	}
	require.Equal(t, want, l.totals())
	require.Equal(t, 12, want.Observed)
}

func TestParseBenchmark(t *testing.T) {
	out := []byte("goos: linux\nBenchmarkParse/plain/1 \t 17318396\t        21.34 ns/op\t6467.94 MB/s\t       0 B/op\t       2 allocs/op\nPASS\n")
	got, err := parseBenchmark(out, "BenchmarkParse/plain/1")
	require.NoError(t, err)
	require.Equal(t, cost{21.34, 2}, got)
	_, err = parseBenchmark(out, "BenchmarkParse/plain")
	require.Error(t, err)
}

func TestHierarchies(t *testing.T) {
	require.Equal(t, []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"}, hierarchies(
		"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"+
			"34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"+
			"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"+
			"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"))
}

func TestMedian(t *testing.T) {
	require.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 3, 2}), 0)
}
