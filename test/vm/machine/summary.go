package machine

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Phases collects wall times. It is for one goroutine.
type Phases struct {
	last  time.Time
	names []string
}

// StartPhases begins the first phase.
func StartPhases() *Phases { return &Phases{last: time.Now()} }

// Done closes the phase that began with the previous call.
func (p *Phases) Done(name string) {
	now := time.Now()
	p.names = append(p.names, fmt.Sprintf("%s %.1fs", name, now.Sub(p.last).Seconds()))
	p.last = now
}

// String lists the phases in their order.
func (p *Phases) String() string { return strings.Join(p.names, ", ") }

// Summarize prints what ran and how long it took by the guest's own clock.
func (r *Report) Summarize(out io.Writer) {
	for i, p := range r.runs {
		end := r.endTime
		if i+1 < len(r.runs) {
			end = r.runs[i+1].start
		}
		if i == 0 {
			fmt.Fprintf(out, "guest time: boot %.1fs\n", p.start)
		}
		fmt.Fprintf(out, "guest time: %s %.1fs: %d passed, %d failed, %d skipped\n",
			p.name, max(end-p.start, 0), p.passed, len(p.failed), p.skipped)
	}
}
