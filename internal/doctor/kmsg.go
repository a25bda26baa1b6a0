package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// checkKernelLog opens what captures are to read. The kernel asks for CAP_SYSLOG when it
// is opened, not when it is read (devkmsg_open in kernel/printk/printk.c).
func (o Options) checkKernelLog(context.Context) Result {
	path := filepath.Join(o.Roots.Root, "dev/kmsg")
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd) // nothing was written
	}
	return judgeKernelLog(path, err)
}

func judgeKernelLog(path string, err error) Result {
	if err == nil {
		return Result{Status: Pass, Found: path + " can be read", Meaning: "Captures of OOM kills hold what the kernel said of them."}
	}
	r := Result{
		Status: Warn, Found: path + " cannot be read",
		Meaning: "Captures of OOM kills do not hold what the kernel said of them (oom/kmsg.txt).",
		Error:   fmt.Sprintf("open %s: %v", path, err),
	}
	const device = "docker run --device /dev/kmsg:/hostfs/dev/kmsg:r"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.Found = path + " is not there"
		r.Remedy = "In a container: " + device + ", with TALLYMAN_ROOT=/hostfs."
	case errors.Is(err, fs.ErrPermission):
		r.Remedy = "Run with CAP_SYSLOG, which kernel.dmesg_restrict asks for. In a container also: " + device + "."
	default:
		r.Remedy = "See what is in its place: it is the device 1:11."
	}
	return r
}
