package ship_test

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const profile = "../../deploy/seccomp.json"

// What a rule may say.
const (
	allow  = "SCMP_ACT_ALLOW"
	refuse = "SCMP_ACT_ERRNO"
)

// seccomp is as much of the profile's form as is used: a new field is an error here.
type seccomp struct {
	DefaultAction string        `json:"defaultAction"`
	Syscalls      []seccompRule `json:"syscalls"`
}

type seccompRule struct {
	Comment  string       `json:"comment"`
	Names    []string     `json:"names"`
	Args     []seccompArg `json:"args,omitempty"`
	Action   string       `json:"action"`
	ErrnoRet int          `json:"errnoRet,omitempty"`
}

// seccompArg is a condition for one argument of a call. With MASKED_EQ value is the mask.
type seccompArg struct {
	Index    int    `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo,omitempty"`
	Op       string `json:"op"`
}

func readProfile(t *testing.T) seccomp {
	t.Helper()
	file, err := os.Open(profile)
	require.NoError(t, err)
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	var p seccomp
	require.NoError(t, decoder.Decode(&p))
	return p
}

// without returns the profile's text, less one call.
func (p seccomp) without(t *testing.T, call string) string {
	t.Helper()
	var rules []seccompRule
	found := call == ""
	for _, rule := range p.Syscalls {
		kept := slices.DeleteFunc(slices.Clone(rule.Names), func(name string) bool { return name == call })
		found = found || len(kept) < len(rule.Names)
		if rule.Names = kept; len(kept) > 0 {
			rules = append(rules, rule)
		}
	}
	require.True(t, found, "%q is not in the profile", call)
	text, err := json.Marshal(seccomp{p.DefaultAction, rules})
	require.NoError(t, err)
	return string(text)
}

// errno is what a call gets: 0 if it is allowed.
func (p seccomp) errno(t *testing.T, call string, arguments ...uint64) unix.Errno {
	t.Helper()
	for _, rule := range p.Syscalls {
		isMeant := slices.Contains(rule.Names, call)
		for _, arg := range rule.Args {
			isMeant = isMeant && arg.holds(t, arguments)
		}
		switch {
		case isMeant && rule.Action == allow:
			return 0
		case isMeant:
			return unix.Errno(rule.ErrnoRet)
		}
	}
	return unix.EPERM // of SCMP_ACT_ERRNO without a number
}

func (a seccompArg) holds(t *testing.T, arguments []uint64) bool {
	t.Helper()
	require.Less(t, a.Index, len(arguments), "the profile looks at an argument that the test does not give")
	switch got := arguments[a.Index]; a.Op {
	case "SCMP_CMP_EQ":
		return got == a.Value
	case "SCMP_CMP_LT":
		return got < a.Value
	case "SCMP_CMP_MASKED_EQ":
		return got&a.Value == a.ValueTwo
	}
	t.Fatalf("unknown comparison %s", a.Op)
	return false
}

// The profile refuses what it does not name, and names nothing by which a container is left.
func TestProfile(t *testing.T) {
	p := readProfile(t)
	require.Equal(t, refuse, p.DefaultAction)
	var names []string
	allowed := 0
	for _, rule := range p.Syscalls {
		require.NotEmpty(t, rule.Comment)
		require.True(t, slices.IsSorted(rule.Names), rule.Names)
		names = append(names, rule.Names...)
		if rule.Action == allow {
			allowed += len(rule.Names)
			continue
		}
		require.Equal(t, []string{"clone3"}, rule.Names, "only this one has an error of its own")
	}
	slices.Sort(names)
	require.Len(t, slices.Compact(slices.Clone(names)), len(names), "a call is there twice")
	for _, call := range []string{
		"mount", "umount2", "move_mount", "open_tree", "fsopen", "mount_setattr", "pivot_root", "chroot", "ptrace", "process_vm_readv",
		"process_vm_writev", "pidfd_getfd", "kexec_load", "init_module", "finit_module", "keyctl", "add_key", "request_key", "mknod",
		"mknodat", "io_uring_setup", "userfaultfd", "perf_event_open", "reboot", "swapon", "sethostname", "syslog", "settimeofday",
		"clock_settime", "setxattr", "personality", "quotactl", "fanotify_init", "unshare", "vfork", "fork",
	} {
		require.NotContains(t, names, call)
		require.Equal(t, unix.EPERM, p.errno(t, call), call)
	}
	text, err := os.ReadFile(pageFile)
	require.NoError(t, err)
	require.Contains(t, string(text), "allows "+strconv.Itoa(allowed)+" calls")
	require.NotContains(t, p.without(t, "bpf"), `"bpf"`)
	require.Contains(t, p.without(t, "bpf"), `"setns"`)
}

