package procstream_test

import (
	"os"
	"testing"
)

// A sleeping child, because most processes of a host are small and idle; this
// process itself, because it has threads and much memory.
func BenchmarkReader(b *testing.B) {
	r := newReader()
	child := start(b, "idle", nil, "1000")
	named(b, r, child.Process.Pid, "idle")
	f := func(name string, read func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	both := func(name string, pid int) {
		f("Stat/"+name, func() error { _, err := r.Stat(pid); return err })
		f("VPID/"+name, func() error { _, err := r.VPID(pid); return err })
	}
	both("idle child", child.Process.Pid)
	both("self", os.Getpid())
}
