package procstream_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/procstream"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// BenchmarkConnector is what one event costs here, /proc included, for the same
// load as BenchmarkStream, and how many of the 2,001 processes (the shell is one)
// were put down to their cgroup at their end:
//
//	go test -run '^$' -bench Connector -benchtime 5x ./internal/procstream
//
// Named are those whose new name could be read after the exec, unread the forks
// and execs whose process had gone before it was read.
func BenchmarkConnector(b *testing.B) {
	testkit.NeedCgroup(b)
	g := testkit.Cgroup(b, "connector-bench")
	unified, memory := ids(b, g)
	var events, attributed, named atomic.Uint64
	o := connectorOptions(b)
	o.Handle = func(e *procstream.Event) {
		events.Add(1)
		mine := e.Process.Unified == unified && e.Process.Memory == memory
		switch {
		case mine && e.Kind == procstream.Exited:
			attributed.Add(1)
		case mine && e.Kind == procstream.Executed && string(e.Process.Comm) == "true":
			named.Add(1)
		}
	}
	c, err := procstream.OpenConnector(o)
	require.NoError(b, err)
	defer c.Close()
	var cpu time.Duration
	var handled uint64
	for b.Loop() {
		beforeEvents, before := events.Load(), selfTime(b)
		shell := testkit.Run(b, g, "sh", "-c", "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i+1)); done")
		require.NoError(b, shell.Wait())
		testkit.Eventually(b, patience, func() error { return atLeast(events.Load(), beforeEvents+6000) })
		cpu += selfTime(b) - before
		handled += events.Load() - beforeEvents
	}
	require.Empty(b, nonZero(c.Stats().Dropped))
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(handled), "consumer-ns/event")
	b.ReportMetric(float64(attributed.Load())/float64(b.N), "attributed/round")
	b.ReportMetric(float64(named.Load())/float64(b.N), "named/round")
	b.ReportMetric(float64(c.Unread())/float64(b.N), "unread/round")
	b.ReportMetric(0, "ns/op")
}
