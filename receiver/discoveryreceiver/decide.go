package discoveryreceiver

import (
	"time"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// nameWithin is how long a container that the kernel has shown waits for the word of the
// engine about it, or of container_tag, which comes a moment later: until then its labels
// are not known, an opt-out among them, and what was started would be started anew with its
// name. It is less than half of the 5 s in which metrics have to come where nobody knows it.
const nameWithin = 2 * time.Second

// known is a container with what was decided about it.
type known struct {
	since   time.Time
	target  *target.Target // nil before the first verdict
	judged  time.Time
	verdict plan.Verdict
}

// looked is what the watch calls.
func (d *discovery) looked(all []*target.Target) {
	d.changed(all)
	d.sayHidden()
}

// changed takes a new list of containers from the watch.
func (d *discovery) changed(all []*target.Target) {
	d.deciding.Lock()
	defer d.deciding.Unlock()
	d.targets = all
	d.decide()
}

// sayHidden says once what is not to be seen of containers, and what that would take.
func (d *discovery) sayHidden() {
	d.deciding.Lock()
	defer d.deciding.Unlock()
	stats := d.watch.Stats()
	if stats.Unseen > 0 && !d.hidden.unseen {
		d.hidden.unseen = true
		d.log.Info("no process of some containers is to be seen from here: what runs in them and who listens is not known; "+
			"an agent in a container needs the host's processes (--pid host)", zap.Int("containers", stats.Unseen))
	}
	if stats.Blind > 0 && !d.hidden.blind {
		d.hidden.blind = true
		d.log.Info("who listens in some containers is not known: that takes root, or CAP_SYS_PTRACE", zap.Int("containers", stats.Blind))
	}
}

// decide says what is wanted now. The caller holds deciding.
func (d *discovery) decide() {
	if d.isOver {
		return
	}
	var wanted []spec.Spec
	var next time.Duration
	present := make(map[string]string, len(d.targets))
	now := time.Now()
	for _, t := range d.targets {
		present[t.ID] = t.Name
		k := d.known[t.ID]
		if k == nil {
			k = &known{since: now}
			d.known[t.ID] = k
		}
		if wait := d.unnamed(t, k, now); wait > 0 {
			next = sooner(next, wait)
			continue
		}
		if k.target == nil || !k.target.Equal(t) || d.askAgain(k, now) == 0 {
			d.judge(k, t)
			k.judged = now
		}
		next = sooner(next, max(0, d.askAgain(k, now)))
		wanted = append(wanted, d.dist.possible(k.verdict.Specs)...)
	}
	d.forget(present)
	d.journal.expect(present, wanted)
	d.runner.Set(wanted)
	if next > 0 {
		d.decideIn(next)
	}
}

// sooner is the shorter of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// askAgain is how long to wait until the plan is asked again about a container that has
// not changed: something that it asks for may be there by then. Below 0 is never.
func (d *discovery) askAgain(k *known, now time.Time) time.Duration {
	if !k.verdict.Again {
		return -1
	}
	return max(0, k.judged.Add(d.o.Config.LookInterval).Sub(now))
}

// unnamed is how long to wait until somebody says what a container is called; 0 if not
// at all.
func (d *discovery) unnamed(t *target.Target, k *known, now time.Time) time.Duration {
	if t.Name != "" || k.target != nil || !d.isNamed() {
		return 0
	}
	return max(0, k.since.Add(nameWithin).Sub(now))
}

// isNamed tells whether somebody says what containers are called: the engine, or
// container_tag, which has said it of others.
func (d *discovery) isNamed() bool {
	if d.engine.isAsked.Load() && !d.engine.isAway.Load() {
		return true
	}
	return d.view != nil && d.view.Identities().Stats().Containers > 0
}

// judge asks the plan about a container and tells what cannot be.
func (d *discovery) judge(k *known, t *target.Target) {
	k.target, k.verdict = t, d.plan.Of(t)
	if d.findings != nil {
		d.findings.Put(t.ID, k.verdict.Target.Technologies)
	}
	d.journal.refused(t, k.verdict.Refused)
	for _, w := range k.verdict.Waiting {
		d.log.Debug("a label asks for what is not there yet", zap.String("container.id", t.ID), zap.String("container", t.Name), zap.String("wish", w))
	}
}

// forget lets go of containers that have gone.
func (d *discovery) forget(present map[string]string) {
	for id := range d.known {
		if _, isThere := present[id]; isThere {
			continue
		}
		delete(d.known, id)
		if d.findings != nil {
			d.findings.Remove(id)
		}
	}
}

// decideIn decides again after a while, whether anything changes or not.
func (d *discovery) decideIn(wait time.Duration) {
	if d.again != nil {
		d.again.Stop()
	}
	d.again = time.AfterFunc(wait, func() {
		d.deciding.Lock()
		defer d.deciding.Unlock()
		d.decide()
	})
}

// endDeciding takes back what was found. Nothing is decided after it.
func (d *discovery) endDeciding() {
	d.deciding.Lock()
	defer d.deciding.Unlock()
	d.isOver = true
	if d.again != nil {
		d.again.Stop()
	}
	d.forget(nil)
}
