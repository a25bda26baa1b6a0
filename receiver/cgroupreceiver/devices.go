package cgroupreceiver

import (
	"bytes"
	"fmt"
	"path/filepath"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// devicesMax bounds the remembered names: a host that makes and drops block
// devices all day must not grow the agent.
const devicesMax = 4096

// deviceNames turns device numbers into the kernel's names. It belongs to
// one goroutine.
type deviceNames struct {
	sys   string
	names map[[2]uint32]string
}

func newDeviceNames(rootPath string) *deviceNames {
	return &deviceNames{sys: hostfs.NewRoots(rootPath).Sys, names: map[[2]uint32]string{}}
}

// name is DEVNAME of /sys/dev/block/MAJOR:MINOR/uevent, or "MAJOR:MINOR"
// where sysfs does not know the device.
func (d *deviceNames) name(major, minor uint32) string {
	key := [2]uint32{major, minor}
	if name, ok := d.names[key]; ok {
		return name
	}
	number := fmt.Sprintf("%d:%d", major, minor)
	name := number
	b, err := hostfs.ReadFile(filepath.Join(d.sys, "dev", "block", number, "uevent"), nil)
	if err == nil {
		if found := parseDevName(b); found != "" {
			name = found
		}
	}
	if len(d.names) >= devicesMax {
		clear(d.names)
	}
	d.names[key] = name
	return name
}

func parseDevName(uevent []byte) string {
	for line := range bytes.Lines(uevent) {
		if name, ok := bytes.CutPrefix(line, []byte("DEVNAME=")); ok {
			return string(bytes.TrimSpace(name))
		}
	}
	return ""
}
