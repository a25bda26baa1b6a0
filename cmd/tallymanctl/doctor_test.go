package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/doctor"
	"github.com/tallymanhq/tallyman/internal/ownthread"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// program copies the test binary to where every user may run it.
func program(t *testing.T) string {
	t.Helper()
	binary, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "tallymanctl-") // t.TempDir is not for others
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "tallymanctl")
	require.NoError(t, os.WriteFile(path, binary, 0o755))
	return path
}

// outside is a process of its own that runs tallymanctl.
func outside(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program(t), args...)
	cmd.Dir = "/"
	cmd.Env = []string{asCommand + "=1"}
	return cmd
}

// finish runs cmd and returns its report and exit code.
func finish(t *testing.T, cmd *exec.Cmd) (doctorOutput, int) {
	t.Helper()
	stdout, code := silently(t, cmd)
	return parse(t, stdout), code
}

// silently runs cmd, which says nothing on stderr, and returns its output and exit code.
func silently(t *testing.T, cmd *exec.Cmd) ([]byte, int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	require.Empty(t, stderr.String())
	return stdout.Bytes(), cmd.ProcessState.ExitCode()
}

// parse refuses what is not exactly the documented form.
func parse(t *testing.T, text []byte) doctorOutput {
	t.Helper()
	var out doctorOutput
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&out), "%s", text)
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &fields))
	for _, name := range []string{"version", "host", "checks", "summary"} {
		require.Contains(t, fields, name)
	}
	return out
}

