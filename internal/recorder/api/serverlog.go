package api

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

// serverLogEvery is the time between two lines of what net/http logs by itself: each
// connection that does not speak TLS would be one.
const serverLogEvery = time.Minute

// serverLog passes the first line of a while on and counts the others, whose number
// the next one carries. Any goroutine of the server writes to it.
type serverLog struct {
	to *slog.Logger

	mu      sync.Mutex
	next    time.Time
	skipped int
}

// Write implements io.Writer for a log.Logger: one call is one line.
func (l *serverLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.next) {
		l.skipped++
		return len(line), nil
	}
	l.to.Warn(strings.TrimSpace(string(line)), "others since the last line", l.skipped)
	l.next, l.skipped = now.Add(serverLogEvery), 0
	return len(line), nil
}
