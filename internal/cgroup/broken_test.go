package cgroup_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// damage is a way to spoil a file.
type damage struct {
	name string
	// spoil replaces the file. counted is how a reader should count it.
	spoil   func(file string, text []byte) error
	counted counted
}

type counted uint8

const (
	asNothing counted = iota // the kernel simply does not have the file
	asReadError
	asParseError
)

func damages() []damage {
	text := func(edit func([]byte) []byte) func(string, []byte) error {
		return func(file string, b []byte) error { return os.WriteFile(file, edit(b), 0o644) }
	}
	return []damage{
		{"garbage", text(func([]byte) []byte { return []byte("\x00\xff{\"a\": 1}\n\n= 8:0 5\n") }), asParseError},
		{"no digits", text(func(b []byte) []byte { return bytes.Map(withoutDigits, b) }), asParseError},
		{"binary", text(func(b []byte) []byte { return make([]byte, 4096) }), asParseError},
		{"without its last byte", text(func(b []byte) []byte { return b[:len(b)-1] }), asParseError},
		{"cut short", text(func(b []byte) []byte { return b[:len(b)*2/5] }), asParseError},
		{"empty", text(func([]byte) []byte { return nil }), asParseError},
		{"8 MiB", func(file string, b []byte) error { return os.Truncate(file, 8<<20) }, asReadError},
		{"a folder", func(file string, _ []byte) error {
			if err := os.Remove(file); err != nil {
				return err
			}
			return os.Mkdir(file, 0o755)
		}, asReadError},
		{"missing", func(file string, _ []byte) error { return os.Remove(file) }, asNothing},
	}
}

func withoutDigits(r rune) rune {
	if r >= '0' && r <= '9' {
		return 'x'
	}
	return r
}

// lostParts is what a sample lacks without the file, by its name.
func lostParts() map[string]cgroup.Part {
	return map[string]cgroup.Part{
		"cpuacct.usage":                             cgroup.PartCPUTime,
		"cpuacct.stat":                              cgroup.PartCPUTime,
		"cpu.stat":                                  cgroup.PartThrottling,
		"memory.usage_in_bytes":                     cgroup.PartMemory,
		"memory.max_usage_in_bytes":                 cgroup.PartMemoryPeak,
		"memory.failcnt":                            cgroup.PartEventMax,
		"memory.oom_control":                        cgroup.PartEventOOMKill,
		"memory.kmem.usage_in_bytes":                cgroup.PartKernelMemory,
		"memory.limit_in_bytes":                     cgroup.PartMemoryLimit | cgroup.PartSwapLimit, // swap is the difference
		"memory.memsw.limit_in_bytes":               cgroup.PartSwapLimit,
		"cpu.cfs_period_us":                         cgroup.PartCPULimit,
		"cpu.cfs_quota_us":                          cgroup.PartCPULimit,
		"blkio.throttle.io_service_bytes_recursive": cgroup.PartIOBytes,
		"blkio.throttle.io_serviced_recursive":      cgroup.PartIOOperations,
		"memory.stat":                               cgroup.PartMemoryStat | cgroup.PartSwap,
		"pids.current":                              cgroup.PartPids,
		"pids.max":                                  cgroup.PartPidsLimit,
		"cpu.pressure":                              cgroup.PartCPUPressure,
		"memory.pressure":                           cgroup.PartMemoryPressure,
		"io.pressure":                               cgroup.PartIOPressure,
	}
}

func lostV2Parts() map[string]cgroup.Part {
	lost := lostParts()
	maps.Copy(lost, map[string]cgroup.Part{
		"cpu.stat":            cgroup.PartCPUTime | cgroup.PartThrottling,
		"cpu.max":             cgroup.PartCPULimit,
		"memory.stat":         cgroup.PartMemoryStat | cgroup.PartKernelMemory,
		"memory.current":      cgroup.PartMemory,
		"memory.peak":         cgroup.PartMemoryPeak,
		"memory.swap.current": cgroup.PartSwap,
		"memory.events":       cgroup.PartsEvents,
		"memory.max":          cgroup.PartMemoryLimit,
		"memory.swap.max":     cgroup.PartSwapLimit,
		"io.stat":             cgroup.PartIOBytes | cgroup.PartIOOperations,
	})
	return lost
}

