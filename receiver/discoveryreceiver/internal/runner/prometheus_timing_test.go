package runner_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// What a prometheus receiver takes that has not scraped yet: memory that is in use after
// a collection, heap and stacks, and goroutines.
func BenchmarkPrometheusIdle(b *testing.B) {
	const many = 200
	g := newRig(b, factories{"prometheus": prometheusreceiver.NewFactory()}, nil)
	app := newApplication(b)
	var wanted []spec.Spec
	for n := range many {
		wanted = append(wanted, scraping(app, fmt.Sprintf("container-%03d", n), time.Hour))
	}
	started := 0
	for b.Loop() {
		memory, goroutines := inUse()
		g.Set(wanted)
		started += many
		testkit.Eventually(b, time.Minute, g.expect(runner.Started, started))
		testkit.Eventually(b, time.Minute, settled())
		memoryAfter, goroutinesAfter := inUse()
		b.ReportMetric(float64(memoryAfter-memory)/many, "B/receiver")
		b.ReportMetric(float64(goroutinesAfter-goroutines)/many, "goroutines/receiver")
		g.Set(nil)
		testkit.Eventually(b, time.Minute, g.expect(runner.Stopped, started))
		testkit.Eventually(b, time.Minute, g.empty)
	}
}

// settled is a condition: no goroutine has come or gone for two seconds.
func settled() func() error {
	n, since := 0, time.Now()
	return func() error {
		if now := runtime.NumGoroutine(); now != n {
			n, since = now, time.Now()
		}
		return elapsed(since, 2*time.Second)()
	}
}

func inUse() (memory int64, goroutines int) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
}
