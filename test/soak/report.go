package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tallymanhq/tallyman/test/soak/judge"
)

var (
	errGrows = errors.New("the agent grows")
	errIdle  = errors.New("the agent had hardly anything to bear")
)

// leastLoad is the share of each load that a run needs to say something: a machine that
// is busy with other things manages a third.
const leastLoad = 0.1

// row is the verdict about one quantity.
type row struct {
	quantity
	first float64 // of the first lap
	bound float64 // below 0: not judged
	judge.Verdict
}

// judgeAll decides about every quantity of a run of n laps.
func judgeAll(s *samples, n int, lap time.Duration) ([]row, error) {
	var rows []row
	for _, q := range quantities() {
		laps, err := s.laps(q.name, n)
		if err != nil {
			return nil, err
		}
		r := row{quantity: q, first: laps[0], bound: q.bound(judge.Median(laps), time.Duration(n)*lap)}
		if r.Verdict, err = judge.Judge(laps, judge.Bounds{Whole: r.bound, PerLap: q.perLap}); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// grown names what is judged and grows; nil if nothing does.
func grown(rows []row) error {
	var names []string
	for _, r := range rows {
		if r.bound >= 0 && r.Grows {
			names = append(names, r.name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", errGrows, strings.Join(names, "; "))
}

// printRows writes the table at the end.
func printRows(w io.Writer, rows []row, lap time.Duration) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "quantity\tfirst lap\t2nd quarter\tlast quarter\tgrowth\tallowed\tper hour\tby chance\tverdict\t")
	for _, r := range rows {
		allowed, verdict := "-", "not judged"
		if r.bound >= 0 {
			allowed, verdict = fmt.Sprintf("%.1f", r.bound/r.unit), "flat"
		}
		if r.bound >= 0 && r.Grows {
			verdict = "GROWS"
		}
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.1f\t%+.1f\t%s\t%+.1f\t%.3f\t%s\t\n", r.name,
			r.first/r.unit, r.Early/r.unit, r.Late/r.unit, (r.Late-r.Early)/r.unit, allowed,
			r.Slope/r.unit*float64(time.Hour)/float64(lap), r.Chance, verdict)
	}
	_ = table.Flush() // to a terminal: nobody to tell
}

// borne names the loads of which hardly anything was done; nil if there are none.
func borne(loads []*load, over time.Duration) error {
	var errs []error
	for _, l := range loads {
		done := float64(l.done.Load()) / over.Seconds()
		if done < leastLoad*float64(l.perSecond) {
			errs = append(errs, fmt.Errorf("%w: %s: %.1f of %d per second", errIdle, l.name, done, l.perSecond))
		}
	}
	return errors.Join(errs...)
}

// printLoads says what the agent had to bear.
func printLoads(w io.Writer, loads []*load, over time.Duration) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "load\twanted/s\tdone/s\trefused/s\tthe first refusal\t")
	for _, l := range loads {
		why := ""
		if err := l.first.Load(); err != nil {
			why = strings.ReplaceAll(fmt.Sprintf("%.90s", (*err).Error()), "\n", " ")
		}
		fmt.Fprintf(table, "%s\t%d\t%.1f\t%.1f\t%s\t\n", l.name, l.perSecond,
			float64(l.done.Load())/over.Seconds(), float64(l.refused.Load())/over.Seconds(), why)
	}
	_ = table.Flush() // as above
}

// most is how many lines of a kind are printed.
const most = 12

// printComplaints lists what the agent logged at warn and above, the most frequent
// first.
func printComplaints(w io.Writer, complaints map[string]int) {
	messages := slices.SortedFunc(maps.Keys(complaints), func(a, b string) int {
		if d := complaints[b] - complaints[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, message := range messages[:min(most, len(messages))] {
		fmt.Fprintf(w, "%6d x %.140s\n", complaints[message], message)
	}
	if more := len(messages) - most; more > 0 {
		fmt.Fprintf(w, "       and %d other messages\n", more)
	}
}

// losses are the lines of a page of the agent's own metrics that count what was
// refused, dropped or lost, less those that are 0.
func losses(page string) []string {
	var found []string
	for line := range strings.Lines(page) {
		name, _, _ := strings.Cut(line, "{")
		value := line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:]
		isLoss := strings.Contains(name, "refused") || strings.Contains(name, "dropped") || strings.Contains(name, "lost")
		if isLoss && !strings.HasPrefix(line, "#") && strings.TrimSpace(value) != "0" {
			found = append(found, withoutScope(strings.TrimSpace(line)))
		}
	}
	return found
}

// withoutScope takes out labels that all lines have.
func withoutScope(line string) string {
	name, rest, ok := strings.Cut(line, "{")
	labels, value, closed := strings.Cut(rest, "}")
	if !ok || !closed {
		return line
	}
	kept := slices.DeleteFunc(strings.Split(labels, ","), func(label string) bool {
		return strings.HasPrefix(label, "otel_scope_") || strings.HasPrefix(label, "service_")
	})
	return name + "{" + strings.Join(kept, ",") + "}" + value
}
