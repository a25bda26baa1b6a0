package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// TestMain lets the test binary be the processes that take part.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := playRole(role); err != nil {
			fmt.Fprintln(os.Stderr, "bench-conntrack:", err)
			os.Exit(1)
		}
		return
	}
	testkit.Main(m)
}

// TestRun measures little, and finds every connection, at both ends, with the right
// answer about each.
func TestRun(t *testing.T) {
	testkit.NeedBPF(t)
	testkit.NeedCommand(t, "ip", "nft", "conntrack")
	const n = 500
	rep, err := run(context.Background(), options{rounds: 1, connections: n})
	require.NoError(t, err)
	for _, tr := range trackers() {
		require.Len(t, rep.costs[tr], 1)
		c := rep.costs[tr][0]
		require.Positive(t, c.whole, tr)
		require.Greater(t, c.parts, c.agent, tr)
		got, want := c.tracked, tracked{}
		got.Gets = 0
		switch tr {
		case pull, ctnetlink:
			want = tracked{Records: 2 * n, Resolved: 2 * n}
		case records:
			want = tracked{Records: 2 * n}
		}
		require.Equal(t, want, got, tr)
	}
	var text strings.Builder
	require.NoError(t, rep.print(&text))
	require.Contains(t, text.String(), "| pull | 2.00000 | 0 | 100.000 % | 0 | 0 | 0 |")
}

func TestParseFlags(t *testing.T) {
	o, err := parseFlags(nil)
	require.NoError(t, err)
	require.Equal(t, options{rounds: 5, connections: 20_000}, o)
	for _, wrong := range [][]string{{"-rounds", "0"}, {"-connections", "1"}, {"-best"}} {
		_, err := parseFlags(wrong)
		require.Error(t, err, wrong)
	}
}

func TestParseMachine(t *testing.T) {
	got, err := parseMachine("cpu  1 2 3 1000 500 6 7 40 50 60\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
	require.NoError(t, err)
	require.Equal(t, (1+2+3+6+7)*10*time.Millisecond, got)
	for _, wrong := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8\n"} {
		_, err := parseMachine(wrong)
		require.ErrorIs(t, err, errNoCPU)
	}
}

func TestCutStat(t *testing.T) {
	name, rest, ok := cutStat("15 (a) (b) S 2 0 0 0 -1 69238848 0 0 0 0 7 35 0 0 20 0")
	require.True(t, ok)
	require.Equal(t, "a) (b", name)
	require.Equal(t, 420*time.Millisecond, sumTicks(strings.Fields(rest), 11, 13))
	_, _, ok = cutStat("15 a")
	require.False(t, ok)
}

// TestReport: what is on top, and by how much less.
func TestReport(t *testing.T) {
	rep := &report{options: options{rounds: 3, connections: 2}, costs: map[tracker][]*cost{}}
	for _, slower := range []time.Duration{0, 700, 300} { // of a round as a whole
		for i, tr := range trackers() {
			us := 2 * (slower + []time.Duration{100, 110, 115, 160}[i]) * time.Microsecond
			rep.costs[tr] = append(rep.costs[tr], &cost{connections: 2, whole: us, parts: us, agent: us})
		}
	}
	var text strings.Builder
	require.NoError(t, rep.print(&text))
	require.Contains(t, text.String(), "| pull | **115.0**, 415.0 |")
	require.Contains(t, text.String(), "| pull over records | 5.0 | 5.0 | 5.0 |")
	require.Contains(t, text.String(), "resolving | **90 %** |")
	require.Contains(t, text.String(), "all of it | **75 %** |")
}
