// Package runner starts and stops receivers within a running Collector: it is
// told which are wanted, and sees to it that these run and no others.
//
// Promise: what is told is never waited for. Each wanted receiver has a place of
// its own, by container, rule and receiver; what happens in one place (a start
// that hangs, a fatal error) does not reach the others, nor the Collector. A panic
// while a receiver is created, started or stopped is its failure, and logged with
// its stack; one in a goroutine that the receiver itself has started ends the
// Collector, as everywhere in Go.
//
// A receiver whose configuration changes is replaced: the new one runs before the
// old one is stopped, and from then on the old one's metrics are dropped, so that
// its last scrapes of an address that is gone end no series. The old one goes first
// where both do not get along: they listen at one port, or name a storage. It goes
// at once, too, where the new one has to wait for its turn and asks another address
// or for something else: the old address may be another container's by then. For the
// same reason the metrics of the old one are dropped when the new one takes longer
// than [Pace.Linger] to start.
//
// What cannot start is told once until it is wanted in another way, and tried
// again, later and later, unless trying again is of no use: [ErrNotAllowed],
// [ErrUnknown], [ErrConfig], [ErrSignals].
//
// What a receiver produces carries the container's resource attributes. An
// attribute that the receiver sets itself stays, but for container.id: who a
// container is, is not for its application to say (target_info of Prometheus
// becomes resource attributes).
//
// Nothing in a configuration is expanded here: ${env:...} has been resolved by the
// Collector where it came from a file, and is text where it came from elsewhere.
//
// Connections to the endpoint of its [spec.Spec] that a receiver keeps while it is
// stopped and leaves behind are ended, unless another receiver is wanted there.
//
// A receiver is made and started, or stopped, in a goroutine of its own. Who takes more
// than [Pace.Start] or [Pace.Stop], and a tenth, is told once as [Overdue] and left to
// itself: nothing comes from it any more, what starts late is stopped then, and until
// it returns it holds room in [Options.Limit]. A place with three of them waits until
// one returns. A start that is not wanted any more is left in the same way after
// [Pace.Linger].
//
// Concurrency: all methods of a Runner may be called by any goroutine. Its owner
// calls Shutdown, which takes at most [Pace.Stop], a tenth and a second. After it
// nothing of it is left but receivers that do not return from Start or Shutdown,
// which its error names; what they still produce goes nowhere, but for a batch that
// is on its way to the next component at that moment.
//
// Cost: one goroutine for each place, and what the receiver itself needs. The own
// metrics of receivers started here are not kept: each container would leave
// series behind in the Collector's telemetry that never end. Of their log are kept
// warnings and errors, three of one message and rule in ten minutes, whatever
// container they are about, and none while a receiver runs on that is not wanted any
// more.
//
// Kernel needs: none.
package runner
