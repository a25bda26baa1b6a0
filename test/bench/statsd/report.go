package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// report is the section of the page. Tables that were not measured are left out.
type report struct {
	machine    string
	loadBefore string

	receivers []*comparison
	parsers   []*parser
	paced     *paced
	flushes   []*flush
	crowds    []*crowd
}

func newReport() (*report, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("read the kernel's version: %w", err)
	}
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, fmt.Errorf("count CPUs: %w", err)
	}
	// Not runtime.NumCPU: this process runs on one of them.
	n := strings.Count("\n"+string(cpus), "\nprocessor")
	r := &report{machine: fmt.Sprintf("%d cores, Linux %s, %s", n, unix.ByteSliceToString(name.Release[:]), runtime.Version())}
	r.loadBefore, err = load1()
	return r, err
}

// load1 is the load of the last minute.
func load1() (string, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", fmt.Errorf("read load: %w", err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first, nil
}

func (r *report) print(to io.Writer) error {
	after, err := load1()
	if err != nil {
		return err
	}
	var b strings.Builder
	r.printReceivers(&b)
	r.printParsers(&b)
	r.printPaced(&b)
	r.printFlushes(&b)
	r.printCrowds(&b)
	fmt.Fprintf(&b, "%s; %s. Load %s before and %s after.\n", r.machine, strings.Join(peers(), ", "), r.loadBefore, after)
	_, err = io.WriteString(to, b.String())
	return err
}

func (r *report) printReceivers(b *strings.Builder) {
	if len(r.receivers) == 0 {
		return
	}
	fmt.Fprintf(b, "| messages in a datagram | `uds_statsd`, CPU ns per message: best, median | contrib `statsd` | ratio of best, of medians | goal |\n|---|---|---|---|---|\n")
	for _, c := range r.receivers {
		fmt.Fprintf(b, "| %s | **%.0f**, %.0f | %.0f, %.0f | **%.1f**, %.1f | %.0f |\n", c.name(),
			slices.Min(c.ours), median(c.ours), slices.Min(c.theirs), median(c.theirs),
			slices.Min(c.theirs)/slices.Min(c.ours), median(c.theirs)/median(c.ours), c.goal)
	}
	b.WriteString("\n")
}

func (r *report) printParsers(b *strings.Builder) {
	if len(r.parsers) == 0 {
		return
	}
	fmt.Fprintf(b, "| one line | ns: best, median | allocations |\n|---|---|---|\n")
	for _, p := range r.parsers {
		fmt.Fprintf(b, "| %s | **%.1f**, %.1f | %.1f |\n", p.title, p.best.ns, median(p.rounds), p.best.allocations)
	}
	b.WriteString("\n")
}

func (r *report) printPaced(b *strings.Builder) {
	if r.paced == nil {
		return
	}
	p := r.paced
	fmt.Fprintf(b, "%.0f datagrams/s of one message each, from 4 processes: **%.2f %%** of a core at best, %.2f %% in the median;\n"+
		"%.2f %% while nobody sends. The goal was 4 %%.\n\n", median(p.rate), slices.Min(p.busy), median(p.busy), slices.Min(p.idle))
}

func (r *report) printFlushes(b *strings.Builder) {
	if len(r.flushes) == 0 {
		return
	}
	fmt.Fprintf(b, "| contexts in a flush | CPU µs per context: best, median | allocations |\n|---|---|---|\n")
	for _, f := range r.flushes {
		fmt.Fprintf(b, "| %d | **%.2f**, %.2f | %.1f |\n", f.contexts, slices.Min(f.cpu), median(f.cpu), median(f.allocations))
	}
	b.WriteString("\n")
}

func (r *report) printCrowds(b *strings.Builder) {
	if len(r.crowds) == 0 {
		return
	}
	fmt.Fprintf(b, "| %s |\n|---|", strings.Join([]string{
		"containers x contexts of each", "contexts", "values in overflow contexts", "MiB beyond the start: peak",
		"peak of a second time", "at the end", "bytes per context", "µs of a message: new, known", "flush: µs, allocations per point",
	}, " | "))
	b.WriteString(strings.Repeat("---|", 8) + "\n")
	for _, c := range r.crowds {
		x := c.Result
		title := fmt.Sprintf("%d x %d", c.Origins, c.Contexts)
		if len(c.Environment) > 0 {
			title += ", `" + strings.Join(c.Environment, " ") + "`"
		}
		fmt.Fprintf(b, "| %s | %d | %d | **%d** | %d | %d | %.0f | %.2f, %.2f | %.2f, %.1f |\n", title,
			x.Contexts, x.Overflowed, x.Peak>>20, x.Peak2>>20, x.After>>20, x.PerContext,
			x.Message/1000, x.Message2/1000, x.FlushCPU, x.FlushAllocations)
	}
	b.WriteString("\n")
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// peers are the modules that ours is compared with, and their versions.
func peers() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	var found []string
	for _, m := range info.Deps {
		if strings.HasSuffix(m.Path, "/statsdreceiver") || strings.HasSuffix(m.Path, "/statsd_exporter") {
			found = append(found, m.Path[strings.LastIndex(m.Path, "/")+1:]+" "+m.Version)
		}
	}
	return found
}
