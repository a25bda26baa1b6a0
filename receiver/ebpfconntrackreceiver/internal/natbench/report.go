package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is the section of the page.
type report struct {
	options    options
	machine    string
	loadBefore string
	costs      map[tracker][]*cost
}

func newReport(o options) (*report, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("read the kernel's version: %w", err)
	}
	r := &report{options: o, costs: map[tracker][]*cost{}}
	r.machine = fmt.Sprintf("%d cores, Linux %s, %s", runtime.NumCPU(), unix.ByteSliceToString(name.Release[:]), runtime.Version())
	var err error
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
	r.printCosts(&b)
	r.printResults(&b)
	r.printShares(&b)
	fmt.Fprintf(&b, "%d rounds of %d connections, %s. Load %s before and %s after.\n",
		r.options.rounds, r.options.connections, r.machine, r.loadBefore, after)
	_, err = io.WriteString(to, b.String())
	return err
}

// The three ways in which a round's cost is told.
func whole(c *cost) time.Duration { return c.whole }
func parts(c *cost) time.Duration { return c.parts }
func agent(c *cost) time.Duration { return c.agent }

func (r *report) printCosts(b *strings.Builder) {
	fmt.Fprintf(b, "| tracker | CPU µs per connection, machine: best, median | those who take part | agent |\n|---|---|---|---|\n")
	for _, t := range trackers() {
		fmt.Fprintf(b, "| %s |", t)
		for _, of := range []func(*cost) time.Duration{whole, parts, agent} {
			fmt.Fprintf(b, " **%.1f**, %.1f |", slices.Min(r.figures(t, of)), median(r.figures(t, of)))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

func (r *report) printResults(b *strings.Builder) {
	fmt.Fprintf(b, "| tracker | records per connection | lost | resolved | wrong | asked of the kernel | events lost, times |\n|---|---|---|---|---|---|---|\n")
	for _, t := range trackers()[1:] {
		sum, connections := tracked{}, 0
		for _, c := range r.costs[t] {
			sum, connections = sum.plus(c.tracked), connections+c.connections
		}
		resolved := "-"
		if t != records {
			resolved = fmt.Sprintf("%.3f %%", 100*float64(sum.Resolved)/float64(2*connections))
		}
		fmt.Fprintf(b, "| %s | %.5f | %d | %s | %d | %d | %d |\n",
			t, float64(sum.Records)/float64(connections), sum.Lost, resolved, sum.Wrong, sum.Gets, sum.Overflows)
	}
	b.WriteString("\n")
}

func (t tracked) plus(o tracked) tracked {
	return tracked{
		Records: t.Records + o.Records, Lost: t.Lost + o.Lost,
		Resolved: t.Resolved + o.Resolved, Wrong: t.Wrong + o.Wrong,
		Gets: t.Gets + o.Gets, Overflows: t.Overflows + o.Overflows,
	}
}

// printShares says what each way of resolving costs on top of the records, and
// each tracker on top of the load.
func (r *report) printShares(b *strings.Builder) {
	fmt.Fprint(b, "| on top, CPU µs per connection, medians of the rounds' differences | machine | those who take part | agent |\n|---|---|---|---|\n")
	row := func(title string, t, below tracker) {
		fmt.Fprintf(b, "| %s |", title)
		for _, of := range []func(*cost) time.Duration{whole, parts, agent} {
			fmt.Fprintf(b, " %.1f |", r.over(t, below, of))
		}
		b.WriteString("\n")
	}
	row("records over the load", records, none)
	row("pull over records", pull, records)
	row("ctnetlink over records", ctnetlink, records)
	row("pull, all of it", pull, none)
	row("ctnetlink, all of it", ctnetlink, none)
	for _, way := range []struct {
		title string
		below tracker
	}{{"pull less than ctnetlink: resolving", records}, {"pull less than ctnetlink: all of it", none}} {
		fmt.Fprintf(b, "| %s |", way.title)
		for _, of := range []func(*cost) time.Duration{whole, parts, agent} {
			fmt.Fprintf(b, " **%.0f %%** |", 100*(1-r.over(pull, way.below, of)/r.over(ctnetlink, way.below, of)))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// figures are a tracker's rounds, in µs per connection.
func (r *report) figures(t tracker, of func(*cost) time.Duration) []float64 {
	var all []float64
	for _, c := range r.costs[t] {
		all = append(all, perConnection(of(c), c.connections))
	}
	return all
}

// over is the median of the rounds' differences: what slows the machine for minutes
// is in both of a round.
func (r *report) over(t, below tracker, of func(*cost) time.Duration) float64 {
	all, less := r.figures(t, of), r.figures(below, of)
	for i := range all {
		all[i] -= less[i]
	}
	return median(all)
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
