package origin

import (
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of start times in /proc/PID/stat: USER_HZ, 10 ms on every
// architecture Go supports. Start times are rounded down.
const tick = 10 * time.Millisecond

// Clock is the time since boot, on the clock of process start times.
func Clock() time.Duration {
	var ts unix.Timespec
	// It has no error on Linux but for a clock that does not exist (before 2.6.39).
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}

// startedAfter is the earliest moment at which a process may have started, and
// startedBefore the latest.
func startedAfter(start uint64) time.Duration  { return time.Duration(start) * tick }
func startedBefore(start uint64) time.Duration { return startedAfter(start) + tick }

// bootTime is the wall time of boot. Being interrupted between the two clocks
// only makes it later, so that the earliest of a few is the best.
func bootTime() time.Time {
	var best time.Time
	for range 3 {
		since := Clock()
		if t := time.Now().Add(-since); best.IsZero() || t.Before(best) {
			best = t
		}
	}
	return best
}
