package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// RequireEnv set to "1" turns skips for lack of something into failures.
const RequireEnv = "TALLYMAN_REQUIRE"

// Feature names something a host may lack.
type Feature struct {
	// Name is what a reader searches for, such as "BPF ring buffer".
	Name string
	// MinKernel is the oldest kernel that has it, such as "5.8"; empty when
	// the kernel's age does not matter.
	MinKernel string
}

// Lack ends the test because of reason. It skips, naming the feature, unless
// RequireEnv is set and this kernel is new enough to have it: then it fails.
func Lack(t testing.TB, f Feature, reason error) {
	t.Helper()
	text := f.Name
	if f.MinKernel != "" {
		text += " (Linux " + f.MinKernel + " or newer)"
	}
	if os.Getenv(RequireEnv) == "1" && kernelHas(f.MinKernel) {
		t.Fatalf("this host must have %s as %s=1, but: %v", text, RequireEnv, reason)
	}
	t.Skipf("needs %s: %v", text, reason)
}

// NeedRoot skips the test unless it runs with effective user id 0.
func NeedRoot(t testing.TB) {
	t.Helper()
	if uid := os.Geteuid(); uid != 0 {
		Lack(t, Feature{Name: "root"}, fmt.Errorf("effective user id is %d", uid))
	}
}

// NeedCommand skips the test unless each program is found in PATH.
func NeedCommand(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			Lack(t, Feature{Name: "program " + name}, err)
		}
	}
}

// NeedCgroup skips the test unless it may create cgroups with each of the
// controllers, no matter in which cgroup version they are.
func NeedCgroup(t testing.TB, controllers ...string) {
	t.Helper()
	NeedRoot(t)
	tree, err := readHierarchies()
	if err != nil {
		Lack(t, Feature{Name: "mounted cgroups"}, err)
	}
	for _, name := range controllers {
		if _, err := tree.find(name); err != nil {
			Lack(t, Feature{Name: "cgroup controller " + name}, err)
		}
	}
}

// NeedUnified skips the test unless it may create cgroups in a cgroup v2
// hierarchy, be it the only one or the one beside v1.
func NeedUnified(t testing.TB) {
	t.Helper()
	NeedRoot(t)
	tree, err := readHierarchies()
	if err == nil {
		_, err = tree.find("")
	}
	if err != nil {
		Lack(t, Feature{Name: "mounted cgroup v2", MinKernel: "4.5"}, err)
	}
}

// NeedLayout skips the test unless the host's cgroups have the layout. A
// host has exactly one, so this never fails: the other layouts are covered by
// the virtual machines of test/vm.
func NeedLayout(t testing.TB, want Layout) {
	t.Helper()
	NeedRoot(t)
	tree, err := readHierarchies()
	if err != nil {
		Lack(t, Feature{Name: "mounted cgroups"}, err)
	}
	if got := tree.layout(); got != want {
		t.Skipf("needs cgroup layout %s, this host has %s (test/vm has them all)", want, got)
	}
}

// NeedBTF skips the test unless the kernel describes its own types.
func NeedBTF(t testing.TB) {
	t.Helper()
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		Lack(t, Feature{Name: "kernel BTF (CONFIG_DEBUG_INFO_BTF)", MinKernel: "5.4"}, err)
	}
}

// NeedBPF skips the test unless it may load BPF programs that use BTF.
func NeedBPF(t testing.TB) {
	t.Helper()
	NeedRoot(t)
	NeedBTF(t)
}

// kernelHas tells whether the running kernel is at least min. A release that
// cannot be read counts as new: better a failure than a rotten skip.
func kernelHas(minimum string) bool {
	if minimum == "" {
		return true
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return true
	}
	have, err := parseRelease(unix.ByteSliceToString(uts.Release[:]))
	want, errWant := parseRelease(minimum)
	if err != nil || errWant != nil {
		return true
	}
	return have >= want
}

var errRelease = errors.New("no major.minor at the start")

// parseRelease turns "6.1.0-18-amd64" into one number that sorts like the
// version, 1000*major + minor.
func parseRelease(release string) (int, error) {
	major, rest, ok := strings.Cut(release, ".")
	if !ok {
		return 0, fmt.Errorf("parse kernel release %q: %w", release, errRelease)
	}
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		rest = rest[:end]
	}
	a, errA := strconv.ParseUint(major, 10, 16)
	b, errB := strconv.ParseUint(rest, 10, 16)
	if errA != nil || errB != nil || b > 999 {
		return 0, fmt.Errorf("parse kernel release %q: %w", release, errRelease)
	}
	return int(a)*1000 + int(b), nil
}
