package cgroup_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

const (
	containerID = "4f6c2b1d9e8a7c5f3b2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b"
	innerID     = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// tree is a host as text: one of testdata, unpacked.
type tree struct {
	path   string // of the container
	sample cgroup.Sample
}

// unpack writes a text tree below a temporary directory.
func unpack(t testing.TB, name string) string {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	require.NoError(t, err)
	root := t.TempDir()
	for _, f := range a.Files {
		file := filepath.Join(root, f.Name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, f.Data, 0o644))
	}
	return root
}

func detect(t testing.TB, root string) *cgroup.Host {
	t.Helper()
	h, err := cgroup.Detect(hostfs.NewRoots(root))
	require.NoError(t, err)
	return h
}

// trees is what each tree of testdata says about its container.
func trees() map[string]tree {
	v1 := v1Sample()
	hybrid := v1Sample()
	hybrid.CPU.Usage, hybrid.CPU.User, hybrid.CPU.System = 658737*time.Microsecond, 244233*time.Microsecond, 414503*time.Microsecond
	hybrid.Have |= pressureParts
	addPressure(&hybrid)
	hybrid.Known = hybrid.Have
	return map[string]tree{
		"v1":     {path: "/docker/" + containerID, sample: v1},
		"hybrid": {path: "/docker/" + containerID, sample: hybrid},
		"nested": {path: "/docker/" + containerID + "/docker/" + innerID, sample: v1},
		"v2":     {path: "/system.slice/docker-" + containerID + ".scope", sample: v2Sample()},
	}
}

const pressureParts = cgroup.PartCPUPressure | cgroup.PartMemoryPressure | cgroup.PartIOPressure

func v1Sample() cgroup.Sample {
	// 24 of 65 ticks were user time.
	const usage, user = 658737748 * time.Nanosecond, 243226245 * time.Nanosecond
	have := cgroup.PartsAll &^ (pressureParts | cgroup.PartEventOthers | cgroup.PartEventGroup)
	return cgroup.Sample{
		Have: have, Known: have,
		CPU: cgroup.CPU{
			Usage: usage, User: user, System: usage - user,
			Periods: 15, ThrottledPeriods: 12, ThrottledTime: 553021750,
		},
		Memory: cgroup.Memory{
			Usage: 65314816, Peak: 67108864, RSS: 29118464, Cache: 34529280, InactiveFile: 32624640,
			Kernel: 1417216, Faults: 9294, MajorFaults: 5,
		},
		Events: cgroup.Events{Max: 15651},
		IO:     []cgroup.DeviceIO{{Major: 254, ReadBytes: 13631488, WriteBytes: 54009856, Reads: 278, Writes: 213}},
		Pids:   3,
		Limits: cgroup.Limits{Memory: 64 << 20, Swap: 32 << 20, Pids: 100, CPUQuota: 50 * time.Millisecond, CPUPeriod: 100 * time.Millisecond},
	}
}

func v2Sample() cgroup.Sample {
	s := cgroup.Sample{
		Have: cgroup.PartsAll, Known: cgroup.PartsAll,
		CPU: cgroup.CPU{
			Usage: 84290 * time.Microsecond, User: 4436 * time.Microsecond, System: 79853 * time.Microsecond,
			Periods: 15, ThrottledPeriods: 12, ThrottledTime: 553021 * time.Microsecond,
		},
		Memory: cgroup.Memory{
			Usage: 65314816, Peak: 67108864, RSS: 29118464, Cache: 34529280, InactiveFile: 32624640,
			Kernel: 1417216, Swap: 1 << 20, Faults: 9294, MajorFaults: 5,
		},
		Events: cgroup.Events{Low: 1, High: 2, Max: 15651, OOM: 4, OOMKill: 3, OOMGroupKill: 1},
		IO: []cgroup.DeviceIO{
			{Major: 8, Minor: 16, ReadBytes: 1459200, WriteBytes: 314773504, Reads: 192, Writes: 353},
			{Major: 8, Minor: 0, ReadBytes: 90430464, WriteBytes: 299008000, Reads: 8950, Writes: 1252},
		},
		Pids:   3,
		Limits: cgroup.Limits{Memory: 64 << 20, Swap: cgroup.Unlimited, Pids: 100, CPUQuota: 150 * time.Millisecond, CPUPeriod: 100 * time.Millisecond},
	}
	addPressure(&s)
	return s
}

