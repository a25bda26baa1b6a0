package bpfload_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/bpfload"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// spec has a program that every kernel accepts, one whose hook no kernel has,
// and one that no verifier lets pass: it reads a register that was not set.
func spec() *ebpf.CollectionSpec {
	program := func(to string, instructions ...asm.Instruction) *ebpf.ProgramSpec {
		return &ebpf.ProgramSpec{Type: ebpf.RawTracepoint, AttachTo: to, License: "GPL", Instructions: instructions}
	}
	zero := asm.Mov.Imm(asm.R0, 0)
	return &ebpf.CollectionSpec{
		Maps: map[string]*ebpf.MapSpec{
			"drops": {Name: "drops", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 3},
		},
		Programs: map[string]*ebpf.ProgramSpec{
			"good":    program("sched_process_exit", zero, asm.Return()),
			"no_hook": program("tallyman_no_such_tracepoint", zero, asm.Return()),
			"bad":     program("sched_process_exit", asm.Mov.Reg(asm.R0, asm.R9), asm.Return()),
		},
	}
}

func TestEachProgramOnItsOwn(t *testing.T) {
	testkit.NeedBPF(t)
	testkit.VerifyNoLeaks(t)
	set, err := bpfload.Load(spec())
	require.NoError(t, err)
	defer set.Close()
	require.True(t, set.Runs("good"))
	require.NoError(t, set.Programs["good"])
	for _, name := range []string{"no_hook", "bad"} {
		require.False(t, set.Runs(name))
		require.ErrorIs(t, set.Programs[name], hostfs.ErrNotSupported, name)
		require.NotContains(t, set.Programs[name].Error(), "\n")
		require.ErrorContains(t, set.Programs[name], "BPF program "+name)
	}
	require.ErrorContains(t, set.Programs["bad"], "R9 !read_ok")
	drops, err := set.Drops("drops")
	require.NoError(t, err)
	require.Equal(t, []uint64{0, 0, 0}, drops)
}

func TestNothingRuns(t *testing.T) {
	testkit.NeedBPF(t)
	testkit.VerifyNoLeaks(t)
	only := spec()
	delete(only.Programs, "good")
	_, err := bpfload.Load(only)
	require.ErrorIs(t, err, hostfs.ErrNotSupported)
}

const plainEnv = "TALLYMAN_TEST_PLAIN"

// What a plain user is told, by this test run again as one.
func TestWithoutCapabilities(t *testing.T) {
	if os.Getenv(plainEnv) != "" {
		_, err := bpfload.Load(spec())
		var missing *hostfs.NotSupportedError
		require.ErrorAs(t, err, &missing)
		require.Contains(t, missing.Remedy, "CAP_BPF")
		require.ErrorIs(t, err, syscall.EPERM)
		return
	}
	testkit.NeedRoot(t)
	binary, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "tallyman-bpfload-") // t.TempDir is not for others
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(dir+"/test", binary, 0o755))
	cmd := exec.Command(dir+"/test", "-test.run=^TestWithoutCapabilities$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), plainEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestWithoutCapabilities")
}
