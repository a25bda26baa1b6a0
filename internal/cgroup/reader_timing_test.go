package cgroup

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// BenchmarkPass is what one container costs in one pass over all of them:
//
//	go test -run '^$' -bench Pass -benchtime 5x ./internal/cgroup
//	go test -run '^$' -bench 'Pass/.*/.*/hot' ./internal/cgroup
//
// Hot passes follow each other at once; cold ones a second apart, as in
// production, where everybody else has used the caches meanwhile. The cgroups
// are real but empty: their files are as long as those of busy ones, yet the
// kernel has less to add up. CPU time is that of the reading thread alone, so
// "naive" is spared most of the garbage collection that it causes. Its sum is
// precise; the split into user and system is made by ticks, so that few passes
// split it roughly.
func BenchmarkPass(b *testing.B) {
	for _, count := range []int{57, 207} {
		b.Run(strconv.Itoa(count), func(b *testing.B) {
			paths := makeCgroups(b, count)
			for _, v := range variants() {
				b.Run(v.name, func(b *testing.B) {
					b.Run("hot", func(b *testing.B) { v.bench(b, paths, 0) })
					b.Run("cold", func(b *testing.B) { v.bench(b, paths, time.Second) })
				})
			}
		})
	}
}

func makeCgroups(b *testing.B, count int) []string {
	b.Helper()
	parent := testkit.Cgroup(b, "pass")
	var paths []string
	for i := range count {
		paths = append(paths, parent.Child(strconv.Itoa(i)).Path())
	}
	return paths
}

// variant is a way to read the same files.
type variant struct {
	name string
	// open prepares one container and returns how to read it once.
	open func(b *testing.B, h *Host, path string) func()
}

func variants() []variant {
	return []variant{
		{"kept", withReader(1<<20, true)},
		{"fast", withReader(1<<20, false)},
		{"reopened", withReader(0, true)},
		{"naive", naive},
		{"parse", parseOnly},
	}
}

// bench runs passes over all paths, gap apart, and reports per container.
func (v variant) bench(b *testing.B, paths []string, gap time.Duration) {
	h, err := Detect(hostfs.NewRoots("/"))
	require.NoError(b, err)
	var reads []func()
	for _, p := range paths {
		read := v.open(b, h, p)
		read() // opens descriptors, grows buffers
		reads = append(reads, read)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	wait := waiter(b, gap)
	var sum cost
	passes, allocs := 0, mallocs()
	for b.Loop() {
		wait()
		before := costNow(b)
		for _, read := range reads {
			read()
		}
		sum.add(before, costNow(b))
		passes++
	}
	sum.allocs = mallocs() - allocs
	require.Empty(b, h.Problems().ReadErrors)
	require.Empty(b, h.Problems().ParseErrors)
	sum.report(b, float64(passes*len(paths)))
}

func waiter(b *testing.B, gap time.Duration) func() {
	if gap == 0 {
		return func() {}
	}
	ticker := time.NewTicker(gap)
	b.Cleanup(ticker.Stop)
	return func() { <-ticker.C }
}

// cost is what this thread used; allocations are the process's.
type cost struct {
	cpu, user, system, wall time.Duration
	allocs                  uint64
}

func mallocs() uint64 {
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return ms.Mallocs
}

func costNow(b *testing.B) cost {
	b.Helper()
	var cpu unix.Timespec
	var ru unix.Rusage
	// In this order: getrusage alone shows the thread as of its last tick, up
	// to 4 ms ago. Reading the clock brings the kernel's account up to date.
	require.NoError(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &cpu))
	require.NoError(b, unix.Getrusage(unix.RUSAGE_THREAD, &ru))
	return cost{
		cpu:    time.Duration(cpu.Nano()),
		user:   time.Duration(ru.Utime.Nano()),
		system: time.Duration(ru.Stime.Nano()),
		wall:   time.Duration(time.Now().UnixNano()),
	}
}

func (c *cost) add(before, after cost) {
	c.cpu += after.cpu - before.cpu
	c.user += after.user - before.user
	c.system += after.system - before.system
	c.wall += after.wall - before.wall
}

func (c *cost) report(b *testing.B, n float64) {
	us := func(d time.Duration) float64 { return float64(d) / 1e3 / n }
	b.ReportMetric(us(c.cpu), "cpu-µs/ctr")
	b.ReportMetric(us(c.user), "user-µs/ctr")
	b.ReportMetric(us(c.system), "sys-µs/ctr")
	b.ReportMetric(us(c.wall), "wall-µs/ctr")
	b.ReportMetric(float64(c.allocs)/n, "allocs/ctr")
	b.ReportMetric(0, "ns/op") // a pass with its gap
}

func withReader(budget int, slow bool) func(*testing.B, *Host, string) func() {
	return func(b *testing.B, h *Host, path string) func() {
		r := h.NewReader(path, hostfs.NewBudget(budget), PartsAll)
		b.Cleanup(r.Close)
		s := new(Sample)
		buf, err := r.Read(s, make([]byte, 0, 16<<10), true)
		require.NoError(b, err)
		return func() {
			if buf, err = r.Read(s, buf, slow); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// usedFiles is the files that a full pass reads: those that are there, and no
// second choices.
func usedFiles(b *testing.B, h *Host, path string) []readerFile {
	b.Helper()
	r := h.NewReader(path, hostfs.NewBudget(0), PartsAll)
	_, err := r.Read(new(Sample), nil, true)
	require.NoError(b, err)
	var used []readerFile
	for i := range r.files {
		if f := r.files[i]; !f.absent && (!h.sources[f.source].fallback || h.unified == nil) {
			used = append(used, f)
		}
	}
	return used
}

// naive reads the same files as most exporters do.
func naive(b *testing.B, h *Host, path string) func() {
	files := usedFiles(b, h, path)
	return func() {
		values := map[string]float64{}
		for i := range files {
			name := files[i].Path()
			text, err := os.ReadFile(name)
			if err != nil {
				b.Fatal(err)
			}
			splitLines(name, string(text), values)
		}
		if len(values) < 50 {
			b.Fatal(values)
		}
	}
}

func splitLines(name, text string, values map[string]float64) {
	for _, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		for i, field := range fields {
			key, number, ok := strings.Cut(field, "=")
			if !ok {
				key, number = strconv.Itoa(i), field
			}
			if v, err := strconv.ParseFloat(number, 64); err == nil {
				values[name+" "+fields[0]+" "+key] = v
			}
		}
	}
}

// parseOnly parses copies of the files.
func parseOnly(b *testing.B, h *Host, path string) func() {
	type copied struct {
		parse func([]byte, *Sample) error
		text  []byte
	}
	var copies []copied
	for _, f := range usedFiles(b, h, path) {
		text, err := hostfs.ReadFile(f.Path(), nil)
		require.NoError(b, err)
		copies = append(copies, copied{h.sources[f.source].parse, text})
	}
	s := new(Sample)
	return func() {
		for i := range copies {
			if err := copies[i].parse(copies[i].text, s); err != nil {
				b.Fatal(fmt.Errorf("%q: %w", copies[i].text, err))
			}
		}
	}
}
