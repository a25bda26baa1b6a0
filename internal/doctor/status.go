package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// noStream is what the agent shows without the BPF process stream.
const noStream = "No process stream by BPF. The proc connector (see there) takes its place, without the peaks of containers " +
	"that live milliseconds; where that is refused too, processes are what /proc shows now and then."

// lostBPF leaves it to the BPF programs' own results what that costs.
const lostBPF = "The BPF programs, and with them the process stream, are refused."

// status is what /proc/self/status says of this process' rights.
type status struct {
	effective  capabilities
	seccomp    int
	hasSeccomp bool // false: a kernel without it
}

// capabilities has a bit for each capability that is held.
type capabilities uint64

func (c capabilities) has(bit int) bool { return c&(1<<bit) != 0 }

// mayBPF reports whether the kernel lets a process with these load programs:
// CAP_SYS_ADMIN stands in for CAP_BPF, which came with 5.8.
func (c capabilities) mayBPF() bool { return c.has(unix.CAP_BPF) || c.has(unix.CAP_SYS_ADMIN) }

func ownStatus() (status, error) {
	const path = "/proc/self/status"
	b, err := hostfs.ReadFile(path, nil)
	if err != nil {
		return status{}, fmt.Errorf("read %s: %w", path, err)
	}
	s, err := parseStatus(b)
	if err != nil {
		return status{}, fmt.Errorf("parse %s: %w", path, err)
	}
	return s, nil
}

var errNoCapEff = errors.New("there is no line CapEff")

// parseStatus reads two lines of proc_pid_status(5):
//
//	CapEff:	000001ffffffffff
//	Seccomp:	2
func parseStatus(b []byte) (status, error) {
	var s status
	hasCaps := false
	for line := range bytes.Lines(b) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		text := string(bytes.TrimSpace(value))
		switch string(key) {
		case "CapEff":
			bits, err := strconv.ParseUint(text, 16, 64)
			if err != nil {
				return status{}, fmt.Errorf("CapEff %q: %w", text, err)
			}
			s.effective, hasCaps = capabilities(bits), true
		case "Seccomp":
			mode, err := strconv.ParseUint(text, 10, 8)
			if err != nil {
				return status{}, fmt.Errorf("seccomp %q: %w", text, err)
			}
			s.seccomp, s.hasSeccomp = int(mode), true
		}
	}
	if !hasCaps {
		return status{}, errNoCapEff
	}
	return s, nil
}

// wantedCapability is one that the agent uses. What connections need to enter
// network namespaces and to ask conntrack is tried (connections.nat and
// connections.lookup).
type wantedCapability struct {
	bit       int
	name, id  string
	instead   int // one that does as well
	insteadID string
	use, lost string
}

var wantedCapabilities = []wantedCapability{
	{
		bit: unix.CAP_BPF, name: "CAP_BPF", id: "capability.bpf",
		instead: unix.CAP_SYS_ADMIN, insteadID: "CAP_SYS_ADMIN",
		use: "To load BPF programs: the process stream.", lost: lostBPF,
	},
	{
		bit: unix.CAP_PERFMON, name: "CAP_PERFMON", id: "capability.perfmon",
		instead: unix.CAP_SYS_ADMIN, insteadID: "CAP_SYS_ADMIN",
		use: "To attach BPF programs to the kernel's tracepoints: the process stream.", lost: lostBPF,
	},
	{
		bit: unix.CAP_SYS_PTRACE, name: "CAP_SYS_PTRACE", id: "capability.sys_ptrace",
		instead: unix.CAP_SYS_PTRACE,
		use:     "To ask other users' processes for their program, their sockets, their network namespace and their root.",
		lost: "Of containers whose processes run as another user than the agent, or hold capabilities that it does not: " +
			"no container.network.* and no container.filesystem.*, and discovery does not know which program listens at a " +
			"port, nor, where images do not tell, what a container runs (service.technology).",
	},
	{
		bit: unix.CAP_DAC_READ_SEARCH, name: "CAP_DAC_READ_SEARCH", id: "capability.dac_read_search",
		instead: unix.CAP_DAC_OVERRIDE, insteadID: "CAP_DAC_OVERRIDE",
		use: "To read other users' files: container.filesystem.usage (off by default), and log files.",
		lost: "Log files that only other users may read are not read; container.filesystem.usage (off by default) is missing, " +
			"or misses what lies in other users' directories.",
	},
}

