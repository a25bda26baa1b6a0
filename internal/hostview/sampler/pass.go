package sampler

import (
	"errors"
	"time"

	"github.com/tallymanhq/tallyman/internal/cgroup"
)

// Pass is one reading of all targets, and what a consumer has not seen yet.
type Pass struct {
	// At is when the reading was made.
	At time.Time
	// Live are the targets that are there; those with a zero At field have
	// not been read.
	Live []*Target
	// Ended are gone since the consumer's last pass.
	Ended []*Target
	// Events since the consumer's last pass, oldest first.
	Events []Event
	// Pressure is the host's.
	Pressure HostPressure
}

// Consumer is one reader of a sampler's passes.
type Consumer struct {
	sampler *Sampler
	queue   queue
}

// Subscribe returns a new consumer; Close it.
func (s *Sampler) Subscribe() *Consumer {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Consumer{sampler: s}
	s.consumers[c] = struct{}{}
	return c
}

// Close removes the consumer; what waited for it is gone.
func (c *Consumer) Close() {
	c.sampler.mu.Lock()
	defer c.sampler.mu.Unlock()
	c.sampler.stats.DroppedEvents += c.queue.dropped
	delete(c.sampler.consumers, c)
}

// Collect makes a pass, or takes the last one if it is younger than half an
// interval, and calls f with it. The pass and all it points to are valid only
// during the call.
func (c *Consumer) Collect(f func(*Pass)) {
	s := c.sampler
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.Sub(s.passAt) >= s.settings.Interval/2 {
		s.pass(now)
	}
	f(&Pass{
		At:       s.passAt,
		Live:     s.order,
		Ended:    c.queue.ended,
		Events:   c.queue.events,
		Pressure: s.pressure.last,
	})
	c.queue.clear()
}

func (s *Sampler) pass(now time.Time) {
	s.passAt = now
	s.stats.Passes++
	s.applyInbox(now)
	s.endDue(now)
	s.scratch = s.pressure.read(s.scratch)
	for _, t := range s.order {
		if t.ending.IsZero() {
			s.read(t, now)
		}
		s.judge(t, now)
		s.announce(t, now)
	}
	if s.settings.LayerUsage {
		s.walkLayer(now)
	}
	s.limits.sweep(now)
}

// read renews one target. A cgroup that is gone keeps its last sample;
// discovery will tell of its end.
func (s *Sampler) read(t *Target, now time.Time) {
	// The runtime makes a container's cgroups and sets its limits while it is
	// already seen: what is not there at first is soon.
	young := now.Sub(t.FirstSeen) < 2*s.settings.Interval
	slow := young || now.Sub(t.slowAt) >= s.settings.SlowInterval
	var err error
	s.scratch, err = t.reader.Read(&t.Sample, s.scratch, slow)
	if err != nil {
		if errors.Is(err, cgroup.ErrGone) {
			s.stats.Vanished++
		}
		return
	}
	t.At = now
	if t.Sample.Has(cgroup.PartCPUTime) {
		t.measureCPUs(s.now(), s.settings.Interval/2)
	}
	s.readEvents(t)
	s.watchProcesses(t, now, slow)
	if !slow {
		return
	}
	t.slowAt = now
	if t.Sample.Has(cgroup.PartMemory | cgroup.PartMemoryStat) {
		t.WorkingSet, t.HasWorkingSet = t.Sample.WorkingSet(), true
	}
	s.scratch, t.Effective = s.limits.effective(t, now, s.scratch)
	s.readFilesystem(t)
}

// measureCPUs turns the growth of the CPU time into a number of processors.
// Two readings closer than least say nothing: the first is taken when the
// container appears, which may be just before a pass.
func (t *Target) measureCPUs(now time.Time, least time.Duration) {
	elapsed := now.Sub(t.usageAt)
	if !t.usageAt.IsZero() && elapsed < least {
		return
	}
	if grown := t.Sample.CPU.Usage - t.usage; !t.usageAt.IsZero() && elapsed > 0 && grown >= 0 {
		t.CPUs, t.HasCPUs = float64(grown)/float64(elapsed), true
	}
	t.usage, t.usageAt = t.Sample.CPU.Usage, now
}
