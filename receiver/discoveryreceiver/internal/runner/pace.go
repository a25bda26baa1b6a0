package runner

import (
	"cmp"
	"time"
)

// Pace says how fast receivers are started, stopped and tried again.
type Pace struct {
	// Start and Stop are how long Start and Shutdown of a receiver may take,
	// by the context they are given; 0 is 10 s, the time that Docker gives a
	// container to end. Who takes a tenth more is not waited for any longer.
	Start, Stop time.Duration
	// Linger is how long a receiver that is not wanted any more runs on: a
	// container that is restarted keeps it. 0 is 1 s, of the 5 s in which a
	// receiver has to be gone. Negative is none. It is also how long metrics of
	// an address that is not wanted any more count while another one starts.
	Linger time.Duration
	// First is the wait after the first failure, doubled with each further one
	// up to Longest; 0 is 1 s and 1 min.
	First, Longest time.Duration
	// Free is how often a place may be started anew, be it for changes or
	// because its container comes and goes, before that is slowed down in the
	// same way; 0 is 5. A place that has not been started for twice Longest
	// begins anew.
	Free int
}

func (p Pace) withDefaults() Pace {
	p.Start = cmp.Or(p.Start, 10*time.Second)
	p.Stop = cmp.Or(p.Stop, 10*time.Second)
	p.Linger = cmp.Or(p.Linger, time.Second)
	p.First = cmp.Or(p.First, time.Second)
	p.Longest = cmp.Or(p.Longest, time.Minute)
	p.Free = cmp.Or(p.Free, 5)
	return p
}

func (p Pace) limit(v verb) time.Duration {
	if v == toStop {
		return p.Stop
	}
	return p.Start
}

// pacer says when a place may be tried next. It belongs to the goroutine of the
// place, and to the runner while there is none.
type pacer struct {
	Pace
	tries    int // since it was calm
	failures int // one after the other
	last     time.Time
}

// wait is how long the next try has to wait; 0 if not at all.
func (p *pacer) wait(now time.Time) time.Duration {
	if p.last.IsZero() {
		return 0
	}
	pause := max(p.delay(p.failures), p.delay(p.tries-p.Free+1))
	return max(0, p.last.Add(pause).Sub(now))
}

// delay is First for one, then doubles.
func (p *pacer) delay(times int) time.Duration {
	if times <= 0 {
		return 0
	}
	d := p.First
	for range times - 1 {
		if d >= p.Longest {
			break
		}
		d *= 2
	}
	return min(d, p.Longest)
}

// begin counts a try.
func (p *pacer) begin(now time.Time) {
	if p.calm(now) {
		p.tries, p.failures = 0, 0
	}
	p.tries++
	p.last = now
}

// end says how the try went.
func (p *pacer) end(err error) {
	if err != nil {
		p.failures++
		return
	}
	p.failures = 0
}

// changed: what is wanted is something else now, which has not failed yet.
func (p *pacer) changed() { p.failures = 0 }

// calm tells whether the last try was long ago.
func (p *pacer) calm(now time.Time) bool {
	return p.last.IsZero() || now.Sub(p.last) >= 2*p.Longest
}
