package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

// guestTree is the file tree that becomes the guest's root file system.
type guestTree struct {
	root    string // repository
	dir     string // tree under construction
	modules []string
}

// build fills the tree with everything that does not depend on the kernel: one test binary and its test data per
// package, the programs they start, the init script and busybox.
func (g *guestTree) build(ctx context.Context, s suite) error {
	g.modules = s.Modules
	for _, name := range []string{"bin", "proc", "sys", "dev", "run", "tmp", "root", "etc", "modules"} {
		err := os.MkdirAll(filepath.Join(g.dir, name), 0o755)
		if err != nil {
			return err
		}
	}
	for _, pkg := range s.Packages {
		err := g.addPackage(ctx, pkg)
		if err != nil {
			return fmt.Errorf("build tests of %s: %w", pkg, err)
		}
	}
	for _, name := range s.Programs {
		err := g.addProgram(ctx, name)
		if err != nil {
			return err
		}
	}
	err := g.addBusybox()
	if err != nil {
		return err
	}
	err = machine.CopyFile(filepath.Join(g.root, "test/vm/init.sh"), filepath.Join(g.dir, "init"), 0o755)
	if err != nil {
		return err
	}
	err = g.write("arguments", s.arguments())
	if err != nil {
		return err
	}
	return g.write("suite", s.Packages...)
}

// addPackage builds one test binary and puts it beside the package's test data, because tests name that relatively.
// The tag vm selects tests that make sense nowhere else.
func (g *guestTree) addPackage(ctx context.Context, pkg string) error {
	dir := filepath.Join(g.dir, "src", pkg)
	err := os.MkdirAll(dir, 0o755)
	if err != nil {
		return err
	}
	err = machine.TestBinary{Root: g.root, Package: pkg, Tag: "vm", Output: filepath.Join(dir, "package.test")}.Build(ctx)
	if err != nil {
		return err
	}
	data := filepath.Join(g.root, pkg, "testdata")
	_, err = os.Stat(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS(data)))
}

func (g *guestTree) addBusybox() error {
	file, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("find busybox: %w (apt-get install busybox-static)", err)
	}
	err = machine.CheckStatic(file)
	if err != nil {
		return fmt.Errorf("check %s: %w (apt-get install busybox-static)", file, err)
	}
	return machine.CopyFile(file, filepath.Join(g.dir, "bin", "busybox"), 0o755)
}

// memory of the guest (MiB), of which the initramfs takes a part for good.
const memory = 1024

// diskSize is enough for IO tests and quick to format. The file behind it is sparse.
const diskSize = 64 << 20

// machine packs the tree and returns the computer that boots it, with its files in the folder work. cgroup v1 is taken
// away altogether.
func (g *guestTree) machine(ctx context.Context, img machine.Image, work string) (machine.Machine, error) {
	m := machine.Machine{
		Vmlinuz:   img.Vmlinuz,
		Initramfs: filepath.Join(work, "initramfs"),
		Disks:     []machine.Disk{{File: filepath.Join(work, "disk")}},
		Memory:    memory,
		Words:     []string{"cgroup_no_v1=all"},
	}
	err := g.pack(ctx, img, m.Initramfs)
	if err != nil {
		return machine.Machine{}, err
	}
	disk, err := os.Create(m.Disks[0].File)
	if err != nil {
		return machine.Machine{}, err
	}
	return m, errors.Join(disk.Truncate(diskSize), disk.Close())
}

// pack adds the modules of img and writes the tree to file as an initramfs. It stays uncompressed: the emulated
// processor would take longer to inflate it than the host takes to hand it over.
func (g *guestTree) pack(ctx context.Context, img machine.Image, file string) error {
	set, err := openModules(img, filepath.Join(g.dir, "modules"))
	if err != nil {
		return err
	}
	for _, name := range g.modules {
		err = set.add(ctx, name)
		if err != nil {
			return err
		}
	}
	err = g.write("modules/order", set.order...)
	if err != nil {
		return err
	}
	names, err := treeNames(g.dir)
	if err != nil {
		return err
	}
	return writeCpio(ctx, g.dir, names, file)
}

// writeCpio packs the files called names below dir. busybox writes it because busybox has to be there anyway; root
// owns everything in the guest, whoever runs this.
func writeCpio(ctx context.Context, dir, names, file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	var text strings.Builder
	cmd := exec.CommandContext(ctx, "busybox", "cpio", "-o", "-H", "newc", "-R", "0:0")
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, strings.NewReader(names), out, &text
	err = errors.Join(cmd.Run(), out.Close())
	if err != nil {
		return fmt.Errorf("pack initramfs: %w: %s", err, strings.TrimSpace(text.String()))
	}
	return nil
}

// treeNames lists everything below dir, one relative name per line, folders before what is in them.
func treeNames(dir string) (string, error) {
	var b strings.Builder
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, _ fs.DirEntry, err error) error {
		b.WriteString(name + "\n")
		return err
	})
	return b.String(), err
}

// write makes a file of the tree with the given lines.
func (g *guestTree) write(name string, lines ...string) error {
	text := ""
	for _, line := range lines {
		text += line + "\n"
	}
	return os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o644)
}
