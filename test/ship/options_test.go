package ship_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/stretchr/testify/require"
)

var errOption = errors.New("the tests do not know the option")

// places are what stands on this host, or on this engine, for what the page says.
type places struct {
	volumes map[string]string // of the page -> of the engine
	docker  string            // where /var/lib/docker is
	profile string            // what is in deploy/seccomp.json
}

// spec is what one container is made of.
type spec struct {
	config *container.Config
	host   *container.HostConfig
}

// add does what `docker run` does with the option.
func (s spec) add(option string, at places) error {
	name, value, _ := strings.Cut(option, " ")
	switch name {
	case "--user":
		s.config.User = value
	case "--read-only":
		s.host.ReadonlyRootfs = true
	case "--pid":
		s.host.PidMode = container.PidMode(value)
	case "--cap-add":
		s.host.CapAdd = append(s.host.CapAdd, value)
	case "--cap-drop":
		s.host.CapDrop = append(s.host.CapDrop, value)
	case "--security-opt":
		if strings.HasPrefix(value, "seccomp=") {
			value = "seccomp=" + at.profile
		}
		s.host.SecurityOpt = append(s.host.SecurityOpt, value)
	case "-v":
		s.host.Binds = append(s.host.Binds, at.bind(value))
	case "-e":
		s.config.Env = append(s.config.Env, value)
	default:
		return s.addPair(name, value)
	}
	return nil
}

// addPair adds what has two parts or three.
func (s spec) addPair(name, value string) error {
	switch name {
	case "--sysctl":
		key, number, _ := strings.Cut(value, "=")
		s.host.Sysctls = map[string]string{key: number}
	case "-l":
		key, text, _ := strings.Cut(value, "=")
		s.config.Labels = map[string]string{key: text}
	case "--device":
		parts := strings.Split(value, ":")
		if len(parts) != 3 {
			return fmt.Errorf("%s %s: %w", name, value, errOption)
		}
		s.host.Devices = append(s.host.Devices, container.DeviceMapping{
			PathOnHost: parts[0], PathInContainer: parts[1], CgroupPermissions: parts[2],
		})
	default:
		return fmt.Errorf("%s %s: %w", name, value, errOption)
	}
	return nil
}

// bind puts the engine's own places in.
func (at places) bind(value string) string {
	from, rest, _ := strings.Cut(value, ":")
	if volume, ok := at.volumes[from]; ok {
		from = volume
	}
	if below, ok := strings.CutPrefix(from, "/var/lib/docker"); ok {
		from = at.docker + below
	}
	return from + ":" + rest
}

// seccomp is as much of the profile's form as the tests look at; the rest stays as it is.
type seccomp struct {
	DefaultAction string        `json:"defaultAction"`
	Syscalls      []seccompRule `json:"syscalls"`
}

type seccompRule struct {
	Comment string           `json:"comment"`
	Names   []string         `json:"names"`
	Args    []map[string]any `json:"args,omitempty"`
	Action  string           `json:"action"`
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

// The profile refuses what it does not name, and names nothing by which a container is left.
func TestProfile(t *testing.T) {
	p := readProfile(t)
	require.Equal(t, "SCMP_ACT_ERRNO", p.DefaultAction)
	var names []string
	for _, rule := range p.Syscalls {
		require.Equal(t, "SCMP_ACT_ALLOW", rule.Action)
		require.NotEmpty(t, rule.Comment)
		require.True(t, slices.IsSorted(rule.Names), rule.Names)
		names = append(names, rule.Names...)
	}
	slices.Sort(names)
	require.Len(t, slices.Compact(slices.Clone(names)), len(names), "a call is there twice")
	for _, call := range []string{
		"mount", "umount2", "move_mount", "open_tree", "fsopen", "mount_setattr", "pivot_root", "chroot", "ptrace", "process_vm_readv",
		"process_vm_writev", "pidfd_getfd", "kexec_load", "init_module", "finit_module", "keyctl", "add_key", "request_key", "mknod",
		"mknodat", "io_uring_setup", "userfaultfd", "perf_event_open", "reboot", "swapon", "sethostname", "syslog", "settimeofday",
		"clock_settime", "setxattr", "personality", "quotactl", "fanotify_init",
	} {
		require.NotContains(t, names, call)
	}
	text, err := os.ReadFile(pageFile)
	require.NoError(t, err)
	require.Contains(t, string(text), "allows "+strconv.Itoa(len(names))+" calls")
	require.NotContains(t, p.without(t, "bpf"), `"bpf"`)
	require.Contains(t, p.without(t, "bpf"), `"setns"`)
}

func TestOptions(t *testing.T) {
	s := spec{&container.Config{}, &container.HostConfig{}}
	at := places{map[string]string{"state": "x-state"}, "/data", "{}"}
	for _, option := range []string{
		"--user 65532", "--cap-drop ALL", "--cap-add A", "--cap-add B", "--read-only", "--pid host", "--sysctl a.b=1",
		"--security-opt no-new-privileges", "--security-opt seccomp=deploy/seccomp.json", "--device /a:/b:r",
		"-v state:/s", "-v /var/lib/docker/c:/d:ro", "-v /proc:/p:ro", "-e A=b=c", "-l x.y=z",
	} {
		require.NoError(t, s.add(option, at))
	}
	require.Equal(t, &container.Config{User: "65532", Env: []string{"A=b=c"}, Labels: map[string]string{"x.y": "z"}}, s.config)
	want := &container.HostConfig{
		ReadonlyRootfs: true, PidMode: "host", CapAdd: []string{"A", "B"}, CapDrop: []string{"ALL"},
		SecurityOpt: []string{"no-new-privileges", "seccomp={}"}, Sysctls: map[string]string{"a.b": "1"},
		Binds: []string{"x-state:/s", "/data/c:/d:ro", "/proc:/p:ro"},
	}
	want.Devices = []container.DeviceMapping{{PathOnHost: "/a", PathInContainer: "/b", CgroupPermissions: "r"}}
	require.Equal(t, want, s.host)
	require.ErrorIs(t, s.add("--privileged", at), errOption)
	require.ErrorIs(t, s.add("--device /a", at), errOption)
}