// breakage is one file of one tree under one damage, and what must follow.
type breakage struct {
	tree
	root, file string
	damage     damage
	lost       cgroup.Part
	count      uint64 // how many sources read the file
}

// TestBrokenFiles spoils each file of each tree in turn. The sample may lack
// what stood in that file, and nothing else; no number may differ; and the
// problem is counted under the file's name.
func TestBrokenFiles(t *testing.T) {
	for name, want := range trees() {
		root := unpack(t, name)
		id := containerID
		lost := lostParts()
		if name == "v2" {
			lost = lostV2Parts()
		}
		if name == "nested" {
			id = innerID
		}
		for _, file := range containerFiles(t, root, id) {
			part, known := lost[filepath.Base(file)]
			require.True(t, known, "no entry in the table for %s", file)
			b := breakage{tree: want, root: root, file: file, lost: part, count: 1}
			if name == "hybrid" {
				b.asHybrid()
			}
			for _, b.damage = range damages() {
				if b.damage.name == "no digits" && filepath.Base(file) == "memory.swap.max" {
					continue // it says "max"
				}
				t.Run(name+"/"+filepath.Base(file)+"/"+b.damage.name, b.check)
			}
		}
	}
}

// asHybrid: CPU time has a second source there, read only without the first.
func (b *breakage) asHybrid() {
	switch {
	case strings.Contains(b.file, "/cpuacct/"):
		b.lost, b.count = 0, 0
	case strings.HasSuffix(b.file, "cpu.stat") && strings.Contains(b.file, "/unified/"):
		v1 := v1Sample()
		b.lost = 0
		b.sample.CPU.Usage, b.sample.CPU.User, b.sample.CPU.System = v1.CPU.Usage, v1.CPU.User, v1.CPU.System
	}
}

func (b breakage) check(t *testing.T) {
	file := filepath.Join(b.root, b.file)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	want := b.sample
	want.Have &^= b.lost
	want.Known = want.Have
	if b.damage.name == "empty" && filepath.Base(file) == "io.stat" {
		want = b.sample // the form of a cgroup that has used no device
		want.IO, b.count = nil, 0
	}

	h := detect(t, b.root)
	used := cgroup.Sample{}
	r := h.NewReader(b.path, hostfs.NewBudget(0), cgroup.PartsAll)
	buf, err := r.Read(&used, make([]byte, 0, 5<<20), true)
	require.NoError(t, err)
	requireNoProblems(t, h)

	require.NoError(t, b.damage.spoil(file, text))
	defer func() {
		require.NoError(t, os.RemoveAll(file))
		require.NoError(t, os.WriteFile(file, text, 0o644))
	}()
	var fresh cgroup.Sample
	kept := h.NewReader(b.path, hostfs.NewBudget(100), cgroup.PartsAll)
	defer kept.Close()
	buf, err = kept.Read(&fresh, buf, true)
	require.NoError(t, err)
	b.compare(t, "a new sample", want, fresh)
	b.checkProblems(t, h.Problems())

	// A sample that has seen better days must not pass off what it saw then.
	_, err = r.Read(&used, buf, true)
	require.NoError(t, err)
	want.Known = b.sample.Have
	if b.lost == 0 && b.count == 1 {
		want.CPU = afterFallback()
	}
	b.compare(t, "a used sample", want, used)
}

// afterFallback is CPU time from cpuacct in a sample that had it from the
// unified mount: more precise, and neither part goes back.
func afterFallback() cgroup.CPU {
	c := v1Sample().CPU
	c.User = 244233 * time.Microsecond
	c.System = c.Usage - c.User
	return c
}

func (b breakage) compare(t *testing.T, what string, want, got cgroup.Sample) {
	t.Helper()
	if got.Have != want.Have || got.Known != want.Known {
		t.Errorf("%s: have %b, known %b; want %b, %b", what, got.Have, got.Known, want.Have, want.Known)
	}
	if diff := cmp.Diff(only(want, want.Have), only(got, got.Have), cmp.Comparer(sameFloat)); diff != "" {
		t.Errorf("%s: (-want +got)\n%s", what, diff)
	}
}

