package hostfs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

func TestFileReadDoesNotAllocate(t *testing.T) {
	f := func(size int) {
		t.Helper()
		file := hostfs.NewFile(writeFile(t, pattern(size)), hostfs.NewBudget(1))
		defer file.Close()
		buf, err := file.Read(nil)
		require.NoError(t, err)
		allocs := testing.AllocsPerRun(100, func() { buf, err = file.Read(buf) })
		require.NoError(t, err)
		require.Len(t, buf, size)
		if allocs != 0 {
			t.Errorf("%d bytes: %v allocations per read", size, allocs)
		}
	}
	f(6)      // one read
	f(3000)   // a second read finds the end
	f(50_000) // the buffer has grown once
}

func BenchmarkRead(b *testing.B) {
	f := func(name, path string) {
		for _, w := range []struct {
			how  string
			kept int
		}{{"kept", 1}, {"above the budget", 0}} {
			b.Run(name+"/"+w.how, func(b *testing.B) {
				file := hostfs.NewFile(path, hostfs.NewBudget(w.kept))
				defer file.Close()
				buf := make([]byte, 0, 4096)
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if buf, err = file.Read(buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	f("loadavg", "/proc/loadavg")
	f("vmstat", "/proc/vmstat")
}
