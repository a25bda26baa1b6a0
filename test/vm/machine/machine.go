package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrDeadline says that the machine did not switch itself off in time.
var ErrDeadline = errors.New("machine ran beyond its deadline")

// Machine is one emulated computer.
type Machine struct {
	Vmlinuz   string   // file
	Initramfs string   // file; empty where the first disk is the root file system
	Disks     []Disk   // /dev/nvme0n1, /dev/nvme0n2, ...
	Memory    int      // MiB
	Words     []string // of the kernel command line, after those of every machine
	Verbose   bool     // show the kernel's boot messages
}

// Disk is a file with the content of a disk.
type Disk struct {
	File string
	// Lost makes QEMU keep what the guest writes apart and throw it away at the end, so that runs may share the file.
	Lost bool
}

// Boot runs the machine until it switches itself off, copies its console to out in whole lines, and returns what the
// console told. The report holds what was read even when there is an error.
func (m Machine) Boot(ctx context.Context, deadline time.Duration, out io.Writer) (Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("%w: %s", ErrDeadline, deadline))
	defer cancel()

	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", m.arguments()...)
	cmd.Stderr = os.Stderr
	// Emulation burns a processor for as long as it lives: it must not outlive this process, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	console, err := cmd.StdoutPipe()
	if err != nil {
		return Report{}, err
	}
	err = cmd.Start()
	if err != nil {
		return Report{}, fmt.Errorf("start machine: %w (apt-get install qemu-system-x86)", err)
	}
	rep, readErr := ReadConsole(console, out)
	err = errors.Join(readErr, cmd.Wait())
	if ctx.Err() != nil {
		err = context.Cause(ctx) // "signal: killed" would only tell what this function did
	}
	if err != nil {
		return rep, fmt.Errorf("run machine: %w", err)
	}
	return rep, nil
}

// arguments describe a machine without anything it does not need. KVM is never asked for: nested virtualisation
// hangs on some hosts, and one way to run is easier to trust than two.
func (m Machine) arguments() []string {
	args := []string{
		"-accel", "tcg,thread=multi", "-smp", "1", "-cpu", "max", "-m", strconv.Itoa(m.Memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "stdio",
		"-kernel", m.Vmlinuz,
		"-append", m.kernelCommandLine(),
	}
	if m.Initramfs != "" {
		args = append(args, "-initrd", m.Initramfs)
	}
	// One controller: the numbers of several depend on which the kernel finds first.
	if len(m.Disks) > 0 {
		args = append(args, "-device", "nvme,id=nvme0,serial=tallyman")
	}
	for i, disk := range m.Disks {
		drive := fmt.Sprintf("file=%s,if=none,id=disk%d,format=raw,cache=unsafe", disk.File, i)
		if disk.Lost {
			drive += ",snapshot=on"
		}
		args = append(args, "-drive", drive, "-device", fmt.Sprintf("nvme-ns,bus=nvme0,drive=disk%d,nsid=%d", i, i+1))
	}
	return args
}

// kernelCommandLine makes every kind of crash end the machine at once and keeps kernel messages off the console,
// where they would tear the lines of the tests; a panic is printed regardless.
func (m Machine) kernelCommandLine() string {
	words := []string{"console=ttyS0", "panic=-1", "oops=panic", "mitigations=off"}
	if m.Verbose {
		words = append(words, "loglevel=7")
	} else {
		words = append(words, "loglevel=1")
	}
	return strings.Join(append(words, m.Words...), " ")
}
