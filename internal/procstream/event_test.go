package procstream

import (
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// bytesOf is a record as the ring buffer hands it out.
func bytesOf[T any](r *T) []byte {
	words := make([]uint64, (unsafe.Sizeof(*r)+7)/8) // aligned
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), unsafe.Sizeof(*r))
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r)))
	return b
}

func exampleProcess(kind processKind) processProcessRecord {
	r := processProcessRecord{
		Time: 5_000_000_000, Start: 1_239_999_999, Cgroup: 11, Memory: 12, CpuTime: 13, MaxRss: 14,
		Kind: uint32(kind), Pid: 100, Ppid: 99, Vpid: 7, Level: 1, ExitCode: 9, Oom: 1,
	}
	copy(r.Comm[:], "worker")
	copy(r.Leaf[:], "docker-abc.scope")
	return r
}

func TestDecode(t *testing.T) {
	d := decoder{page: 4096}
	f := func(record []byte, want Event) {
		t.Helper()
		var got Event
		require.NoError(t, d.decode(record, &got))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	process := ProcessEvent{
		PID: 100, PPID: 99, VPID: 7, Level: 1, Start: 123, Unified: 11, Memory: 12,
		Comm: []byte("worker"), Leaf: []byte("docker-abc.scope"),
	}
	fork := exampleProcess(processKindFORK)
	f(bytesOf(&fork), Event{Kind: Forked, SinceBoot: 5 * time.Second, Process: process})

	exec := processExecRecord{Process: exampleProcess(processKindEXEC)}
	for i := range exec.Program {
		exec.Program[i] = 'x' // no room for an end
	}
	want := process
	want.Program = exec.Program[:]
	f(bytesOf(&exec), Event{Kind: Executed, SinceBoot: 5 * time.Second, Process: want})

	exit := exampleProcess(processKindEXIT)
	want = process
	want.Exit = Exit{Status: syscall.WaitStatus(9), OOM: true, CPUTime: 13, MaxRSS: 14 * 4096}
	f(bytesOf(&exit), Event{Kind: Exited, SinceBoot: 5 * time.Second, Process: want})

	cgroup := processCgroupRecord{
		Time: 5_000_000_000, Id: 21, MemoryUsage: 1, MemoryPeak: 2, OomKills: 3, PidsPeak: 4,
		Kind: uint32(processKindRMDIR), Hierarchy: 5, HasMemory: 1,
	}
	copy(cgroup.Path[:], "/docker/abc")
	f(bytesOf(&cgroup), Event{Kind: CgroupRemoved, SinceBoot: 5 * time.Second, Cgroup: CgroupEvent{
		ID: 21, Hierarchy: 5, Path: []byte("/docker/abc"), HasMemory: true,
		MemoryUsage: 4096, MemoryPeak: 2 * 4096, OOMKills: 3, PidsPeak: 4,
	}})
}

func TestDecodeRefuses(t *testing.T) {
	f := func(record []byte) {
		t.Helper()
		var e Event
		require.ErrorIs(t, decoder{}.decode(record, &e), ErrMalformed)
	}
	fork, exec := exampleProcess(processKindFORK), exampleProcess(processKindEXEC)
	mkdir, unknown := exampleProcess(processKindMKDIR), exampleProcess(77)
	f(nil)
	f(bytesOf(&fork)[:100])
	f(bytesOf(&exec))  // its program is missing
	f(bytesOf(&mkdir)) // its path is missing
	f(bytesOf(&unknown))
	odd := append([]byte{0}, bytesOf(&fork)...)
	f(odd[1:])
}

// FuzzDecode: any record is refused, or gives an event whose texts are parts
// of it.
func FuzzDecode(f *testing.F) {
	fork, exec := exampleProcess(processKindFORK), processExecRecord{Process: exampleProcess(processKindEXEC)}
	cgroup := processCgroupRecord{Kind: uint32(processKindMKDIR)}
	f.Add(bytesOf(&fork))
	f.Add(bytesOf(&exec))
	f.Add(bytesOf(&cgroup))
	f.Fuzz(func(t *testing.T, record []byte) {
		var e Event
		if err := (decoder{page: 4096}).decode(record, &e); err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		texts := len(e.Process.Comm) + len(e.Process.Leaf) + len(e.Process.Program) + len(e.Cgroup.Path)
		if texts > len(record) || e.Kind == 0 {
			t.Errorf("%d bytes gave %+v", len(record), e)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	exec := processExecRecord{Process: exampleProcess(processKindEXEC)}
	record := bytesOf(&exec)
	var e Event
	b.ReportAllocs()
	for b.Loop() {
		if err := (decoder{page: 4096}).decode(record, &e); err != nil {
			b.Fatal(err)
		}
	}
}
