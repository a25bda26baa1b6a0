package hostfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func checkStats(t *testing.T, b *hostfs.Budget, want hostfs.BudgetStats) {
	t.Helper()
	if diff := cmp.Diff(want, b.Stats()); diff != "" {
		t.Errorf("budget (-want +got):\n%s", diff)
	}
}

func checkRead(t *testing.T, f *hostfs.File, want string) {
	t.Helper()
	if got, err := f.Read(nil); err != nil || string(got) != want {
		t.Errorf("%s: %q, %v; want %q", f.Path(), got, err, want)
	}
}

func TestFileWithinAndAboveTheBudget(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	budget := hostfs.NewBudget(2)
	files := make([]hostfs.File, 3)
	for i := range files {
		files[i] = hostfs.NewFile(writeFile(t, []byte("content")), budget)
		defer files[i].Close()
	}
	checkStats(t, budget, hostfs.BudgetStats{})
	for range 2 {
		for i := range files {
			checkRead(t, &files[i], "content")
		}
	}
	checkStats(t, budget, hostfs.BudgetStats{Open: 2, Refused: 2})

	files[0].Close()
	checkStats(t, budget, hostfs.BudgetStats{Open: 1, Refused: 2})
	checkRead(t, &files[2], "content") // takes the place
	checkRead(t, &files[0], "content") // finds it taken
	checkStats(t, budget, hostfs.BudgetStats{Open: 2, Refused: 3})

	for range 2 { // the second time gives nothing back
		for i := range files {
			files[i].Close()
		}
		checkStats(t, budget, hostfs.BudgetStats{Refused: 3})
	}
}

func TestFileKeepsItsDescriptor(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	path := writeFile(t, []byte("one"))
	f := hostfs.NewFile(path, hostfs.NewBudget(1))
	defer f.Close()
	checkRead(t, &f, "one")
	require.NoError(t, os.Remove(path))
	checkRead(t, &f, "one") // only through the descriptor
	f.Close()
	if _, err := f.Read(nil); !errors.Is(err, hostfs.ErrGone) {
		t.Errorf("read by path: %v", err)
	}
	require.NoError(t, os.WriteFile(path, []byte("two"), 0o600))
	checkRead(t, &f, "two")
}

func TestFileSeesEachChange(t *testing.T) {
	path := writeFile(t, nil)
	f := hostfs.NewFile(path, hostfs.NewBudget(1))
	defer f.Close()
	buf := make([]byte, 0, 16)
	for _, size := range []int{0, 5, 16, 5000, 3, 0} { // grows and shrinks
		want := pattern(size)
		require.NoError(t, os.WriteFile(path, want, 0o600))
		got, err := f.Read(buf)
		if err != nil || string(got) != string(want) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		buf = got
	}
}

func TestBudgetsThatKeepNothing(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	path := writeFile(t, []byte("content"))
	var zero hostfs.Budget
	for name, budget := range map[string]*hostfs.Budget{"zero": &zero, "0": hostfs.NewBudget(0), "-1": hostfs.NewBudget(-1)} {
		t.Run(name, func(t *testing.T) {
			f := hostfs.NewFile(path, budget)
			checkRead(t, &f, "content")
			checkStats(t, budget, hostfs.BudgetStats{Refused: 1})
			f.Close()
			checkStats(t, budget, hostfs.BudgetStats{Refused: 1})
		})
	}
}

// A pipe refuses positioned reads (ESPIPE) as some kernels' procfs files do.
// Opening it anew through /proc/self/fd reads the same pipe.
func TestFileWithoutPositionedReads(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	path := fmt.Sprintf("/proc/self/fd/%d", r.Fd())
	budget := hostfs.NewBudget(1)
	f := hostfs.NewFile(path, budget)
	defer f.Close()

	fill(t, w, "one")
	checkRead(t, &f, "one")
	checkStats(t, budget, hostfs.BudgetStats{Reopened: 1})

	again, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	fill(t, again, "two")
	checkRead(t, &f, "two")
	// It was neither kept nor tried again.
	checkStats(t, budget, hostfs.BudgetStats{Reopened: 1})
}

func fill(t *testing.T, w *os.File, content string) {
	t.Helper()
	_, err := w.WriteString(content)
	require.NoError(t, errors.Join(err, w.Close()))
}

func TestFileOfRemovedCgroup(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	group := testkit.Cgroup(t, "hostfs")
	budget := hostfs.NewBudget(1)
	f := hostfs.NewFile(filepath.Join(group.Dir("pids"), "pids.current"), budget)
	defer f.Close()
	checkRead(t, &f, "0\n")
	checkStats(t, budget, hostfs.BudgetStats{Open: 1})

	group.Remove()
	for _, how := range []string{"kept descriptor", "path"} {
		if got, err := f.Read(nil); !errors.Is(err, hostfs.ErrGone) || len(got) != 0 {
			t.Errorf("removed cgroup by its %s: %q, %v", how, got, err)
		}
		checkStats(t, budget, hostfs.BudgetStats{})
	}

	testkit.Cgroup(t, "hostfs")
	checkRead(t, &f, "0\n")
	checkStats(t, budget, hostfs.BudgetStats{Open: 1})
}

func TestBudgetIsSharedByGoroutines(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	const limit, readers, rounds = 3, 8, 200
	path := writeFile(t, []byte("content"))
	budget := hostfs.NewBudget(limit)
	files := make([]hostfs.File, readers)
	for i := range files {
		files[i] = hostfs.NewFile(path, budget)
	}
	each := func(work func(f *hostfs.File)) {
		var wg sync.WaitGroup
		for i := range files {
			wg.Go(func() { work(&files[i]) })
		}
		wg.Wait()
	}
	each(func(f *hostfs.File) { checkRead(t, f, "content") })
	checkStats(t, budget, hostfs.BudgetStats{Open: limit, Refused: readers - limit})
	each(func(f *hostfs.File) {
		for range rounds {
			f.Close()
			checkRead(t, f, "content")
			if open := budget.Stats().Open; open > limit || open < 0 {
				t.Errorf("%d descriptors open, limit is %d", open, limit)
			}
		}
	})
	each((*hostfs.File).Close)
	if open := budget.Stats().Open; open != 0 {
		t.Errorf("%d descriptors are held after Close", open)
	}
}
