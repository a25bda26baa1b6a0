package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// The goals for the agent with everything on.
const (
	goalCPU = 1.0 // percent of a core
	goalRSS = 150 // MB
)

// printTable writes Markdown, as docs/benchmarks.md has it.
func printTable(w io.Writer, o options, rows []figures) error {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return fmt.Errorf("read load: %w", err)
	}
	render(w, rows)
	_, err = fmt.Fprintf(w, "\n%d containers, %v to settle, %v measured; load at the end %s\n",
		o.containers, o.settle, o.window, bytes.Join(bytes.Fields(load)[:3], []byte(" ")))
	return err
}

func render(w io.Writer, rows []figures) {
	fmt.Fprint(w, "\n| | CPU, % of a core | user, system | wake-ups/s | VmRSS, MB | RssAnon, RssFile | Pss | live heap | threads, descriptors |\n"+
		"|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		heap := "-"
		if r.goes.HeapLive > 0 {
			heap = fmt.Sprintf("%.0f", float64(r.goes.HeapLive)/1e6)
		}
		fmt.Fprintf(w, "| %s | **%.2f** | %.2f, %.2f | %.0f | **%.0f** | %.0f, %.0f | %.0f | %s | %d, %d |\n", r.name, r.cpu, r.user, r.system, r.wakeups,
			mb(r.usage.RSS), mb(r.usage.Anon), mb(r.usage.File), mb(r.usage.PSS), heap, r.usage.Threads, r.descriptors)
	}
	fmt.Fprintf(w, "| goal, all on | %.2f | | | %d | | | | |\n", goalCPU, goalRSS)
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }
