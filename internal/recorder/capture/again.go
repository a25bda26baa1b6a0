package capture

import (
	"cmp"
	"slices"
	"time"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// toldAgain is how far the words of two sources about one incident are apart: the
// kernel's files are read once a second, and an engine tells of an end when it has
// cleaned up.
const toldAgain = 5 * time.Second

// again returns which of the triggers is the same incident, told by another event
// (container.oom and container.oom_kill, container.stop and container.die), or -1.
// What one event tells twice has happened twice.
func again(triggers []bundle.Trigger, t bundle.Trigger) int {
	return slices.IndexFunc(triggers, func(o bundle.Trigger) bool {
		return o.Kind == t.Kind && o.Container.ID == t.Container.ID && len(o.Events) > 0 && len(t.Events) > 0 &&
			!slices.Contains(o.Events, t.Events[0]) && o.At.Sub(t.At).Abs() <= toldAgain
	})
}

// merged is what two events tell of one incident: the earlier time, whatever only
// one of them knows, and the text of the one that knows the process, or says more.
func merged(a, b bundle.Trigger) bundle.Trigger {
	knows := func(t bundle.Trigger) int {
		if t.Process != nil {
			return 1
		}
		return 0
	}
	if cmp.Or(knows(b)-knows(a), len(b.Reason)-len(a.Reason)) > 0 {
		a.Reason = b.Reason
	}
	if a.Process == nil {
		a.Process = b.Process
	}
	if a.ExitCode == nil {
		a.ExitCode = b.ExitCode
	}
	if b.At.Before(a.At) {
		a.At = b.At
	}
	a.Container = completed(a.Container, b.Container)
	a.Events = slices.Concat(a.Events, b.Events)
	return a
}

// completed fills in what is not known of a container.
func completed(c, more bundle.Container) bundle.Container {
	return bundle.Container{
		ID: cmp.Or(c.ID, more.ID), Name: cmp.Or(c.Name, more.Name), Image: cmp.Or(c.Image, more.Image),
		Service: cmp.Or(c.Service, more.Service), Project: cmp.Or(c.Project, more.Project),
	}
}
