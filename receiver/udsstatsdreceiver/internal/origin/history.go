package origin

import (
	"sync"
	"time"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

const (
	// slack is how wrong the time of an event may be: it goes through the wall
	// clock, and who reads two clocks may be interrupted in between. That was a
	// few milliseconds on a machine with twice as many busy threads as
	// processors. Numbers are not given again within it but by force.
	slack = 50 * time.Millisecond
	// keepEnded is how long the ended stay known, maxEnded how many: who asks
	// waits in the queue of a socket, and then for the stream, which is a
	// second (patience) at most.
	keepEnded = time.Minute
	maxEnded  = 32768
)

// holder is a process that has, or had, a number.
type holder struct {
	start  uint64            // ticks since boot
	to     time.Duration     // when it ended, 0 while it lives
	cgroup *container.Cgroup // its container as last told, nil for none
}

// overlaps tells whether it may have sent between since and until.
func (h *holder) overlaps(since, until time.Duration) bool {
	return startedAfter(h.start) <= until && (h.to == 0 || h.to+slack >= since)
}

// history is who had which number when, as the process stream tells it. It is
// safe for concurrent use.
type history struct {
	mu    sync.Mutex // guards what follows
	byPID map[int32][]holder
	ended []ended // in order
	// told is the time of the last event; whole is since when none is missing.
	told, whole time.Duration
}

type ended struct {
	pid   int32
	start uint64
	at    time.Duration
}

func newHistory(now time.Duration) *history {
	return &history{byPID: map[int32][]holder{}, whole: now}
}

// apply takes events in the order of the stream.
func (h *history) apply(events []hostview.ProcessEvent) {
	boot := bootTime()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range events {
		h.event(&events[i], events[i].At.Sub(boot))
	}
	h.expire()
}

func (h *history) event(e *hostview.ProcessEvent, at time.Duration) {
	h.told = max(h.told, at)
	if e.Kind == procstream.OOMKilled {
		return // its end follows
	}
	pid := int32(e.PID)
	p := h.find(pid, e.Start)
	if p.to != 0 {
		return // two ends of one process
	}
	p.cgroup = e.Container
	if e.Kind == procstream.Exited {
		p.to = at
		h.ended = append(h.ended, ended{pid: pid, start: e.Start, at: at})
	}
}

// find returns the place of a process. Another one that is said to live under
// its number has ended untold.
func (h *history) find(pid int32, start uint64) *holder {
	list := h.byPID[pid]
	for i := range list {
		if list[i].start == start {
			return &list[i]
		}
	}
	for i := range list {
		if list[i].to == 0 {
			list[i].to = startedBefore(start)
			h.ended = append(h.ended, ended{pid: pid, start: list[i].start, at: list[i].to})
		}
	}
	list = append(list, holder{start: start})
	h.byPID[pid] = list
	return &list[len(list)-1]
}

func (h *history) expire() {
	n := 0
	for n < len(h.ended) && (len(h.ended)-n > maxEnded || h.ended[n].at+keepEnded < h.told) {
		h.forget(h.ended[n])
		n++
	}
	if n > 0 {
		h.ended = append(h.ended[:0], h.ended[n:]...)
	}
}

func (h *history) forget(e ended) {
	list := h.byPID[e.pid]
	for i := range list {
		if list[i].start == e.start {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(h.byPID, e.pid)
		return
	}
	h.byPID[e.pid] = list
}

// lost says that events are missing.
func (h *history) lost(now time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.byPID)
	h.ended = h.ended[:0]
	h.whole = now
}

// covers tells whether all that happened until then has been told.
func (h *history) covers(until time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told >= until+slack
}

// holders appends those who may have sent between since and until. It is not
// whole if there may be others that nobody told of.
func (h *history) holders(buf []holder, pid int32, since, until time.Duration) (found []holder, whole bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	whole = h.whole <= since
	for _, p := range h.byPID[pid] {
		if !p.overlaps(since, until) {
			continue
		}
		buf = append(buf, p)
		// It had the number all the time before the gap ended.
		whole = whole || startedBefore(p.start) <= since && (p.to == 0 || p.to >= h.whole)
	}
	return buf, whole
}

// size is how many processes are remembered.
func (h *history) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, list := range h.byPID {
		n += len(list)
	}
	return n
}