func addPressure(s *cgroup.Sample) {
	s.CPUPressure = pressure(497802, 492342, [3]float64{0.0291, 0.0073, 0.0016})
	s.MemoryPressure = pressure(31696, 31696, [3]float64{0.0012, 0.0002, 0})
	s.IOPressure = pressure(35185, 35185, [3]float64{0.0012, 0.0002, 0})
}

// pressure has microseconds and the averages that both lines share.
func pressure(some, full time.Duration, avg [3]float64) cgroup.Pressure {
	stall := func(total time.Duration) cgroup.Stall {
		return cgroup.Stall{Total: total * time.Microsecond, Avg10: avg[0], Avg60: avg[1], Avg300: avg[2]}
	}
	return cgroup.Pressure{Some: stall(some), Full: stall(full), HasFull: true}
}

func TestDetectTrees(t *testing.T) {
	f := func(name string, mode cgroup.Mode, dir, cgroupPath string) {
		t.Helper()
		root := unpack(t, name)
		h := detect(t, root)
		gotDir, gotPath := h.Hierarchy()
		if h.Mode() != mode || gotDir != filepath.Join(root, dir) || gotPath != cgroupPath {
			t.Errorf("%s: %v, discovery from %s (%s); want %v, %s (%s)", name, h.Mode(), gotDir, gotPath, mode, dir, cgroupPath)
		}
		own := trees()[name].path
		want := filepath.Join(root, dir, strings.TrimPrefix(own, cgroupPath), "cgroup.procs")
		if got := h.ProcsFile(own); got != want {
			t.Errorf("%s: cgroup.procs at %s, want %s", name, got, want)
		}
	}
	f("v1", cgroup.V1, "sys/fs/cgroup/memory", "/")
	f("v2", cgroup.V2, "sys/fs/cgroup", "/")
	f("hybrid", cgroup.Hybrid, "sys/fs/cgroup/memory", "/")
	f("nested", cgroup.V1, "sys/fs/cgroup/memory", "/docker/"+containerID)
}

func TestUnifiedDirectory(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		root := unpack(t, name)
		if want != "" {
			want = filepath.Join(root, want)
		}
		if got := detect(t, root).Unified("/a"); got != want {
			t.Errorf("%s: unified directory %q, want %q", name, got, want)
		}
	}
	f("v1", "")
	f("v2", "sys/fs/cgroup/a")
	f("hybrid", "sys/fs/cgroup/unified/a")
	f("nested", "")
}

func TestLocalEvents(t *testing.T) {
	f := func(name string, edit func(string) string, want bool) {
		t.Helper()
		root := unpack(t, name)
		rewrite(t, filepath.Join(root, "proc/self/mountinfo"), edit)
		if got := detect(t, root).LocalEvents(); got != want {
			t.Errorf("%s: local events %v, want %v", name, got, want)
		}
	}
	same := func(s string) string { return s }
	f("v1", same, true)
	f("hybrid", same, true)
	f("v2", same, false)
	f("v2", func(s string) string { return strings.Replace(s, "nsdelegate", "memory_localevents", 1) }, true)
}

func TestDetectWithoutCgroups(t *testing.T) {
	f := func(root string) {
		t.Helper()
		h, err := cgroup.Detect(hostfs.NewRoots(root))
		if h != nil || !errors.Is(err, hostfs.ErrNotSupported) {
			t.Errorf("Detect(%s) = %v, %v; want %v", root, h, err, hostfs.ErrNotSupported)
			return
		}
		if !strings.Contains(err.Error(), root) || !strings.Contains(err.Error(), "mount ") {
			t.Errorf("Detect(%s): %q names no root or no remedy", root, err)
		}
	}
	f(unpack(t, "empty"))
	f(t.TempDir())                      // not even a mountinfo
	f(filepath.Join(t.TempDir(), "no")) // not even a root
	listed := unpack(t, "v2")           // mountinfo names what is not there
	require.NoError(t, os.RemoveAll(filepath.Join(listed, "sys")))
	f(listed)
	rewritten := unpack(t, "v2") // or what is no directory
	require.NoError(t, os.RemoveAll(filepath.Join(rewritten, "sys/fs/cgroup")))
	require.NoError(t, os.WriteFile(filepath.Join(rewritten, "sys/fs/cgroup"), nil, 0o644))
	f(rewritten)
}

