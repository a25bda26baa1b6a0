package cgroup

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// allSources is every file of both versions.
func allSources() []source {
	var all []source
	for _, f := range slices.Concat(v1Sources(), v2Sources()) {
		all = append(all, f.source)
	}
	return all
}

// seedTexts is every statistic of the trees in testdata.
func seedTexts(t testing.TB) []string {
	t.Helper()
	var texts []string
	for _, tree := range []string{"v1", "hybrid", "v2"} {
		a, err := txtar.ParseFile("testdata/" + tree + ".txtar")
		require.NoError(t, err)
		for _, f := range a.Files {
			if strings.Contains(f.Name, containerID) {
				texts = append(texts, string(f.Data))
			}
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

// FuzzSources gives any text to every source, whether it is meant for it or
// not. What belongs to other parts stays as it was, and a part is never
// delivered beside an error: the numbers of a sample cannot go wrong.
func FuzzSources(f *testing.F) {
	for _, text := range seedTexts(f) {
		f.Add(text)
		f.Add(text[:len(text)/2])
	}
	f.Add("")
	f.Add("-1\n")
	f.Add("max\n")
	f.Add("\x00\xff\n")
	sources := allSources()
	f.Fuzz(func(t *testing.T, text string) {
		for i := range sources {
			src := &sources[i]
			s := fullSample()
			err := src.parse([]byte(text), &s)
			checkForeign(t, src, text, s)
			if err != nil {
				continue
			}
			if got := src.delivers([]byte(text)); got&^src.part != 0 {
				t.Fatalf("%s delivers %b of %b", src.file, got, src.part)
			}
			checkPlausible(t, src.file, text, s)
		}
	})
}

// checkForeign: only the source's own fields may differ from a full sample.
func checkForeign(t *testing.T, src *source, text string, s Sample) {
	t.Helper()
	want := fullSample()
	blank(&want, src.part)
	blank(&s, src.part)
	if diff := cmp.Diff(want, s); diff != "" {
		t.Fatalf("%s: %q changed another part (-want +got)\n%s", src.file, text, diff)
	}
}

func checkPlausible(t *testing.T, file, text string, s Sample) {
	t.Helper()
	c, l := s.CPU, s.Limits
	if c.Usage < 0 || c.User < 0 || c.System < 0 || c.ThrottledTime < 0 || c.ThrottledPeriods > c.Periods {
		t.Fatalf("%s: %q gives %+v", file, text, c)
	}
	if l.CPUPeriod <= 0 || l.CPUQuota < 0 {
		t.Fatalf("%s: %q gives %+v", file, text, l)
	}
}

// blank clears the fields of the parts.
func blank(s *Sample, p Part) {
	if p&PartCPUTime != 0 {
		s.CPU.Usage, s.CPU.User, s.CPU.System = 0, 0, 0
	}
	if p&PartThrottling != 0 {
		s.CPU.Periods, s.CPU.ThrottledPeriods, s.CPU.ThrottledTime = 0, 0, 0
	}
	if p&PartMemoryStat != 0 {
		m := &s.Memory
		m.RSS, m.Cache, m.InactiveFile, m.Faults, m.MajorFaults = 0, 0, 0, 0, 0
	}
	if p&(PartIOBytes|PartIOOperations) != 0 {
		s.IO = nil // two files fill one list; see TestBlkioPair
	}
	if p&PartCPULimit != 0 {
		s.Limits.CPUQuota, s.Limits.CPUPeriod = 0, 0
	}
	if p&PartEventOthers != 0 {
		s.Events.Low, s.Events.High, s.Events.OOM = 0, 0, 0
	}
	for part, dst := range map[Part]*uint64{
		PartMemory: &s.Memory.Usage, PartMemoryPeak: &s.Memory.Peak, PartKernelMemory: &s.Memory.Kernel, PartSwap: &s.Memory.Swap,
		PartEventMax: &s.Events.Max, PartEventOOMKill: &s.Events.OOMKill, PartEventGroup: &s.Events.OOMGroupKill,
		PartPids: &s.Pids, PartMemoryLimit: &s.Limits.Memory, PartSwapLimit: &s.Limits.Swap, PartPidsLimit: &s.Limits.Pids,
	} {
		if p&part != 0 {
			*dst = 0
		}
	}
	for part, dst := range map[Part]*Pressure{PartCPUPressure: &s.CPUPressure, PartMemoryPressure: &s.MemoryPressure, PartIOPressure: &s.IOPressure} {
		if p&part != 0 {
			*dst = Pressure{}
		}
	}
}

// TestCutTexts cuts each real text at every byte. What is still accepted says
// nothing else than the whole text, except that a list of devices may end
// early, at the end of a line.
func TestCutTexts(t *testing.T) {
	for _, tree := range []string{"v1", "hybrid", "v2"} {
		a, err := txtar.ParseFile("testdata/" + tree + ".txtar")
		require.NoError(t, err)
		for _, f := range a.Files {
			for _, src := range sourcesOf(tree, f.Name) {
				cutEverywhere(t, &src, f.Data)
			}
		}
	}
}

// sourcesOf is who reads the file of the tree.
func sourcesOf(tree, name string) []source {
	var out []source
	if !strings.Contains(name, containerID) {
		return nil
	}
	table := v1Sources()
	if tree == "v2" || strings.Contains(name, "/unified/") {
		table = v2Sources()
	}
	for _, f := range table {
		throttling := f.part == PartThrottling && strings.Contains(name, "/unified/")
		if f.file == filepath.Base(name) && !throttling {
			out = append(out, f.source)
		}
	}
	return out
}

func cutEverywhere(t *testing.T, src *source, text []byte) {
	t.Helper()
	var whole Sample
	require.NoError(t, src.parse(text, &whole), "%s", src.file)
	for cut := range text {
		var s Sample
		if src.parse(text[:cut], &s) != nil {
			continue
		}
		if cut > 0 && text[cut-1] != '\n' {
			t.Errorf("%s: %q accepted", src.file, text[:cut])
		}
		want := whole
		if src.file == "io.stat" {
			want.IO = want.IO[:len(s.IO)]
			if len(s.IO) == 0 {
				want.IO = s.IO
			}
		}
		for _, p := range []struct{ cut, whole *Pressure }{{&s.CPUPressure, &want.CPUPressure}, {&s.MemoryPressure, &want.MemoryPressure}, {&s.IOPressure, &want.IOPressure}} {
			if !p.cut.HasFull {
				p.whole.Full, p.whole.HasFull = Stall{}, false
			}
		}
		missing := src.part &^ src.delivers(text[:cut])
		blank(&want, missing)
		blank(&s, missing)
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("%s: %q says something else (-want +got)\n%s", src.file, text[:cut], diff)
		}
	}
}

func FuzzParseCPUMax(f *testing.F) {
	for _, seed := range []string{"max 100000\n", "150000 100000\n", "max 1000", "0 100000\n", "max 0\n", "1 1 1\n", "", "9223372036854776 1\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := fullSample()
		if err := parseCPUMax([]byte(text), &s); err != nil {
			if diff := cmp.Diff(fullSample(), s); diff != "" {
				t.Fatalf("%q beside %v: (-want +got)\n%s", text, err, diff)
			}
			return
		}
		l := s.Limits
		words := strings.Fields(text)
		if len(words) != 2 || l.CPUPeriod.Microseconds() != int64(naiveUint(t, words[1])) {
			t.Fatalf("%q: %+v", text, l)
		}
		if words[0] == "max" && l.CPUs() != 0 || words[0] != "max" && l.CPUQuota.Microseconds() != int64(naiveUint(t, words[0])) {
			t.Fatalf("%q: %+v", text, l)
		}
		for cut := range len(text) {
			if err := parseCPUMax([]byte(text[:cut]), &s); err == nil {
				t.Fatalf("%q cut to %q is accepted", text, text[:cut])
			}
		}
	})
}

func FuzzParseMountinfo(f *testing.F) {
	for _, tree := range []string{"v1", "v2", "hybrid", "nested", "empty"} {
		f.Add(fixtureFile(f, tree, "mountinfo"))
	}
	f.Add("35 31 0:32 /a\\040b /m\\134040 rw - cgroup cgroup rw,memory\n - \n")
	f.Add("1 2 3 .. .. rw - cgroup2 x y")
	f.Fuzz(func(t *testing.T, text string) {
		mounts := parseMountinfo([]byte(text))
		if len(mounts) > strings.Count(text, "cgroup") {
			t.Fatalf("%q: %d mounts", text, len(mounts))
		}
		for _, m := range mounts {
			if m.dir == "" || m.root == "" || len(m.options) == 0 || filepath.Clean(m.dir) != m.dir {
				t.Fatalf("%q: %+v", text, m)
			}
			for _, p := range []string{"/", "/docker/4f6c", m.root, m.root + "/x"} {
				if file := m.file(p, "pids.current"); file != "" && !strings.HasSuffix(file, "pids.current") {
					t.Fatalf("%q: file of %q is %q", text, p, file)
				}
			}
		}
	})
}