// Calls that are allowed for one thing are allowed for nothing else.
func TestProfileLooksAtArguments(t *testing.T) {
	p := readProfile(t)
	f := func(want unix.Errno, call string, arguments ...uint64) {
		t.Helper()
		require.Equal(t, want, p.errno(t, call, arguments...), "%s %#x", call, arguments)
	}
	// What Go starts a thread with (runtime/os_linux.go, cloneFlags), and a process (syscall/exec_linux.go).
	f(0, "clone", unix.CLONE_VM|unix.CLONE_FS|unix.CLONE_FILES|unix.CLONE_SIGHAND|unix.CLONE_SYSVSEM|unix.CLONE_THREAD)
	f(0, "clone", unix.CLONE_VFORK|unix.CLONE_VM|unix.CLONE_PIDFD|uint64(unix.SIGCHLD))
	namespaces := []uint64{
		unix.CLONE_NEWNS, unix.CLONE_NEWCGROUP, unix.CLONE_NEWUTS, unix.CLONE_NEWIPC, unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWNET,
	}
	for _, flag := range namespaces {
		f(unix.EPERM, "clone", flag|uint64(unix.SIGCHLD))
		f(unix.EPERM, "unshare", flag)
		if flag != unix.CLONE_NEWNET {
			f(unix.EPERM, "setns", 3, flag)
			f(unix.EPERM, "setns", 3, flag|unix.CLONE_NEWNET)
		}
	}
	f(unix.ENOSYS, "clone3", 0, 88)
	f(0, "setns", 3, unix.CLONE_NEWNET)
	f(unix.EPERM, "setns", 3, 0) // of whatever kind the descriptor is
	f(0, "socket", unix.AF_NETLINK)
	f(unix.EPERM, "socket", unix.AF_VSOCK)
	// The kernel takes the lower half of the argument; the filter looks at both.
	f(unix.EPERM, "socket", 1<<32|unix.AF_VSOCK)
}

// filtered is that the kernel does so too, for a process with the capabilities of the
// set full: busybox makes the calls that a shell in the agent's place would.
func (w *world) filtered(t *testing.T, page rights) {
	var options []string
	for _, option := range of(page.options, full) {
		if !strings.HasPrefix(option, "-v ") && !strings.HasPrefix(option, "--device ") {
			options = append(options, option)
		}
	}
	c := w.engine.RunContainer(t, testkit.ContainerSpec{
		Name: w.name + "-filtered",
		Adjust: func(c *container.Config, h *container.HostConfig) {
			for _, option := range options {
				require.NoError(t, spec{c, h}.add(option, w.at))
			}
		},
	})
	subject := strconv.Itoa(w.subject.PID)
	f := func(isAllowed bool, command ...string) {
		t.Helper()
		result, err := c.Exec(t.Context(), command...)
		require.NoError(t, err)
		if isAllowed {
			require.Zero(t, result.ExitCode, "%v: %s", command, result.Output)
			return
		}
		require.NotZero(t, result.ExitCode, "%v", command)
		require.Regexp(t, "not permitted|permission denied", result.Output, "%v", command)
	}
	f(true, "sh", "-c", "true; (true); echo $(true)") // forks
	f(true, "nsenter", "--net=/proc/"+subject+"/ns/net", "true")
	f(false, "nsenter", "--mount=/proc/"+subject+"/ns/mnt", "true")
	f(false, "nsenter", "--pid=/proc/"+subject+"/ns/pid", "true")
	f(false, "nsenter", "--uts=/proc/"+subject+"/ns/uts", "true")
	f(false, "unshare", "-n", "true")
	f(false, "unshare", "-m", "true")
	f(false, "mount", "-t", "tmpfs", "none", "/tmp")
}
