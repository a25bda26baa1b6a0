package recorder

import (
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// Sink takes what is to be kept. Data that were handed to it are not changed, and may
// be kept for a while. It is safe for concurrent use, and returns when the data are
// taken: in memory, not on disk.
type Sink interface {
	Metrics(pmetric.Metrics)
	Logs(plog.Logs)
	Traces(ptrace.Traces)
	// WatchQueue shows a queue in front of the sink on the recorder's own page, until
	// release is called. Read is called from any goroutine.
	WatchQueue(signal string, read func() Queue) (release func())
}

// Queue is how full a queue in front of a [Sink] is: in points, records or spans.
type Queue struct {
	Waiting, Limit int
	// Dropped counts since the start.
	Dropped uint64
}

// Announcer tells of finished captures.
type Announcer interface {
	// Announce calls f with a log record for each capture from now on, until stop
	// returns. F is called by one goroutine and must not block.
	Announce(f func(plog.Logs)) (stop func())
}