func (out doctorOutput) find(t *testing.T, name string) doctor.Result {
	t.Helper()
	for _, r := range out.Checks {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no check %s in %+v", name, out.Checks)
	return doctor.Result{}
}

// programs returns the results of all BPF programs.
func (out doctorOutput) programs(t *testing.T) []doctor.Result {
	t.Helper()
	var all []doctor.Result
	for _, r := range out.Checks {
		if strings.HasPrefix(r.Name, "bpf.program.") {
			all = append(all, r)
		}
	}
	require.Len(t, all, 7)
	return all
}

func TestDoctorAsRoot(t *testing.T) {
	testkit.NeedBPF(t)
	out, code := finish(t, outside(t, "doctor", "--json", "--state-dir", t.TempDir()))
	require.Equal(t, exitOK, code, "%+v", out.Checks)
	require.Zero(t, out.Summary.Fail)
	for _, r := range out.programs(t) {
		require.Equal(t, doctor.Pass, r.Status, "%+v", r)
	}
	require.Equal(t, doctor.Pass, out.find(t, "bpf.btf").Status)
	var uts unix.Utsname
	require.NoError(t, unix.Uname(&uts))
	require.Equal(t, unix.ByteSliceToString(uts.Release[:]), out.Host.Kernel)
	require.Equal(t, "/", out.Host.RootPath)
	require.Zero(t, out.Host.UID)
	require.Equal(t, version, out.Version)
}

func TestDoctorAsNobody(t *testing.T) {
	testkit.NeedRoot(t) // to become nobody
	cmd := outside(t, "doctor", "--json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, code := finish(t, cmd)
	require.Equal(t, exitFailed, code)
	require.Equal(t, 65534, out.Host.UID)
	for _, r := range out.programs(t) {
		require.Equal(t, doctor.Fail, r.Status, "%+v", r)
		require.Contains(t, r.Remedy, "CAP_BPF")
		require.Contains(t, r.Error, "operation not permitted")
		require.Contains(t, r.Meaning, "No process stream")
	}
	for _, name := range []string{"capability.bpf", "capability.perfmon", "capability.sys_ptrace", "capability.dac_read_search"} {
		require.Equal(t, doctor.Warn, out.find(t, name).Status, name)
	}
	require.Equal(t, doctor.Fail, out.find(t, "disk.state").Status)
	require.Equal(t, doctor.Pass, out.find(t, "cgroup.version").Status, "what needs no rights works")
	require.Equal(t, doctor.Pass, out.find(t, "kernel.psi").Status)
}

// withoutCapabilities runs f with a thread from whose children's reach some
// capabilities are gone.
func withoutCapabilities(t *testing.T, f func(), drop ...uintptr) {
	t.Helper()
	var err error
	ownthread.Do(func() {
		for _, bit := range drop {
			err = errors.Join(err, unix.Prctl(unix.PR_CAPBSET_DROP, bit, 0, 0, 0))
		}
		f()
	})
	require.NoError(t, err)
}

func TestDoctorWithoutCapBPF(t *testing.T) {
	testkit.NeedBPF(t)
	cmd := outside(t, "doctor", "--json", "--state-dir", t.TempDir())
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	withoutCapabilities(t, func() { _ = cmd.Run() }, unix.CAP_BPF, unix.CAP_SYS_ADMIN)
	require.Equal(t, exitFailed, cmd.ProcessState.ExitCode())
	out := parse(t, stdout.Bytes())
	require.Zero(t, out.Host.UID, "still root")
	require.Equal(t, doctor.Warn, out.find(t, "capability.bpf").Status)
	require.Equal(t, "not held", out.find(t, "capability.bpf").Found)
	require.Equal(t, doctor.Pass, out.find(t, "capability.perfmon").Status)
	for _, r := range out.programs(t) {
		require.Equal(t, doctor.Fail, r.Status, "%+v", r)
		require.Contains(t, r.Remedy, "CAP_BPF")
	}
}

func TestDoctorWithoutBTF(t *testing.T) {
	testkit.NeedBPF(t)
	cmd := outside(t, "doctor", "--json", "--state-dir", t.TempDir())
	cmd.Env = append(cmd.Env, hideEnv+"=/sys/kernel/btf")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, code := finish(t, cmd)
	require.Equal(t, exitFailed, code)
	btf := out.find(t, "bpf.btf")
	require.Equal(t, doctor.Fail, btf.Status)
	require.Equal(t, "/sys/kernel/btf/vmlinux is not there", btf.Found)
	require.Contains(t, btf.Remedy, "CONFIG_DEBUG_INFO_BTF")
	for _, r := range out.programs(t) {
		require.Equal(t, doctor.Fail, r.Status, "%+v", r)
		require.Contains(t, r.Remedy, "/sys/kernel/btf/vmlinux")
	}
	require.NoFileExists(t, "/sys/kernel/btf/nothing")
	require.FileExists(t, "/sys/kernel/btf/vmlinux", "the host's own is as it was")
}

// inContainer runs doctor in a container of a real engine, with the host's
// root below /hostfs.
func inContainer(t *testing.T, pidMode string, adjust func(*container.HostConfig)) doctorOutput {
	t.Helper()
	engine := testkit.Docker(t)
	path := program(t)
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "tallymanctl", NetworkMode: "none", PidMode: pidMode,
		Binds:  []string{"/:/hostfs:ro", path + ":/tallymanctl:ro"},
		Env:    []string{asCommand + "=1", "TALLYMAN_ROOT=/hostfs"},
		Adjust: func(_ *container.Config, h *container.HostConfig) { adjust(h) },
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*doctor.DefaultTimeout)
	defer cancel()
	result, err := c.Exec(ctx, "/tallymanctl", "doctor", "--json")
	require.NoError(t, err)
	out := parse(t, []byte(result.Output))
	require.Equal(t, out.Summary.Fail > 0, result.ExitCode == exitFailed)
	for _, name := range []string{"host.root", "cgroup.version", "cgroup.namespace", "bpf.btf", "disk.state"} {
		require.Equal(t, doctor.Pass, out.find(t, name).Status, "%+v", out.find(t, name))
	}
	require.Equal(t, "/hostfs", out.Host.RootPath)
	return out
}

func TestDoctorInContainer(t *testing.T) {
	out := inContainer(t, "", func(*container.HostConfig) {})
	pid := out.find(t, "pid.namespace")
	require.Equal(t, doctor.Fail, pid.Status)
	require.Contains(t, pid.Found, "/hostfs/proc shows the host's")
	require.Equal(t, doctor.Warn, out.find(t, "capability.bpf").Status)
	require.Equal(t, doctor.Warn, out.find(t, "process.seccomp").Status, "Docker's own profile")
	require.Equal(t, doctor.Fail, out.programs(t)[0].Status)
}

// Nothing of the host is mounted: only the container itself is in sight.
func TestDoctorInContainerWithoutHost(t *testing.T) {
	engine := testkit.Docker(t)
	c := engine.RunContainer(t, testkit.ContainerSpec{
		Name: "tallymanctl-alone", NetworkMode: "none",
		Binds: []string{program(t) + ":/tallymanctl:ro"}, Env: []string{asCommand + "=1"},
	})
	result, err := c.Exec(t.Context(), "/tallymanctl", "doctor", "--json")
	require.NoError(t, err)
	out := parse(t, []byte(result.Output))
	for _, name := range []string{"cgroup.version", "pid.namespace", "docker.socket"} {
		require.Equal(t, doctor.Warn, out.find(t, name).Status, "%+v", out.find(t, name))
	}
	require.Contains(t, out.find(t, "cgroup.version").Remedy, "-v /:/hostfs:ro")
}

// CAP_SYS_ADMIN rather than CAP_BPF: the seccomp profile of old engines lets
// bpf(2) pass for that alone.
func TestDoctorInContainerWithRights(t *testing.T) {
	testkit.NeedBPF(t)
	out := inContainer(t, "host", func(h *container.HostConfig) { h.CapAdd = []string{"SYS_ADMIN", "SYS_PTRACE"} })
	require.Zero(t, out.Summary.Fail, "%+v", out.Checks)
	require.Equal(t, doctor.Pass, out.find(t, "process.seccomp").Status, "%+v", out.Checks)
	require.Contains(t, out.find(t, "capability.bpf").Found, "CAP_SYS_ADMIN")
	require.Equal(t, doctor.Pass, out.find(t, "pid.namespace").Status)
	require.Equal(t, doctor.Pass, out.programs(t)[0].Status)
}
