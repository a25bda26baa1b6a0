package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// errDeadline says that the machine did not switch itself off in time.
var errDeadline = errors.New("machine ran beyond its deadline")

// diskSize is enough for IO tests and quick to format. The file behind it is sparse.
const diskSize = 64 << 20

// machine is one emulated computer.
type machine struct {
	dir     string // folder for the initramfs and the disk
	vmlinuz string
	verbose bool
}

func (m machine) initramfs() string { return filepath.Join(m.dir, "initramfs") }
func (m machine) disk() string      { return filepath.Join(m.dir, "disk") }

// boot runs the machine until it switches itself off, copies its console to out, and returns what the console told.
// The report holds what was read even when there is an error.
func (m machine) boot(ctx context.Context, deadline time.Duration, out io.Writer) (report, error) {
	err := m.makeDisk()
	if err != nil {
		return report{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("%w: %s", errDeadline, deadline))
	defer cancel()

	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", m.arguments()...)
	cmd.Stderr = os.Stderr
	// Emulation burns a processor for as long as it lives: it must not outlive this process, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	console, err := cmd.StdoutPipe()
	if err != nil {
		return report{}, err
	}
	err = cmd.Start()
	if err != nil {
		return report{}, fmt.Errorf("start machine: %w (apt-get install qemu-system-x86)", err)
	}
	rep, readErr := readConsole(console, out)
	err = errors.Join(readErr, cmd.Wait())
	if ctx.Err() != nil {
		err = context.Cause(ctx) // "signal: killed" would only tell what this function did
	}
	if err != nil {
		return rep, fmt.Errorf("run machine: %w", err)
	}
	return rep, nil
}

func (m machine) makeDisk() error {
	f, err := os.Create(m.disk())
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(diskSize), f.Close())
}

// arguments describe a machine without anything it does not need. KVM is never asked for: nested virtualisation
// hangs on some hosts, and one way to run is easier to trust than two.
func (m machine) arguments() []string {
	return []string{
		"-accel", "tcg,thread=multi", "-smp", "1", "-cpu", "max", "-m", "1024",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "stdio",
		"-drive", "file=" + m.disk() + ",if=none,id=disk,format=raw,cache=unsafe",
		"-device", "nvme,drive=disk,serial=tallyman",
		"-kernel", m.vmlinuz,
		"-initrd", m.initramfs(),
		"-append", m.kernelCommandLine(),
	}
}

// kernelCommandLine makes every kind of crash end the machine at once, takes cgroup v1 away altogether, and keeps
// kernel messages off the console, where they would tear the lines of the tests; a panic is printed regardless.
func (m machine) kernelCommandLine() string {
	words := []string{"console=ttyS0", "panic=-1", "oops=panic", "cgroup_no_v1=all", "mitigations=off"}
	if m.verbose {
		return strings.Join(append(words, "loglevel=7"), " ")
	}
	return strings.Join(append(words, "loglevel=1"), " ")
}