func (b breakage) checkProblems(t *testing.T, got cgroup.Problems) {
	t.Helper()
	want := cgroup.Problems{ReadErrors: map[string]uint64{}, ParseErrors: map[string]uint64{}}
	name := filepath.Base(b.file)
	switch {
	case b.count == 0:
	case b.damage.counted == asReadError:
		want.ReadErrors[name] = b.count
	case b.damage.counted == asParseError:
		want.ParseErrors[name] = b.count
	}
	last := got.Last
	got.Last = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got)\n%s", diff)
	}
	any := len(want.ReadErrors)+len(want.ParseErrors) > 0
	if any != (last != nil) || any && !strings.Contains(last.Error(), b.file) {
		t.Errorf("last problem: %v; want one of %s: %v", last, b.file, any)
	}
}

// TestRepairedFile: what could not be read comes back, fast files that were
// missing with the next slow pass.
func TestRepairedFile(t *testing.T) {
	want := trees()["v2"]
	root := unpack(t, "v2")
	r := detect(t, root).NewReader(want.path, hostfs.NewBudget(100), cgroup.PartsAll)
	defer r.Close()
	file := filepath.Join(root, "sys/fs/cgroup", want.path, "memory.current")
	require.NoError(t, os.Rename(file, file+".away"))
	var s cgroup.Sample
	read := func(slow bool, have cgroup.Part) {
		t.Helper()
		_, err := r.Read(&s, nil, slow)
		require.NoError(t, err)
		if s.Have != have {
			t.Errorf("have %b, want %b", s.Have, have)
		}
	}
	read(true, cgroup.PartsAll&^cgroup.PartMemory)
	require.NoError(t, os.Rename(file+".away", file))
	read(false, cgroup.PartsAll&^cgroup.PartMemory)
	read(true, cgroup.PartsAll)
	read(false, cgroup.PartsAll)
	if diff := cmp.Diff(want.sample, s, cmp.Comparer(sameFloat)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestOlderKernels: a line that this kernel does not write leaves its part
// out, and is no problem.
func TestOlderKernels(t *testing.T) {
	f := func(name, file, line string, lacks cgroup.Part) {
		t.Helper()
		want := trees()[name]
		root := unpack(t, name)
		rewrite(t, filepath.Join(root, "sys/fs/cgroup", file), func(s string) string {
			require.Contains(t, s, line)
			return strings.Replace(s, line, "", 1)
		})
		h := detect(t, root)
		var s cgroup.Sample
		_, err := h.NewReader(want.path, hostfs.NewBudget(0), cgroup.PartsAll).Read(&s, nil, true)
		require.NoError(t, err)
		want.sample.Have &^= lacks
		want.sample.Known = want.sample.Have
		if s.Have != want.sample.Have || cmp.Diff(only(want.sample, s.Have), only(s, s.Have), cmp.Comparer(sameFloat)) != "" {
			t.Errorf("%s without %q: have %b, want %b\n%s", file, line, s.Have, want.sample.Have, cmp.Diff(want.sample, s))
		}
		requireNoProblems(t, h)
	}
	v2 := "system.slice/docker-" + containerID + ".scope/"
	f("v2", v2+"memory.events", "oom_group_kill 1\n", cgroup.PartEventGroup)                    // before 5.17
	f("hybrid", "memory/docker/"+containerID+"/memory.stat", "total_swap 0\n", cgroup.PartSwap) // swapaccount=0
}

// TestOnlySlowParts: a pass that has nothing to read is no sign of an end.
func TestOnlySlowParts(t *testing.T) {
	want := trees()["v2"]
	root := unpack(t, "v2")
	r := detect(t, root).NewReader(want.path, hostfs.NewBudget(0), cgroup.PartsLimits)
	var s cgroup.Sample
	for _, slow := range []bool{true, false, true, false} {
		_, err := r.Read(&s, nil, slow)
		if err != nil || s.Have != cgroup.PartsLimits {
			t.Errorf("slow %v: have %b, %v; want %b", slow, s.Have, err, cgroup.PartsLimits)
		}
	}
	require.NoError(t, os.RemoveAll(filepath.Join(root, "sys/fs/cgroup", want.path)))
	for _, slow := range []bool{true, false} {
		if _, err := r.Read(&s, nil, slow); !errors.Is(err, cgroup.ErrGone) {
			t.Errorf("removed, slow %v: %v; want %v", slow, err, cgroup.ErrGone)
		}
	}
}
