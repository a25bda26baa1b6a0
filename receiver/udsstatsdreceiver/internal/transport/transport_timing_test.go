package transport_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/transport"
)

// BenchmarkDatagrams is the receiver's processor time per datagram, all of it:
// the kernel's and Go's. Four other processes send as fast as they can, whatever
// the sender's cost. Sizes are a message of 138 bytes, 10 and 55 of them.
func BenchmarkDatagrams(b *testing.B) {
	for _, depth := range []int{10, 16384} {
		for _, size := range []int{138, 1391, 7731} {
			for _, pidFDs := range []bool{false, true} {
				b.Run(fmt.Sprintf("depth=%d/bytes=%d/pidfd=%t", depth, size, pidFDs), func(b *testing.B) {
					path := room(b)
					o := transport.UnixOptions{Path: path, Depth: depth, PidFDs: pidFDs}
					s, err := transport.ListenUnix(o)
					require.NoError(b, err)
					defer s.Close()
					for range 4 {
						begin(b, order{Role: "send", Path: path, Count: -1, Size: size})
					}
					measure(b, s)
				})
			}
		}
	}
}

// BenchmarkPaced is 20,000 datagrams a second from four processes.
func BenchmarkPaced(b *testing.B) {
	path := room(b)
	s, err := transport.ListenUnix(transport.UnixOptions{Path: path})
	require.NoError(b, err)
	defer s.Close()
	for range 4 {
		begin(b, order{Role: "send", Path: path, Count: -1, Size: 138, Every: 200 * time.Microsecond})
	}
	measure(b, s)
}

// BenchmarkListen is what the proof of the depth costs at the start.
func BenchmarkListen(b *testing.B) {
	for _, depth := range []int{10, 16384} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			path := room(b)
			for b.Loop() {
				s, err := transport.ListenUnix(transport.UnixOptions{Path: path, Depth: depth})
				require.NoError(b, err)
				require.NoError(b, s.Close())
			}
		})
	}
}

// measure receives b.N datagrams and reports what they cost.
func measure(b *testing.B, s *transport.Socket) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	// What comes before is the start of the senders.
	warm, got := 1000, 0
	var begin, end unix.Rusage
	var memory, memoryEnd runtime.MemStats
	var first, last transport.Stats
	err := s.Run(ctx, reader(func(batch []transport.Datagram) {
		before := got
		got += len(batch)
		if before < warm && got >= warm {
			first = s.Stats()
			runtime.ReadMemStats(&memory)
			require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &begin))
			b.ResetTimer()
		}
		if before < warm+b.N && got >= warm+b.N {
			b.StopTimer()
			require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &end))
			runtime.ReadMemStats(&memoryEnd)
			last = s.Stats()
			cancel()
		}
	}))
	require.NoError(b, err)
	n := float64(max(last.Datagrams-first.Datagrams, 1))
	cpu := end.Utime.Nano() + end.Stime.Nano() - begin.Utime.Nano() - begin.Stime.Nano()
	b.ReportMetric(float64(cpu)/n, "cpu-ns/dg")
	b.ReportMetric(n/float64(max(last.Calls-first.Calls, 1)), "dg/call")
	b.ReportMetric(float64(memoryEnd.Mallocs-memory.Mallocs)/n, "mallocs/dg")
	b.ReportMetric(float64(end.Nvcsw-begin.Nvcsw)/n, "switches/dg")
}

// begin starts a process and ends it with the benchmark.
func begin(b *testing.B, o order) {
	b.Helper()
	cmd := process(b, o)
	cmd.Stderr = nil // it ends with an error when the socket goes
	cmd.Env = append(cmd.Env, "GOMAXPROCS=1")
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Signal(os.Kill)
		_ = cmd.Wait()
	})
}
