package main

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

var (
	// errHostLacks says that a program is missing here, and which package has it.
	errHostLacks = errors.New("this host lacks a program")
	// errNeedsRoot says that the disk has to be made by root once.
	errNeedsRoot = errors.New("only root can make the system disk (debootstrap makes device files)")
)

// base has the files that a Debian needs to become the guest.
//
//go:embed base
var base embed.FS

// recipe is to be raised when the steps of build change in a way that its inputs do not show.
const recipe = 1

// systemSize leaves the guest about 1.3 GB for images and logs. The file is sparse.
const systemSize = "2G"

// system is what the first disk holds: a Debian with a Docker engine and the modules of one kernel.
type system struct {
	release  string // of Debian
	packages []string
	masked   []string // units that must not run
	kernel   machine.Kernel
	modules  string // folder of the kernel's modules
	uid      int    // who makes the disk
}

// bookworm is what Debian installs for `apt-get install docker.io`, with little besides: apparmor is on every Debian and
// confines the containers, the static busybox is for the tests' image, rpm for the agent's .rpm. udev is left out: it
// takes 8 s of every boot, and the kernel makes the device files itself.
func bookworm(k machine.Kernel, img machine.Image) system {
	return system{
		release: "bookworm",
		packages: []string{
			"apparmor", "busybox-static", "dbus", "docker.io", "iptables", "kmod", "rpm", "systemd", "systemd-sysv",
		},
		// A login would share the console with the tests; timers would start work in the middle of them.
		masked: []string{
			"serial-getty@ttyS0.service", "getty@tty1.service", "apt-daily.timer", "apt-daily-upgrade.timer",
			"dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "systemd-tmpfiles-clean.timer",
		},
		kernel:  k,
		modules: img.Modules,
		uid:     os.Geteuid(),
	}
}

// image returns the disk's file from the cache, which it fills when needed.
func (s system) image(ctx context.Context, cache string) (string, error) {
	name, err := s.name()
	if err != nil {
		return "", err
	}
	file := filepath.Join(cache, name)
	_, err = os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.make(ctx, file)
	}
	if err != nil {
		return "", fmt.Errorf("make system disk: %w", err)
	}
	return file, nil
}

// name says what is on the disk: another list of packages, another release, kernel or file of base is another disk.
func (s system) name() (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, recipe, systemSize, s.release, s.packages, s.masked, s.kernel.Package)
	err := fs.WalkDir(base, "base", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := base.ReadFile(name)
		fmt.Fprintf(sum, "%s %q\n", name, text)
		return err
	})
	return fmt.Sprintf("docker-%s-%s.img", s.release, hex.EncodeToString(sum.Sum(nil))[:12]), err
}

// make fills the cache. The rename at the end makes the disk appear as a whole or not at all.
func (s system) make(ctx context.Context, file string) error {
	err := errors.Join(
		needProgram("debootstrap", "debootstrap"), needProgram("unshare", "util-linux"), needProgram("mke2fs", "e2fsprogs"))
	if err != nil {
		return err
	}
	if s.uid != 0 {
		return errNeedsRoot
	}
	work, err := os.MkdirTemp(filepath.Dir(file), "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	tree := filepath.Join(work, "tree")
	err = s.build(ctx, tree)
	if err != nil {
		return err
	}
	disk := filepath.Join(work, "disk")
	err = makeFileSystem(ctx, fileSystem{tree: tree, file: disk, size: systemSize})
	if err != nil {
		return err
	}
	return os.Rename(disk, file)
}

// build makes the file tree.
func (s system) build(ctx context.Context, tree string) error {
	err := s.bootstrap(ctx, tree)
	if err != nil {
		return err
	}
	err = copyBase(tree)
	if err != nil {
		return err
	}
	version := filepath.Base(s.modules)
	modules := filepath.Join(tree, "usr", "lib", "modules")
	err = os.MkdirAll(modules, 0o755)
	if err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"cp", "-a", s.modules, modules},
		{"chroot", tree, "depmod", version},
		append([]string{"chroot", tree, "systemctl", "--quiet", "mask"}, s.masked...),
		{"chroot", tree, "systemctl", "--quiet", "enable", "tallyman-test.service"},
		{"chroot", tree, "apt-get", "clean"},
	} {
		err = machine.Command(ctx, tree, argv[0], argv[1:]...)
		if err != nil {
			return err
		}
	}
	return nil
}

// bootstrapTail is how many lines of debootstrap's output go into an error: the reason, and what it was doing.
const bootstrapTail = 12

// bootstrap runs debootstrap in name spaces of its own, so that what it mounts below the tree and starts in it goes with
// it, however it ends: the tree is deleted then.
func (s system) bootstrap(ctx context.Context, tree string) error {
	mirror, err := machine.Mirror(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"debootstrap", "--variant=minbase", "--force-check-gpg", "--keyring="+machine.Keyring,
		"--include="+strings.Join(s.packages, ","), s.release, tree, mirror)
	text, err := cmd.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return fmt.Errorf("run debootstrap: %w: %s", err, strings.Join(lines[max(0, len(lines)-bootstrapTail):], "\n"))
	}
	return nil
}

// copyBase puts the files of base in the place of the distribution's.
func copyBase(tree string) error {
	return fs.WalkDir(base, "base", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(tree, strings.TrimPrefix(name, "base"))
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		text, err := base.ReadFile(name)
		return errors.Join(err, os.WriteFile(target, text, 0o644))
	})
}

// needProgram names the Debian package of a program that is not here.
func needProgram(program, pkg string) error {
	_, err := exec.LookPath(program)
	if err != nil {
		return fmt.Errorf("%w: %s (apt-get install %s): %w", errHostLacks, program, pkg, err)
	}
	return nil
}

// fileSystem says what to put on a disk.
type fileSystem struct {
	tree string // folder that becomes the root of the file system
	file string // disk, which must not exist
	size string // as mke2fs takes it
}

// makeFileSystem writes an ext4 file system. A user who is not root gives the guest files of that user's id, which
// suits the disk that is only read there.
func makeFileSystem(ctx context.Context, f fileSystem) error {
	err := needProgram("mke2fs", "e2fsprogs")
	if err != nil {
		return err
	}
	return machine.Command(ctx, filepath.Dir(f.file), "mke2fs", "-q", "-t", "ext4", "-d", f.tree, f.file, f.size)
}
