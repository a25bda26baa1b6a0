package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// Host is what the checks were run on.
type Host struct {
	// Name is the host name of this process' uts namespace.
	Name string `json:"name"`
	// Kernel is the release as uname(2) gives it, Architecture the machine.
	Kernel       string `json:"kernel"`
	Architecture string `json:"architecture"`
	// UID is the effective user of this process.
	UID int `json:"uid"`
	// RootPath is where the host's root directory is.
	RootPath string `json:"root_path"`
}

// Describe says what the checks are run on.
func (o Options) Describe() (Host, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return Host{}, fmt.Errorf("ask for the kernel's name: %w", err)
	}
	return Host{
		Name:         unix.ByteSliceToString(uts.Nodename[:]),
		Kernel:       unix.ByteSliceToString(uts.Release[:]),
		Architecture: unix.ByteSliceToString(uts.Machine[:]),
		UID:          os.Geteuid(),
		RootPath:     o.Roots.Root,
	}, nil
}

// kernelVersion is major and minor.
type kernelVersion [2]int

func (v kernelVersion) before(w kernelVersion) bool {
	return cmp.Or(cmp.Compare(v[0], w[0]), cmp.Compare(v[1], w[1])) < 0
}

// recommendedKernel is the oldest that the tests are run on (docs/kernels.md).
var recommendedKernel = kernelVersion{6, 1}

// kernelFeatures are what newer kernels brought (docs/kernels.md).
var kernelFeatures = []struct {
	since kernelVersion
	what  string
}{
	{kernelVersion{5, 10}, "the process stream (5.10)"},
	{kernelVersion{5, 17}, "OOM kills of whole groups on cgroup v2 (5.17)"},
	{kernelVersion{5, 19}, "memory peaks on cgroup v2 (5.19)"},
	{kernelVersion{6, 3}, "the most tasks at once of a container that lives milliseconds (6.3)"},
	{kernelVersion{6, 3}, "response times of connections (6.3)"},
}

func checkKernel(context.Context) Result {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return undecided("uname(2) refused", err)
	}
	return judgeKernel(unix.ByteSliceToString(uts.Release[:]))
}

func judgeKernel(release string) Result {
	version, err := parseRelease(release)
	if err != nil {
		return undecided(release, err)
	}
	var missing []string
	for _, f := range kernelFeatures {
		if version.before(f.since) {
			missing = append(missing, f.what)
		}
	}
	r := Result{Status: Pass, Found: release, Meaning: "New enough for everything."}
	if len(missing) > 0 {
		r.Meaning = "Too old by its number for: " + strings.Join(missing, "; ") + ". Everything else works."
	}
	if version.before(recommendedKernel) {
		r.Status = Warn
		r.Remedy = "Use kernel 6.1 or newer. Distributions carry changes back, so the BPF programs below count, not the number."
	}
	return r
}

// parseRelease reads the start of "6.1.0-50-cloud-amd64".
func parseRelease(release string) (kernelVersion, error) {
	major, rest, _ := strings.Cut(release, ".")
	minor := rest
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		minor = rest[:end]
	}
	a, errA := strconv.ParseUint(major, 10, 16)
	b, errB := strconv.ParseUint(minor, 10, 16)
	if err := cmp.Or(errA, errB); err != nil {
		return kernelVersion{}, fmt.Errorf("parse kernel release %q: %w", release, err)
	}
	return kernelVersion{int(a), int(b)}, nil
}

func (o Options) checkRoot(context.Context) Result {
	root := o.Roots.Root
	const mount = "In a container, mount the host's root with all that is mounted below it (docker run -v /:/hostfs:ro), " +
		"and name it: --root-path /hostfs here, TALLYMAN_ROOT=/hostfs for the agent."
	if err := hostfs.CheckRoot(root); err != nil {
		return Result{
			Status: Fail, Found: root + " cannot be the host's root",
			Meaning: "The agent does not start with this root_path.",
			Remedy:  mount, Error: err.Error(),
		}
	}
	if err := findProc(o.Roots); err != nil {
		return Result{
			Status: Fail, Found: "no proc file system below " + root,
			Meaning: "Nothing is known of processes: no process stream, no network counters, no names of OOM victims.",
			Remedy:  mount, Error: err.Error(),
		}
	}
	found := root
	if o.Roots.IsHost() {
		found += " (this process' own)"
	}
	return Result{Status: Pass, Found: found, Meaning: "Cgroups and processes are read below it."}
}

var errNotProc = errors.New("not a proc file system")

// findProc returns why the proc folder of a root is not that of a running
// system.
func findProc(roots hostfs.Roots) error {
	var st unix.Statfs_t
	if err := unix.Statfs(roots.Proc, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", roots.Proc, err)
	}
	if st.Type != unix.PROC_SUPER_MAGIC {
		return fmt.Errorf("statfs %s: %w (type %#x)", roots.Proc, errNotProc, st.Type)
	}
	return nil
}
