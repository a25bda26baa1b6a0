package state

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// BenchmarkTake takes pictures of a cgroup with ten processes, and tells when the
// files of the cgroup, which go first, are read.
func BenchmarkTake(b *testing.B) {
	testkit.NeedCommand(b, "sleep")
	group := testkit.Cgroup(b, "picture")
	for range 10 {
		testkit.Run(b, group, "sleep", "600")
	}
	roots := hostfs.NewRoots("/")
	host, err := cgroup.Detect(roots)
	require.NoError(b, err)
	o := Options{Roots: roots, Cgroups: host, Place: func(string) (string, bool) { return group.Path(), true }}
	b.Run("all", func(b *testing.B) {
		c := NewCamera(o)
		b.ReportAllocs()
		for b.Loop() {
			require.Len(b, c.Take(b.Context(), Request{Container: "one"}).Processes, 10)
		}
	})
	b.Run("cgroup", func(b *testing.B) {
		for b.Loop() {
			p := &shot{o: o, ctx: b.Context(), s: &Snapshot{}}
			p.cgroup(directories(host, group.Path()))
			require.NotEmpty(b, p.s.Cgroup)
		}
	})
	b.Run("kernel", func(b *testing.B) {
		for b.Loop() {
			_, err := ReadOOM("/dev/kmsg", time.Now())
			require.NoError(b, err)
		}
	})
}
