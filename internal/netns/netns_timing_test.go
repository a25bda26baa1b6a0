package netns_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// BenchmarkScrape is what finding and reading real network namespaces costs:
//
//	go test -run '^$' -bench Scrape -benchtime 5x ./internal/netns
//
// Each belongs to a process of its own; the cgroups are made up, but for the
// list of processes in each, which is read only when a process has gone. Hot
// passes follow each other at once, cold ones a second apart, as in
// production. CPU time is that of the reading thread.
func BenchmarkScrape(b *testing.B) {
	for _, count := range []int{50, 500} {
		b.Run(strconv.Itoa(count), func(b *testing.B) {
			tracker, _ := manyNamespaces(b, count)
			require.Len(b, tracker.Refresh(), count+1)
			for _, v := range []struct {
				name      string
				protocols func(*netns.Namespace, int) bool
			}{
				{"interfaces", func(*netns.Namespace, int) bool { return false }},
				{"protocols in turns", func(n *netns.Namespace, pass int) bool { return (uint64(pass)+n.Inode)%10 == 0 }},
				{"all", func(*netns.Namespace, int) bool { return true }},
			} {
				scrape := func(pass int) {
					for _, n := range tracker.Refresh() {
						tracker.Read(n, v.protocols(n, pass))
					}
				}
				b.Run(v.name+"/hot", func(b *testing.B) { measure(b, count, 0, scrape) })
				b.Run(v.name+"/cold", func(b *testing.B) { measure(b, count, time.Second, scrape) })
			}
		})
	}
}

// measure reports the CPU time for each namespace and scrape.
func measure(b *testing.B, count int, gap time.Duration, scrape func(int)) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	scrape(0)
	b.ReportAllocs()
	var spent time.Duration
	for i := range b.N {
		if gap > 0 {
			<-time.After(gap)
		}
		before := cpuTime(b)
		scrape(i)
		spent += cpuTime(b) - before
	}
	b.ReportMetric(0, "ns/op") // a scrape with its gap
	perScrape := float64(spent.Microseconds()) / float64(b.N)
	b.ReportMetric(perScrape/1000, "cpu-ms/scrape")
	b.ReportMetric(perScrape/float64(count), "cpu-µs/netns")
}

// cpuTime is that of the calling thread.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var cpu unix.Timespec
	require.NoError(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &cpu))
	return time.Duration(cpu.Nano())
}

// A read of the interfaces allocates what opening a file by its name does,
// and a Refresh its list and two names for each member.
func TestAllocationsPerScrape(t *testing.T) {
	const count = 20
	tracker, _ := manyNamespaces(t, count)
	scrape := func() {
		for _, n := range tracker.Refresh() {
			tracker.Read(n, false)
		}
	}
	scrape()
	scrape()
	if allocs := testing.AllocsPerRun(20, scrape) / (count + 1); allocs > 3 {
		t.Errorf("%.1f allocations for each namespace", allocs)
	}
}

// manyNamespaces starts processes in namespaces of their own.
func manyNamespaces(t testing.TB, count int) (*netns.Tracker, []*exec.Cmd) {
	t.Helper()
	testkit.NeedRoot(t)
	dir := t.TempDir()
	index := container.NewIndex(container.IndexOptions{})
	var processes []*exec.Cmd
	for i := range count {
		cmd := exec.Command("sleep", "3600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
		require.NoError(t, cmd.Start())
		processes = append(processes, cmd)
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		path := "/lxc/test-" + strconv.Itoa(i)
		procs := filepath.Join(dir, path, "cgroup.procs")
		require.NoError(t, os.MkdirAll(filepath.Dir(procs), 0o755))
		require.NoError(t, os.WriteFile(procs, strconv.AppendInt(nil, int64(cmd.Process.Pid), 10), 0o600))
		index.Add(container.Cgroup{Path: path, Inode: uint64(i) + 1})
	}
	tracker := netns.NewTracker(netns.Options{
		Roots: hostfs.NewRoots("/"), Index: index,
		ProcsFile: func(path string) string { return filepath.Join(dir, path, "cgroup.procs") },
	})
	t.Cleanup(tracker.Close)
	return tracker, processes
}
