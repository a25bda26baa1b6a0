package runner

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A scrape that fails logs a line, every few seconds for as long as the
// application does not answer: what counts is the first ones.
const (
	logWindow = 10 * time.Minute
	logLines  = 3
	// logMessages are more than the receivers of this distribution have warnings
	// that come again and again; a message takes some 200 bytes.
	logMessages = 64
)

// thinner counts lines that are the same, for all receivers that one Runner starts: a
// container a second that cannot be reached is one rule's trouble. Any goroutine may
// use it.
type thinner struct {
	mu    sync.Mutex // guards lines
	lines map[line]*written
}

// line is what lines have in common that are the same.
type line struct{ rule, message string }

// longestMessage tells messages apart; the rest of a longer one is what a container
// has answered.
const longestMessage = 256

func newLine(rule, message string) line {
	return line{rule, strings.Clone(message[:min(len(message), longestMessage)])}
}

type written struct {
	since time.Time
	times int
}

// allow tells whether a line may be written, and counts it.
func (t *thinner) allow(l line, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.lines[l]
	if w == nil {
		w = t.begin(l, now)
	}
	if now.Sub(w.since) >= logWindow {
		*w = written{since: now}
	}
	w.times++
	return w.times <= logLines
}

// begin makes room for a line. Where there is none, what is written is counted as one:
// messages that never come twice would fill the log as well. The caller holds mu.
func (t *thinner) begin(l line, now time.Time) *written {
	if t.lines == nil {
		t.lines = map[line]*written{}
	}
	if len(t.lines) >= logMessages {
		for old, w := range t.lines {
			if now.Sub(w.since) >= logWindow {
				delete(t.lines, old)
			}
		}
	}
	if len(t.lines) >= logMessages {
		l = line{}
		if w := t.lines[l]; w != nil {
			return w
		}
	}
	w := &written{since: now}
	t.lines[l] = w
	return w
}

// thinned is the log of a receiver: warnings and worse, thinned, and nothing while it
// wanes.
type thinned struct {
	zapcore.Core
	rule string
	gate *gate
	by   *thinner
}

// Enabled implements [zapcore.Core]. What goes well, discovery itself tells.
func (t thinned) Enabled(level zapcore.Level) bool {
	return level >= zapcore.WarnLevel && t.Core.Enabled(level)
}

// With implements [zapcore.Core].
func (t thinned) With(fields []zapcore.Field) zapcore.Core {
	t.Core = t.Core.With(fields)
	return t
}

// Check implements [zapcore.Core].
func (t thinned) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if t.gate.waning.Load() || !t.Enabled(e.Level) || !t.by.allow(newLine(t.rule, e.Message), e.Time) {
		return ce
	}
	return t.Core.Check(e, ce)
}

// panicked logs where a receiver has panicked: once for each place, and not for each
// of the containers that have the same trouble. The runtime prints a hundred frames at
// most.
func (s *slot) panicked(i *instance, v verb, value any, stack []byte) {
	if s.hasPanicked.Swap(true) {
		return
	}
	s.runner.complain("a receiver has panicked", i,
		zap.String("while", string(v)), zap.String("panic", fmt.Sprint(value)), zap.ByteString("stack", stack))
}

// complain logs trouble of a receiver, thinned like its own lines.
func (r *Runner) complain(message string, i *instance, fields ...zap.Field) {
	if r.thinner.allow(newLine(i.spec.Rule, message), time.Now()) {
		r.o.Settings.Logger.Error(message, append(about(i), fields...)...)
	}
}

// about says whose a line is.
func about(i *instance) []zap.Field {
	return []zap.Field{
		zap.String("discovery.rule", i.spec.Rule), zap.String("discovery.receiver", i.spec.Receiver),
		zap.String("container.id", i.spec.Target),
	}
}
