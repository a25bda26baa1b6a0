package eventstore

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// The clock of an application can be wrong by any amount, and its times decide
// what a scan reads, which segments a pin keeps and where a recovery says that
// the events end. So a record's own time counts only near its arrival.
const (
	// maxAhead is twice what the metric store grants a sample (see OutOfOrder
	// there): a clock that is kept by NTP is never so far off.
	maxAhead = 2 * time.Minute
	// maxBehind covers what waits in a queue while the way here is broken. A
	// scan may have to read the frames of as much time beside those it wants.
	maxBehind = time.Hour
)

// timeOf returns the time under which a record is found, in Unix nanoseconds:
// its own one, or when it was observed if it has none or the two are too far
// apart. Append has seen to it that one of them is credible.
func timeOf(own, observed uint64) int64 {
	if own == 0 || observed != 0 && !isNear(own, observed) {
		return int64(observed)
	}
	return int64(own)
}

func isNear(at, arrival uint64) bool {
	if at > arrival {
		return at-arrival <= uint64(maxAhead)
	}
	return arrival-at <= uint64(maxBehind)
}

// stamped returns logs, or a copy in which each record has a credible time: those
// without any get now, the others now as the time when they were observed, and
// keep their own.
func stamped(logs plog.Logs, now time.Time) plog.Logs {
	arrival := pcommon.NewTimestampFromTime(now)
	if eachRecord(logs, func(r plog.LogRecord) bool { return isCredible(r, arrival) }) {
		return logs
	}
	own := plog.NewLogs()
	logs.CopyTo(own)
	eachRecord(own, func(r plog.LogRecord) bool {
		switch {
		case isCredible(r, arrival):
		case r.Timestamp() == 0 && r.ObservedTimestamp() == 0:
			r.SetTimestamp(arrival)
		default:
			r.SetObservedTimestamp(arrival)
		}
		return true
	})
	return own
}

func isCredible(r plog.LogRecord, arrival pcommon.Timestamp) bool {
	at := timeOf(uint64(r.Timestamp()), uint64(r.ObservedTimestamp()))
	return at > 0 && isNear(uint64(at), uint64(arrival))
}

// eachRecord calls f until it returns false, and tells whether it never did.
func eachRecord(logs plog.Logs, f func(plog.LogRecord) bool) bool {
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, r := range scope.LogRecords().All() {
				if !f(r) {
					return false
				}
			}
		}
	}
	return true
}
