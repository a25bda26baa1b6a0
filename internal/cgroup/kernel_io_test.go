package cgroup_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

var errNoDisk = errors.New("the temporary directory is on no disk")

// diskOf is the whole disk, not the partition, that the directory is on:
// that is what block IO is counted for.
func diskOf(dir string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", err
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	sys, err := filepath.EvalSymlinks("/sys/dev/block/" + dev)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoDisk, err)
	}
	if _, err := os.Stat(filepath.Join(sys, "partition")); err != nil {
		return dev, nil
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(sys), "dev"))
	return strings.TrimSpace(string(text)), err
}

// TestKernelIO writes to a disk and reads back, around the page cache, so that
// every byte is the process's own; then it compares ours with the kernel's.
func TestKernelIO(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	testkit.NeedCommand(t, "dd")
	dir := t.TempDir()
	disk, err := diskOf(dir)
	if err != nil {
		testkit.Lack(t, testkit.Feature{Name: "temporary directory on a disk"}, err)
	}
	g, h := kernelHost(t, "io")
	if !g.Unified("blkio") {
		// v1 counts from the first rule on: one that nobody meets.
		g.Write("blkio", "blkio.throttle.write_bps_device", disk+" 10000000000")
	}
	const blocks, size = 32, 64 << 10
	file := filepath.Join(dir, "written")
	for _, args := range [][]string{
		{"dd", "if=/dev/zero", "of=" + file, "bs=65536", "count=32", "oflag=direct", "conv=fsync"},
		{"dd", "if=" + file, "of=/dev/null", "bs=65536", "iflag=direct"},
	} {
		cmd := testkit.Run(t, g, append([]string{"sh", "-c", `exec "$@" 2>/dev/null`, "sh"}, args...)...)
		require.NoError(t, cmd.Wait())
	}
	r := openReader(t, h, g)
	testkit.Eventually(t, within, func() error {
		before := kernelIO(t, g, disk)
		s := read(t, r, true)
		got, err := device(s, disk)
		if after := kernelIO(t, g, disk); err == nil && (got != before || got != after) {
			err = fmt.Errorf("%+v; the kernel's %+v and %+v", got, before, after)
		}
		return err
	})
	s := read(t, r, true)
	got, err := device(s, disk)
	require.NoError(t, err)
	// Loading programs reads more, the file system's own records write more,
	// and a large request may be split; never is it less.
	if got.WriteBytes < blocks*size || got.WriteBytes > 2*blocks*size || got.ReadBytes < blocks*size {
		t.Errorf("%d bytes written and read are %+v", blocks*size, got)
	}
	if got.Writes < blocks || got.Reads < blocks {
		t.Errorf("%d writes and reads of %d bytes are %+v", blocks, size, got)
	}
	requireNoProblems(t, h)
}

func device(s cgroup.Sample, disk string) (cgroup.DeviceIO, error) {
	for _, d := range s.IO {
		if fmt.Sprintf("%d:%d", d.Major, d.Minor) == disk {
			return d, nil
		}
	}
	return cgroup.DeviceIO{}, fmt.Errorf("no %s in %v", disk, s.IO)
}

// kernelIO reads the kernel's own numbers for the disk.
func kernelIO(t *testing.T, g *testkit.Group, disk string) cgroup.DeviceIO {
	t.Helper()
	var d cgroup.DeviceIO
	number := func(text string) uint64 {
		v, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		return v
	}
	_, err := fmt.Sscanf(disk, "%d:%d", &d.Major, &d.Minor)
	require.NoError(t, err)
	if g.Unified("blkio") {
		for line := range strings.Lines(g.Read("blkio", "io.stat")) {
			if fields := strings.Fields(line); len(fields) > 4 && fields[0] == disk {
				value := func(i int) uint64 { return number(fields[i][strings.Index(fields[i], "=")+1:]) }
				d.ReadBytes, d.WriteBytes, d.Reads, d.Writes = value(1), value(2), value(3), value(4)
			}
		}
		return d
	}
	value := func(file, op string) uint64 {
		for line := range strings.Lines(g.Read("blkio", file)) {
			if rest, ok := strings.CutPrefix(line, disk+" "+op+" "); ok {
				return number(strings.TrimSpace(rest))
			}
		}
		return 0
	}
	const bytes, operations = "blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"
	d.ReadBytes, d.WriteBytes = value(bytes, "Read"), value(bytes, "Write")
	d.Reads, d.Writes = value(operations, "Read"), value(operations, "Write")
	return d
}
