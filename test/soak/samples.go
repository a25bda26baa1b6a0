package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/test/soak/judge"
)

// lookWithin bounds one look; the agent may be short of processors.
const lookWithin = 20 * time.Second

// phase is where in its laps a run is.
type phase struct {
	lap  int
	calm bool // the agent has run undisturbed for half a lap or is about to
}

// sample is what one look has found.
type sample struct {
	phase
	at     time.Duration // since the start
	values map[string]float64
}

// samples looks again and again until it is stopped.
type samples struct {
	look  func(context.Context) (map[string]float64, error)
	begun time.Time

	mu     sync.Mutex // guards what follows
	now    phase
	all    []sample
	missed int
	why    error // of the last one that was missed
}

func (s *samples) enter(p phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = p
}

// run looks every so often, until ctx ends.
func (s *samples) run(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.take(ctx)
		}
	}
}

// take is a sample of the phase in which it begins; where that is over at its end,
// the sample is of neither.
func (s *samples) take(ctx context.Context) {
	s.mu.Lock()
	before := s.now
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	values, err := s.look(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.missed, s.why = s.missed+1, err
		return
	}
	if before != s.now {
		before.calm = false
	}
	s.all = append(s.all, sample{phase: before, at: time.Since(s.begun), values: values})
}

// last is the newest sample's values, nil before the first.
func (s *samples) last() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return nil
	}
	return s.all[len(s.all)-1].values
}

// laps returns the median of a quantity's calm samples of each lap.
func (s *samples) laps(name string, n int) ([]float64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := make([][]float64, n)
	for _, one := range s.all {
		if one.calm && one.lap < n {
			values[one.lap] = append(values[one.lap], one.values[name])
		}
	}
	medians := make([]float64, n)
	for lap, of := range values {
		if len(of) == 0 {
			return nil, fmt.Errorf("compare laps: no sample of lap %d (%d were missed, the last: %w)", lap+1, s.missed, s.why)
		}
		medians[lap] = judge.Median(of)
	}
	return medians, nil
}

// write makes a table of all samples, for a spreadsheet.
func (s *samples) write(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write samples: %w", err)
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	fmt.Fprint(out, "seconds\tlap\tcalm")
	for _, q := range quantities() {
		fmt.Fprintf(out, "\t%s", q.name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		fmt.Fprintf(out, "\n%.1f\t%d\t%t", one.at.Seconds(), one.lap+1, one.calm)
		for _, q := range quantities() {
			fmt.Fprintf(out, "\t%.4g", one.values[q.name]/q.unit)
		}
	}
	fmt.Fprintln(out)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write samples: %w", err)
	}
	return nil
}
