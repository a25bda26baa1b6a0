package sockdiag_test

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func inodeOf(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// unifiedID is the id of a process' cgroup in the unified hierarchy: the inode of
// its directory.
func unifiedID(t testing.TB, pid int) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if path, isUnified := strings.CutPrefix(strings.TrimSpace(line), "0::"); isUnified {
			info, err := os.Stat(filepath.Join(unifiedMount(t), path))
			require.NoError(t, err)
			return inodeOf(info)
		}
	}
	t.Fatalf("process %d is in no unified cgroup: %s", pid, text)
	return 0
}

func unifiedMount(t testing.TB) string {
	t.Helper()
	f, err := os.Open("/proc/self/mounts")
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[2] == "cgroup2" {
			return fields[1]
		}
	}
	t.Fatal("no unified hierarchy is mounted")
	return ""
}
