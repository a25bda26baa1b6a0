package cgroup_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// TestKernelRemovedCgroup: the end of a cgroup is ErrGone whatever the reader
// held, in every later pass, without a problem counted; the last sample stays;
// and a new cgroup of the same name is another one.
func TestKernelRemovedCgroup(t *testing.T) {
	for _, limit := range []int{0, 3, 100} {
		t.Run(fmt.Sprint(limit, " descriptors"), func(t *testing.T) {
			testkit.VerifyNoLeaks(t)
			g, h := kernelHost(t, "removed")
			testkit.Run(t, g, "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 1000")
			budget := hostfs.NewBudget(limit)
			r := h.NewReader(g.Path(), budget, cgroup.PartsAll)
			var last cgroup.Sample
			var buf []byte
			testkit.Eventually(t, within, func() (err error) {
				buf, err = r.Read(&last, buf, true)
				if err == nil && (last.CPU.Usage == 0 || last.Pids != 1) {
					err = fmt.Errorf("nothing done yet: %+v", last.CPU)
				}
				return err
			})
			g.Remove()
			gone := last
			for _, slow := range []bool{false, false, true, false} {
				_, err := r.Read(&gone, buf, slow)
				if !errors.Is(err, cgroup.ErrGone) {
					t.Errorf("slow %v: %v; want %v", slow, err, cgroup.ErrGone)
				}
			}
			if diff := cmp.Diff(last, gone, cmp.FilterPath(isHave, cmp.Ignore())); diff != "" || gone.Have != 0 || gone.Known != last.Known {
				t.Errorf("have %b; the last numbers changed (-before +after)\n%s", gone.Have, diff)
			}
			requireNoProblems(t, h)
			requireOpen(t, budget, 0)

			again := testkit.Cgroup(t, g.Path())
			r.Close()
			s := read(t, openReader(t, h, again), true)
			if s.CPU.Usage != 0 || s.Pids != 0 || s.Have != last.Have {
				t.Errorf("the new cgroup inherited %+v, %d tasks; have %b, before %b", s.CPU, s.Pids, s.Have, last.Have)
			}
		})
	}
}

func isHave(p cmp.Path) bool { return p.Last().String() == ".Have" }

func requireOpen(t *testing.T, budget *hostfs.Budget, want int64) {
	t.Helper()
	if got := budget.Stats().Open; got != want {
		t.Errorf("%d descriptors open, want %d", got, want)
	}
}

// TestKernelBudgets: few or no kept descriptors change the cost, not the
// numbers; and all are given back, by Close and by Close again.
func TestKernelBudgets(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g, h := kernelHost(t, "budgets")
	testkit.Run(t, g, "sleep", "1000")
	budgets := []*hostfs.Budget{hostfs.NewBudget(0), hostfs.NewBudget(3), hostfs.NewBudget(100)}
	var readers []*cgroup.Reader
	for _, b := range budgets {
		r := h.NewReader(g.Path(), b, cgroup.PartsAll)
		t.Cleanup(r.Close)
		readers = append(readers, r)
	}
	for pass := range 3 {
		// The sleeper may still be on its way into its sleep, and the kernel
		// writes back per-CPU figures now and then.
		testkit.Eventually(t, within, func() error {
			first := readNoPressure(t, readers[0])
			for i, r := range readers[1:] {
				if diff := cmp.Diff(first, readNoPressure(t, r)); diff != "" {
					return fmt.Errorf("pass %d, budget %d against none: (-none +budget)\n%s", pass, i+1, diff)
				}
			}
			return nil
		})
	}
	requireOpen(t, budgets[0], 0)
	requireOpen(t, budgets[1], 3)
	if open := budgets[2].Stats().Open; open < 12 || budgets[2].Stats().Refused != 0 {
		t.Errorf("%+v: want every file kept", budgets[2].Stats())
	}
	for i, r := range readers {
		r.Close()
		r.Close()
		requireOpen(t, budgets[i], 0)
	}
	// A closed reader may be used again.
	if s := read(t, readers[2], true); !s.Has(cgroup.PartMemory | cgroup.PartPids) {
		t.Errorf("after Close: have %b", s.Have)
	}
}

// readNoPressure leaves out what changes by time alone.
func readNoPressure(t testing.TB, r *cgroup.Reader) cgroup.Sample {
	t.Helper()
	s := read(t, r, true)
	s.CPUPressure, s.MemoryPressure, s.IOPressure = cgroup.Pressure{}, cgroup.Pressure{}, cgroup.Pressure{}
	return s
}

// TestKernelAllocations is the budget of a steady pass: nothing.
func TestKernelAllocations(t *testing.T) {
	g, h := kernelHost(t, "allocations")
	testkit.Run(t, g, "sleep", "1000")
	f := func(limit int, slow bool) {
		t.Helper()
		r := h.NewReader(g.Path(), hostfs.NewBudget(limit), cgroup.PartsAll)
		defer r.Close()
		var s cgroup.Sample
		buf, err := r.Read(&s, make([]byte, 0, 16<<10), true)
		require.NoError(t, err)
		allocs := testing.AllocsPerRun(100, func() { buf, err = r.Read(&s, buf, slow) })
		if allocs != 0 || err != nil {
			t.Errorf("%d descriptors, slow %v: %v allocations, %v; want none", limit, slow, allocs, err)
		}
		if s.Have != expectedParts(t, g, h) {
			t.Errorf("have %b, want %b: not everything was read", s.Have, expectedParts(t, g, h))
		}
	}
	f(100, true)
	f(100, false)
}

// TestHostPressure reads the host's own pressure files.
func TestHostPressure(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	for _, name := range []string{"cpu", "memory", "io"} {
		f := hostfs.NewFile("/proc/pressure/"+name, hostfs.NewBudget(1))
		var before time.Duration
		var buf []byte
		for range 2 {
			p, b, err := cgroup.ReadPressure(&f, buf)
			if err != nil {
				testkit.Lack(t, testkit.Feature{Name: "pressure stall information (CONFIG_PSI)", MinKernel: "4.20"}, err)
			}
			if buf = b; p.Some.Total < before || p.Some.Avg10 > 1 {
				t.Errorf("%s: %+v after %v", name, p, before)
			}
			before = p.Some.Total
		}
		f.Close()
	}
	f := hostfs.NewFile("/proc/self/stat", hostfs.NewBudget(0))
	if p, _, err := cgroup.ReadPressure(&f, nil); !errors.Is(err, cgroup.ErrMissingKey) || p != (cgroup.Pressure{}) {
		t.Errorf("a file of another form: %+v, %v", p, err)
	}
	gone := hostfs.NewFile("/proc/pressure/none", hostfs.NewBudget(0))
	if _, _, err := cgroup.ReadPressure(&gone, nil); !errors.Is(err, cgroup.ErrGone) {
		t.Errorf("a missing file: %v", err)
	}
}
