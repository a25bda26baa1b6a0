package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// appearWithin is the start of the agent on a small machine and its first
	// collection.
	appearWithin = 60 * time.Second
	// slack is for the scrape itself and a busy machine, beyond two intervals.
	slack = 3 * time.Second
)

var (
	errMissing     = errors.New("not on the page")
	errImplausible = errors.New("implausible")
	errNameless    = errors.New("a line begins with labels")
)

var nameless = regexp.MustCompile(`(?m)^[ \t]*\{`)

// figures is what the agent says about one container. Sums are since the
// container started.
type figures struct {
	memory    float64 // bytes
	cpu       float64 // seconds, user and system
	throttled float64 // seconds
	written   float64 // bytes
	read      float64 // bytes
}

// page maps container ids to their figures.
type page map[string]figures

// columns tells which metric adds to which figure.
func columns(f *figures) []struct {
	metric, label, value string
	sum                  *float64
} {
	return []struct {
		metric, label, value string
		sum                  *float64
	}{
		{"container_memory_usage_bytes", "", "", &f.memory},
		{"container_cpu_time_seconds_total", "", "", &f.cpu},
		{"container_cpu_throttling_time_seconds_total", "", "", &f.throttled},
		{"container_disk_io_bytes_total", "disk_io_direction", "write", &f.written},
		{"container_disk_io_bytes_total", "disk_io_direction", "read", &f.read},
	}
}

// readPage asks the agent.
func readPage(ctx context.Context, endpoint string) (page, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read metrics of %s: %w: %s", endpoint, errMissing, response.Status)
	}
	return parsePage(response.Body)
}

// parsePage reads the Prometheus text format and adds up, per container, what
// the columns want. A container counts as being there when its memory is.
func parsePage(text io.Reader) (page, error) {
	body, err := io.ReadAll(text)
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	// The parser (common v0.70.1) panics on labels without a name before them.
	// The agent never writes such a line.
	if nameless.Match(body) {
		return nil, fmt.Errorf("parse metrics: %w", errNameless)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	result := page{}
	for _, metric := range families["container_memory_usage_bytes"].GetMetric() {
		if id := label(metric, "container_id"); id != "" {
			result[id] = figures{}
		}
	}
	for id, f := range result {
		for _, column := range columns(&f) {
			for _, metric := range families[column.metric].GetMetric() {
				if label(metric, "container_id") == id && (column.label == "" || label(metric, column.label) == column.value) {
					*column.sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()
				}
			}
		}
		result[id] = f
	}
	return result, nil
}

func label(metric *dto.Metric, name string) string {
	for _, pair := range metric.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

// waitForAll returns the first page that has every container on it.
func waitForAll(ctx context.Context, endpoint string, containers []*testkit.Container, agent *agent) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, appearWithin)
	defer cancel()
	var found page
	var ended error
	err := testkit.Poll(ctx, func() error {
		select {
		case <-agent.ended:
			ended = agent.why()
			return nil
		default:
		}
		var err error
		if found, err = readPage(ctx, endpoint); err != nil {
			return err
		}
		var errs []error
		for _, c := range containers {
			if _, ok := found[c.ID]; !ok {
				errs = append(errs, fmt.Errorf("%s (%.12s): %w", c.Name, c.ID, errMissing))
			}
		}
		return errors.Join(errs...)
	})
	return found, errors.Join(err, ended)
}

// check compares the agent with the engine, which reads the same kernel: the
// agent's CPU time must have reached, within two intervals, what the engine
// said before, and must not be beyond what it says after. What each container
// is there for must show.
func check(ctx context.Context, o options, containers []*testkit.Container) (page, error) {
	before, err := engineCPU(ctx, containers)
	if err != nil {
		return nil, err
	}
	soon, cancel := context.WithTimeout(ctx, 2*o.interval+slack)
	defer cancel()
	var now page
	err = testkit.Poll(soon, func() error {
		var err error
		if now, err = readPage(soon, o.endpoint); err != nil {
			return err
		}
		return compare(containers, now, before)
	})
	if err != nil {
		return nil, err
	}
	after, err := engineCPU(ctx, containers)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, c := range containers {
		if got := now[c.ID].cpu; got > after[c.ID]+cpuTolerance(got) {
			errs = append(errs, fmt.Errorf("%s: %w: %.2f CPU seconds, the engine says %.2f", c.Name, errImplausible, got, after[c.ID]))
		}
	}
	return now, errors.Join(errs...)
}

// compare holds the page against the engine's earlier CPU times and against
// the purpose of each container.
func compare(containers []*testkit.Container, now page, before map[string]float64) error {
	var errs []error
	require := func(ok bool, c *testkit.Container, what string, got float64) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %w: %s is %.2f", c.Name, errImplausible, what, got))
		}
	}
	for _, c := range containers {
		f, ok := now[c.ID]
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %w", c.Name, errMissing))
			continue
		}
		require(f.cpu >= before[c.ID]-cpuTolerance(f.cpu), c, "CPU seconds", f.cpu)
		require(f.memory > 0, c, "memory", f.memory)
		switch c.Name {
		case memory:
			require(f.memory >= heldMemory && f.memory <= memoryLimit, c, "memory", f.memory)
		case cpu:
			require(f.throttled > 0, c, "throttled seconds", f.throttled)
		case disk:
			require(f.written >= mib, c, "bytes written", f.written)
		}
	}
	return errors.Join(errs...)
}

// cpuTolerance covers cgroup v1, which counts user and system time in ticks of
// 10 ms and scales them apart from the exact sum the engine shows.
func cpuTolerance(seconds float64) float64 { return 0.1 + 0.05*seconds }

// engineCPU reads the CPU seconds of each container from the engine, all at
// once: engines before 23 take a second for each answer.
func engineCPU(ctx context.Context, containers []*testkit.Container) (map[string]float64, error) {
	var group sync.WaitGroup
	total := make([]float64, len(containers))
	errs := make([]error, len(containers))
	for i, c := range containers {
		group.Go(func() {
			stats, err := c.Stats(ctx)
			total[i], errs[i] = float64(stats.CPUStats.CPUUsage.TotalUsage)/1e9, err
		})
	}
	group.Wait()
	seconds := make(map[string]float64, len(containers))
	for i, c := range containers {
		seconds[c.ID] = total[i]
	}
	return seconds, errors.Join(errs...)
}

// printTable writes one line per container.
func printTable(w io.Writer, containers []*testkit.Container, now page) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, strings.Join([]string{"container", "id", "cpu s", "memory MiB", "throttled s", "read MiB", "written MiB", ""}, "\t"))
	for _, c := range containers {
		f := now[c.ID]
		fmt.Fprintf(table, "%s\t%.12s\t%.2f\t%.1f\t%.2f\t%.1f\t%.1f\t\n",
			c.Name, c.ID, f.cpu, f.memory/mib, f.throttled, f.read/mib, f.written/mib)
	}
	_ = table.Flush() // to a terminal: nobody to tell
}
