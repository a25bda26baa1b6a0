package cgroup

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// parseCheck tries parse functions that fill a Sample.
type parseCheck struct {
	t     *testing.T
	parse func([]byte, *Sample) error
}

// accept demands that text turns before into want.
func (c parseCheck) accept(text string, before, want Sample) {
	c.t.Helper()
	got := before
	if err := c.parse([]byte(text), &got); err != nil {
		c.t.Errorf("parse %q: %v", text, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("parse %q: (-want +got)\n%s", text, diff)
	}
}

// refuse demands an error and a sample that stays as it was.
func (c parseCheck) refuse(text string, want error) {
	c.t.Helper()
	before := fullSample()
	got := fullSample()
	if err := c.parse([]byte(text), &got); !errors.Is(err, want) {
		c.t.Errorf("parse %q: %v; want %v", text, err, want)
	}
	if diff := cmp.Diff(before, got); diff != "" {
		c.t.Errorf("parse %q changed the sample (-before +after)\n%s", text, diff)
	}
}

// fullSample has another value in every field.
func fullSample() Sample {
	stall := Stall{Total: 31, Avg10: 0.32, Avg60: 0.33, Avg300: 0.34}
	pressure := Pressure{Some: stall, Full: stall, HasFull: true}
	return Sample{
		Have: PartsAll, Known: PartsAll,
		CPU:         CPU{Usage: 3, User: 1, System: 2, Periods: 5, ThrottledPeriods: 4, ThrottledTime: 6},
		Memory:      Memory{Usage: 7, Peak: 8, RSS: 9, Cache: 10, InactiveFile: 11, Kernel: 12, Swap: 13, Faults: 14, MajorFaults: 15},
		Events:      Events{Low: 16, High: 17, Max: 18, OOM: 19, OOMKill: 20, OOMGroupKill: 21},
		IO:          []DeviceIO{{Major: 22, Minor: 23, ReadBytes: 24, WriteBytes: 25, Reads: 26, Writes: 27}},
		Pids:        28,
		CPUPressure: pressure, MemoryPressure: pressure, IOPressure: pressure,
		Limits: Limits{Memory: 35, Swap: 36, Pids: 37, CPUQuota: 38, CPUPeriod: 39},
	}
}

func TestParseV1Usage(t *testing.T) {
	c := parseCheck{t, parseV1Usage}
	c.accept("658737748\n", Sample{}, Sample{CPU: CPU{Usage: 658737748}})
	c.accept("0\n", Sample{}, Sample{})
	c.accept("9223372036854775807\n", Sample{}, Sample{CPU: CPU{Usage: math.MaxInt64}})
	c.refuse("9223372036854775808\n", ErrMalformed) // would be negative
	c.refuse("658737748", ErrTruncated)
	c.refuse("", ErrTruncated)
}

func TestParseV1Split(t *testing.T) {
	c := parseCheck{t, parseV1Split}
	usage := func(d time.Duration) Sample { return Sample{CPU: CPU{Usage: d}} }
	c.accept("user 24\nsystem 41\n", usage(650), Sample{CPU: CPU{Usage: 650, User: 240, System: 410}})
	c.accept("user 0\nsystem 0\n", usage(650), Sample{CPU: CPU{Usage: 650, User: 650}}) // too short for a tick
	c.accept("user 0\nsystem 9\n", usage(650), Sample{CPU: CPU{Usage: 650, System: 650}})
	c.accept("user 0\nsystem 0\n", usage(0), Sample{})
	// The ticks say all user now, but 400 of system time were reported before.
	c.accept("user 100\nsystem 0\n", Sample{CPU: CPU{Usage: 1000, User: 500, System: 400}}, Sample{CPU: CPU{Usage: 1000, User: 600, System: 400}})
	c.accept("user 0\nsystem 100\n", Sample{CPU: CPU{Usage: 1000, User: 500, System: 400}}, Sample{CPU: CPU{Usage: 1000, User: 500, System: 500}})
	c.accept("user 1\nsystem 1\n", Sample{CPU: CPU{Usage: 899, User: 500, System: 400}}, Sample{CPU: CPU{Usage: 900, User: 500, System: 400}})
	c.refuse("user 24\n", ErrMissingKey)
	c.refuse("user 24\nsystem 4", ErrTruncated)
	c.refuse("user -1\nsystem 4\n", ErrMalformed)
}

// TestV1SplitMonotonic: whatever the ticks do, the parts add up to the usage
// and never go back.
func TestV1SplitMonotonic(t *testing.T) {
	ticks := []string{
		"user 0\nsystem 0\n", "user 1\nsystem 0\n", "user 1\nsystem 1\n", "user 1\nsystem 90\n",
		"user 200\nsystem 90\n", "user 0\nsystem 1\n", "user 18446744073709551615\nsystem 1\n",
		"user 18446744073709551615\nsystem 18446744073709551615\n",
	}
	var s Sample
	for i := range 1000 {
		before := s.CPU
		s.CPU.Usage = time.Duration(i * i * 1000)
		switch {
		case i%7 == 0:
			s.CPU.Usage /= 2 // a usage that goes back, as after a lost write
		case i >= 990:
			s.CPU.Usage = math.MaxInt64 - time.Duration(999-i) // beyond float64
		}
		if err := parseV1Split([]byte(ticks[i%len(ticks)]), &s); err != nil {
			t.Fatal(err)
		}
		c := s.CPU
		if c.User+c.System != c.Usage || c.User < before.User || c.System < before.System {
			t.Fatalf("step %d: %+v after %+v", i, c, before)
		}
	}
}

func TestParseV1Throttling(t *testing.T) {
	c := parseCheck{t, parseV1Throttling}
	c.accept("nr_periods 15\nnr_throttled 12\nthrottled_time 553021750\nnr_bursts 0\nburst_time 0\n", Sample{},
		Sample{CPU: CPU{Periods: 15, ThrottledPeriods: 12, ThrottledTime: 553021750}})
	c.accept("nr_periods 0\nnr_throttled 0\nthrottled_time 0\n", Sample{}, Sample{})
	// A period ended between the kernel's two reads.
	c.accept("nr_periods 15\nnr_throttled 16\nthrottled_time 1\n", Sample{}, Sample{CPU: CPU{Periods: 15, ThrottledPeriods: 15, ThrottledTime: 1}})
	c.refuse("nr_periods 15\nnr_throttled 12\n", ErrMissingKey)
	c.refuse("nr_periods 15\nnr_throttled 12\nthrottled_time 9223372036854775808\n", ErrMalformed)
	c.refuse("nr_periods 15\nnr_throttled 12\nthrottled_time 5530", ErrTruncated)
}

func TestParseOOMControl(t *testing.T) {
	c := parseCheck{t, parseOOMControl}
	c.accept("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", Sample{}, Sample{Events: Events{OOMKill: 3}})
	c.accept("oom_kill_disable 1\nunder_oom 1\noom_kill 0\n", Sample{}, Sample{})
	c.refuse("oom_kill_disable 0\nunder_oom 0\n", ErrMissingKey) // before 4.13
	c.refuse("oom_kill_disable 0\nunder_oom 0\noom_kill 3", ErrTruncated)
	c.refuse("", ErrMissingKey)
}

func TestParseV1MemoryStat(t *testing.T) {
	c := parseCheck{t, parseV1MemoryStat}
	text := fixtureFile(t, "hybrid", "memory/docker/"+containerID+"/memory.stat")
	want := Memory{Cache: 34529280, RSS: 29118464, InactiveFile: 32624640, Faults: 9294, MajorFaults: 5}
	c.accept(text, Sample{}, Sample{Memory: want})
	c.accept(text, Sample{Memory: Memory{Usage: 1, Peak: 2, Kernel: 3, Swap: 4}}, Sample{Memory: Memory{
		Usage: 1, Peak: 2, Kernel: 3, Cache: 34529280, RSS: 29118464, InactiveFile: 32624640, Faults: 9294, MajorFaults: 5,
	}})
	c.refuse("cache 1\nrss 2\nswap 0\npgfault 5\npgmajfault 0\ninactive_file 0\n", ErrMissingKey) // the cgroup alone
	c.refuse(text[:len(text)-1], ErrTruncated)
	c.refuse("", ErrMissingKey)
}

func TestParseV1MemoryLimits(t *testing.T) {
	c := parseCheck{t, parseV1MemoryLimit}
	limits := func(memory, swap uint64) Sample { return Sample{Limits: Limits{Memory: memory, Swap: swap}} }
	c.accept("67108864\n", Sample{}, limits(67108864, 0))
	c.accept("9223372036854771712\n", Sample{}, limits(Unlimited, 0)) // 4 KiB pages
	c.accept("9223372036854710272\n", Sample{}, limits(Unlimited, 0)) // 64 KiB pages
	c.accept("9223372036854775807\n", Sample{}, limits(Unlimited, 0)) // before 3.19
	c.accept("9223372036854710271\n", Sample{}, limits(9223372036854710271, 0))
	c.refuse("-1\n", ErrMalformed)
	c.refuse("6710", ErrTruncated)

	c = parseCheck{t, parseV1SwapLimit}
	c.accept("100663296\n", limits(67108864, 0), limits(67108864, 33554432))
	c.accept("67108864\n", limits(67108864, 5), limits(67108864, 0))
	c.accept("67108863\n", limits(67108864, 5), limits(67108864, 0)) // changed between the two reads
	c.accept("9223372036854771712\n", limits(67108864, 0), limits(67108864, Unlimited))
	c.accept("9223372036854771712\n", limits(Unlimited, 0), limits(Unlimited, Unlimited))
	c.accept("100663296\n", limits(Unlimited, 0), limits(Unlimited, Unlimited))
	c.refuse("1006", ErrTruncated)
	c.refuse("max\n", ErrMalformed)
}

func TestParseV1CPULimit(t *testing.T) {
	quota := func(q, p time.Duration) Sample { return Sample{Limits: Limits{CPUQuota: q, CPUPeriod: p}} }
	c := parseCheck{t, parseV1Period}
	c.accept("100000\n", Sample{}, quota(0, 100*time.Millisecond))
	c.refuse("0\n", ErrMalformed)
	c.refuse("-1\n", ErrMalformed)
	c.refuse("100000", ErrTruncated)
	c.refuse("9223372036854776\n", ErrMalformed)

	c = parseCheck{t, parseV1Quota}
	c.accept("50000\n", quota(1, 2), quota(50*time.Millisecond, 2))
	c.accept("-1\n", quota(1, 2), quota(0, 2))
	c.refuse("-1", ErrTruncated)
	c.refuse("-2\n", ErrMalformed)
	c.refuse("0\n", ErrMalformed) // 0 would say "no limit"
	c.refuse("50000\n1\n", ErrMalformed)
	c.refuse("50000", ErrTruncated)
	c.refuse("9223372036854776\n", ErrMalformed)
}
