package testkit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// removeWithin bounds the removal of a cgroup. Killed processes leave in
// milliseconds; writeback of a busy disk has been seen to hold one for seconds.
const removeWithin = 15 * time.Second

// wantedControllers are switched on for the children of a cgroup v2.
var wantedControllers = []string{"cpu", "cpuset", "io", "memory", "pids"}

// Group is a cgroup that exists under the same path in every mounted
// hierarchy. It is removed, with the processes in it, when its test ends. Its
// methods fail the test; they are for the test's own goroutine.
type Group struct {
	t    testing.TB
	tree hierarchies
	path string
	made []string // directories created for it, parents first
}

// Cgroup makes a cgroup in every hierarchy. A plain name becomes unique by
// this process's id; a name that starts with a slash is taken as the whole
// path, such as "/docker/<id>", and missing parents are made (and removed) too.
// It calls NeedCgroup.
func Cgroup(t testing.TB, name string) *Group {
	t.Helper()
	NeedCgroup(t)
	tree, err := readHierarchies()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(name, "/") {
		name = fmt.Sprintf("/tallyman-%d-%s", os.Getpid(), strings.ReplaceAll(name, "/", "-"))
	}
	return makeGroup(t, tree, path.Clean(name))
}

func makeGroup(t testing.TB, tree hierarchies, cgroupPath string) *Group {
	t.Helper()
	g := &Group{t: t, tree: tree, path: cgroupPath}
	t.Cleanup(g.Remove)
	for _, h := range tree {
		if err := g.mkdir(h); err != nil {
			t.Fatalf("make cgroup %s: %v", cgroupPath, err)
		}
	}
	return g
}

// mkdir creates the group in one hierarchy, step by step because each step
// has to be made usable before the next.
func (g *Group) mkdir(h hierarchy) error {
	dir := h.mount
	for step := range strings.SplitSeq(strings.TrimPrefix(g.path, "/"), "/") {
		if h.unified {
			if err := enableControllers(dir); err != nil {
				return err
			}
		}
		parent := dir
		dir = filepath.Join(dir, step)
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		g.made = append(g.made, dir)
		if slices.Contains(h.controllers, "cpuset") && !h.unified {
			if err := inheritCpuset(parent, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// enableControllers hands the wanted controllers of dir down to its children.
func enableControllers(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	on, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	for _, name := range wantedControllers {
		if !slices.Contains(strings.Fields(string(have)), name) || slices.Contains(strings.Fields(string(on)), name) {
			continue
		}
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0)
		if errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("%w (cgroup v2: a cgroup with processes cannot have controlled children)", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inheritCpuset copies what v1 leaves empty: without it no process may enter.
func inheritCpuset(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
			return err
		}
	}
	return nil
}

// Path is the cgroup's path as /proc/<pid>/cgroup shows it.
func (g *Group) Path() string { return g.path }

// Dir is the cgroup's directory in the hierarchy of the controller; "" asks
// for the unified one. "blkio" and "cpuacct" mean "io" and "cpu" on cgroup v2.
func (g *Group) Dir(controller string) string {
	g.t.Helper()
	h, err := g.tree.find(controller)
	if err != nil {
		g.t.Fatal(err)
	}
	return filepath.Join(h.mount, g.path)
}

// Unified tells whether the controller is a cgroup v2 one on this host, that
// is, which files Read and Write find.
func (g *Group) Unified(controller string) bool {
	g.t.Helper()
	h, err := g.tree.find(controller)
	if err != nil {
		g.t.Fatal(err)
	}
	return h.unified
}

// Child makes a cgroup inside this one.
func (g *Group) Child(name string) *Group {
	g.t.Helper()
	return makeGroup(g.t, g.tree, path.Join(g.path, name))
}

// AddPID moves a process into the cgroup in every hierarchy. The test's own
// process goes back to the root cgroups at the end.
func (g *Group) AddPID(pid int) {
	g.t.Helper()
	for _, file := range g.procsFiles() {
		if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0); err != nil {
			g.t.Fatalf("move process %d: %v", pid, err)
		}
	}
}

// Write sets a control file, such as Write("memory", "memory.max", "64M").
func (g *Group) Write(controller, file, value string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.Dir(controller), file), []byte(value), 0); err != nil {
		g.t.Fatalf("set %q: %v", value, err)
	}
}

// Read returns a control file's text without the line end.
func (g *Group) Read(controller, file string) string {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.Dir(controller), file))
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.TrimSuffix(string(text), "\n")
}

// PIDs lists the processes in the cgroup, each once, not those of children.
func (g *Group) PIDs() []int {
	g.t.Helper()
	var pids []int
	for _, file := range g.procsFiles() {
		found, err := readPIDs(file)
		if err != nil {
			g.t.Fatal(err)
		}
		pids = append(pids, found...)
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

func (g *Group) procsFiles() []string {
	files := make([]string, 0, len(g.tree))
	for _, h := range g.tree {
		files = append(files, filepath.Join(h.mount, g.path, "cgroup.procs"))
	}
	return files
}

// Remove kills what runs in the cgroup and in cgroups below it, and removes
// them all. It is called at the end of the test and may be called before.
func (g *Group) Remove() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), removeWithin)
	defer cancel()
	for _, dir := range slices.Backward(g.made) {
		root := g.mountOf(dir)
		err := Poll(ctx, func() error { return removeTree(dir, root) })
		if err != nil {
			g.t.Errorf("remove cgroup: %v", err)
		}
	}
	g.made = nil
}

func (g *Group) mountOf(dir string) string {
	root := ""
	for _, h := range g.tree {
		if strings.HasPrefix(dir, h.mount+"/") && len(h.mount) > len(root) {
			root = h.mount
		}
	}
	return root
}

// removeTree empties and removes a cgroup directory, deepest first. The test's
// own process is moved to root instead of killed. It has to be called again
// while killed processes are still leaving.
func removeTree(dir, root string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, removeTree(filepath.Join(dir, e.Name()), root))
		}
	}
	errs = append(errs, evict(dir, root))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

// evict kills the processes of one cgroup directory.
func evict(dir, root string) error {
	// A frozen v1 cgroup does not let go of killed processes. The file is
	// there in the freezer hierarchy only, so an error means "not this one".
	_ = os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0)
	pids, err := readPIDs(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, pid := range pids {
		err := moveOrKill(pid, root)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end process %d of %s: %w", pid, dir, err)
		}
	}
	return nil
}

func moveOrKill(pid int, root string) error {
	if pid == os.Getpid() {
		return os.WriteFile(filepath.Join(root, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// readPIDs reads a cgroup.procs file, one process id per line. Id 0 stands for
// a process outside our pid namespace and is left out: kill(0) would hit us.
func readPIDs(file string) ([]int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var pids []int
	for field := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", file, err)
		}
		if pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
