package discoveryreceiver

import (
	"time"

	"go.uber.org/zap"
)

// lines bounds what is logged in a minute. What was left out is told with the next
// line that is not.
type lines struct {
	since         time.Time
	written, left int
}

const (
	// linesEvery and mostLines: a deployment that starts thirty containers at once is
	// told in full, one that starts a container each second is not.
	linesEvery = time.Minute
	mostLines  = 30
)

// allow tells whether a line may be written, and what to say in it beside.
func (l *lines) allow(now time.Time) ([]zap.Field, bool) {
	if l.full(now) > 0 {
		return nil, false
	}
	l.written++
	if l.left == 0 {
		return nil, true
	}
	left := zap.Int("lines_left_out", l.left)
	l.left = 0
	return []zap.Field{left}, true
}

// full is how long no line may be written; 0 if one may be.
func (l *lines) full(now time.Time) time.Duration {
	if now.Sub(l.since) >= linesEvery {
		l.since, l.written = now, 0
	}
	if l.written < mostLines {
		return 0
	}
	return l.since.Add(linesEvery).Sub(now)
}