func checkCapabilities(context.Context) []Result {
	s, err := ownStatus()
	if err != nil {
		return one(undecided("not known", err))
	}
	namespace, err := ownNamespace("user")
	if err != nil {
		return one(undecided("no user namespace", err))
	}
	results := make([]Result, 0, len(wantedCapabilities))
	for _, c := range wantedCapabilities {
		results = append(results, c.judge(s.effective, namespace == hostUserNamespace))
	}
	return results
}

// judge asks for one capability. Those of a user namespace other than the
// first count only for what belongs to that namespace, which is nothing here.
func (c wantedCapability) judge(held capabilities, counts bool) Result {
	r := Result{Name: c.id, Title: c.name, Status: Pass, Meaning: c.use}
	has, hasInstead := held.has(c.bit), held.has(c.instead)
	switch {
	case counts && has:
		r.Found = "held"
		return r
	case counts && hasInstead:
		r.Found = "not held, but " + c.insteadID + " is, which does as well"
		return r
	case has || hasInstead:
		r.Found = "held, but only within a user namespace"
		r.Remedy = "Run the agent outside of the user namespace that rootless Docker, Podman or userns-remap made."
	default:
		r.Found = "not held"
		r.Remedy = "Run with it: as root on the host, AmbientCapabilities= in the systemd unit, docker run --cap-add."
		if c.instead == unix.CAP_SYS_ADMIN {
			// Docker 20.10 says of BPF "unknown capability".
			r.Remedy += " Docker engines that do not know it: --cap-add SYS_ADMIN."
		}
	}
	r.Status, r.Meaning = Warn, c.lost
	return r
}

func checkSeccomp(context.Context) Result {
	s, err := ownStatus()
	if err != nil {
		return undecided("not known", err)
	}
	return judgeSeccomp(s, askBPF())
}

// askBPF calls bpf(2) with a command that no kernel has. EINVAL is the
// kernel's answer to that: the call got through.
func askBPF() error {
	const noCommand = 1<<31 - 1
	_, _, errno := unix.Syscall(unix.SYS_BPF, noCommand, 0, 0)
	return errno
}

// judgeSeccomp tells whether a filter stands in the way of the one system
// call of the agent that filters do not let pass.
func judgeSeccomp(s status, answer error) Result {
	switch {
	case !s.hasSeccomp:
		return Result{Status: Pass, Found: "not in this kernel", Meaning: "No system call is filtered."}
	case s.seccomp == 0:
		return Result{Status: Pass, Found: "off", Meaning: "No system call is filtered."}
	case errors.Is(answer, unix.EINVAL):
		return Result{Status: Pass, Found: "a filter that lets bpf(2) pass", Meaning: "It does not stand in the way of the process stream."}
	}
	r := Result{
		Status: Warn, Found: "a filter that refuses bpf(2)", Meaning: noStream,
		Remedy: "docker run --security-opt seccomp=unconfined, or a profile that allows bpf(2) " +
			"(Docker's own does so for CAP_SYS_ADMIN, newer ones also for CAP_BPF). systemd: SystemCallFilter=bpf.",
		Error: fmt.Sprintf("bpf(2): %v", answer),
	}
	if errors.Is(answer, unix.EPERM) && !s.effective.mayBPF() {
		r.Found = "a filter; it or the missing CAP_BPF refuses bpf(2)"
		r.Remedy = "First see to CAP_BPF. If it is still refused: " + r.Remedy
	}
	return r
}
