package watch

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/ownthread"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// BenchmarkServers is a look at a namespace in which nine sockets wait for others, by
// sock_diag and by the files.
func BenchmarkServers(b *testing.B) {
	testkit.NeedRoot(b)
	for name, n := range map[string]*namespaces{"sock_diag": newNamespaces("/proc"), "files": fromFiles()} {
		b.Run(name, func(b *testing.B) {
			ready, over := make(chan place), make(chan struct{})
			defer close(over)
			go ownthread.Do(func() { stayIn(b, ready, over) })
			p := <-ready
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				if s := n.servers(p.pid, p.netns); len(s.sockets) != 9 || len(s.unknown) != 0 {
					b.Fatalf("%+v", s)
				}
			}
			b.ReportMetric((cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// stayIn fills a new namespace and stays there until it is over.
func stayIn(b *testing.B, ready chan<- place, over <-chan struct{}) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Error(err)
	}
	if err := testkit.Up("lo"); err != nil {
		b.Error(err)
	}
	open, err := waitingOnes()
	if err != nil {
		b.Error(err)
		open = closers{}
	}
	ready <- place{pid: unix.Gettid()}
	<-over
	_ = open.Close()
}

// cpu is what this process has used, in nanoseconds, in the kernel too.
func cpu(b *testing.B) float64 {
	b.Helper()
	var all unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &all); err != nil {
		b.Fatal(err)
	}
	return float64(all.Utime.Nano() + all.Stime.Nano())
}

// BenchmarkScanTable reads tables of 30,000 lines: of TCP as far as those that listen
// go, of UDP all.
func BenchmarkScanTable(b *testing.B) {
	udp := strings.Repeat(strings.SplitAfter(udpTable, "\n")[3], 30_000)
	for protocol, text := range map[string]string{target.TCP: busyTable(30_000), target.UDP: udp} {
		b.Run(protocol, func(b *testing.B) {
			buf, r := make([]byte, 4096), strings.NewReader(text)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Seek(0, io.SeekStart); err != nil {
					b.Fatal(err)
				}
				if err := scanTable(r, protocol, buf, func(socket) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