// TestDetectPrefersWholeTree: an agent in a container sees its own subtree and,
// bound below a host root, the whole; either may be listed first.
func TestDetectPrefersWholeTree(t *testing.T) {
	const line = "50 31 0:32 /docker/" + containerID + " /own rw - cgroup cgroup rw,memory\n"
	for _, edit := range []func(string) string{
		func(s string) string { return line + s },
		func(s string) string { return s + line },
	} {
		root := unpack(t, "v1")
		require.NoError(t, os.Mkdir(filepath.Join(root, "own"), 0o755))
		rewrite(t, filepath.Join(root, "proc/self/mountinfo"), edit)
		dir, cgroupPath := detect(t, root).Hierarchy()
		if dir != filepath.Join(root, "sys/fs/cgroup/memory") || cgroupPath != "/" {
			t.Errorf("discovery from %s (%s), want the whole tree", dir, cgroupPath)
		}
	}
}

func TestReadTrees(t *testing.T) {
	for name, want := range trees() {
		t.Run(name, func(t *testing.T) {
			h := detect(t, unpack(t, name))
			r := h.NewReader(want.path, hostfs.NewBudget(100), cgroup.PartsAll)
			defer r.Close()
			var s cgroup.Sample
			for pass := range 3 {
				_, err := r.Read(&s, nil, pass != 1)
				require.NoError(t, err)
				if diff := cmp.Diff(want.sample, s, cmp.Comparer(sameFloat)); diff != "" {
					t.Errorf("pass %d (-want +got)\n%s", pass, diff)
				}
			}
			requireNoProblems(t, h)
		})
	}
}

// sameFloat forgives the last bit of a division: 0.0291 and 291.0/10000.
func sameFloat(a, b float64) bool { return a == b || (a-b < 1e-15 && b-a < 1e-15) }

func requireNoProblems(t *testing.T, h *cgroup.Host) {
	t.Helper()
	want := cgroup.Problems{ReadErrors: map[string]uint64{}, ParseErrors: map[string]uint64{}}
	if diff := cmp.Diff(want, h.Problems()); diff != "" {
		t.Errorf("problems (-want +got)\n%s", diff)
	}
}

// TestReadEachPartAlone: a reader of one part says the same of it as a reader
// of all, and nothing else. The v1 swap limit, which needs the memory limit, is
// what makes this more than a formality.
func TestReadEachPartAlone(t *testing.T) {
	for name, want := range trees() {
		h := detect(t, unpack(t, name))
		for part := cgroup.Part(1); part < cgroup.PartsAll; part <<= 1 {
			var s cgroup.Sample
			_, err := h.NewReader(want.path, hostfs.NewBudget(0), part).Read(&s, nil, true)
			if want.sample.Have&part == 0 {
				if !errors.Is(err, cgroup.ErrGone) && err != nil || s.Have != 0 {
					t.Errorf("%s: part %b: have %b, %v; want nothing", name, part, s.Have, err)
				}
				continue
			}
			require.NoError(t, err)
			if s.Have != part || s.Known != part {
				t.Errorf("%s: have %b, known %b; want %b alone", name, s.Have, s.Known, part)
			}
			if diff := cmp.Diff(only(want.sample, part), only(s, part), cmp.Comparer(sameFloat)); diff != "" {
				t.Errorf("%s: part %b (-want +got)\n%s", name, part, diff)
			}
		}
	}
}

func TestReadOutsideMount(t *testing.T) {
	h := detect(t, unpack(t, "nested"))
	for _, outside := range []string{"/", "/docker", "/docker/" + containerID + "a", "/docker/" + innerID} {
		var s cgroup.Sample
		_, err := h.NewReader(outside, hostfs.NewBudget(0), cgroup.PartsAll).Read(&s, nil, true)
		if !errors.Is(err, cgroup.ErrGone) || s.Have != 0 {
			t.Errorf("read %s: have %b, %v; want %v", outside, s.Have, err, cgroup.ErrGone)
		}
	}
}

func rewrite(t testing.TB, file string, edit func(string) string) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(edit(string(b))), 0o644))
}

// containerFiles lists the container's statistics, relative to the root.
func containerFiles(t testing.TB, root, id string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(root, "sys"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(name, id) && filepath.Base(name) != "cgroup.procs" {
			files = append(files, name[len(root)+1:])
		}
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}
