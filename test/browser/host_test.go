package browser_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/recorder/capture/state"
)

// connections is /proc/PID/net/tcp of every container: it listens at port 8080, and
// somebody is connected.
const connections = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 9001 1 0000000000000000 100 0 0 10 0
   1: 0200000A:1F90 0300000A:1267 01 0000000C:00000000 00:00000000 00000000     0        0 9002 1 0000000000000000 20 4 30 10 -1
`

// mounts is /proc/1/mountinfo of a host with cgroup v2 alone.
const mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw\n"

// pid is the number of a container's one process.
func (w *world) pid(r *role) int { return 1000 + slices.Index(w.roles, r) }

// build writes the host of the world as files in the forms of the kernel, for those
// who take pictures of it, and says where.
func (w *world) build(t *testing.T) state.Options {
	t.Helper()
	root := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write("proc/1/mountinfo", mounts)
	write("proc/1/ns/net", "")
	write("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n")
	places := map[string]string{}
	for _, r := range w.roles {
		pid := w.pid(r)
		places[r.id] = "/docker/" + r.id
		write("sys/fs/cgroup/docker/"+r.id+"/cgroup.procs", fmt.Sprintln(pid))
		write("sys/fs/cgroup/docker/"+r.id+"/memory.current", fmt.Sprintln(int(r.mem)))
		dir := fmt.Sprintf("proc/%d/", pid)
		// From proc_pid_stat(5): start is field 22, rss field 24.
		write(dir+"stat", fmt.Sprintf("%d (%s) S 1%s 8640000 0 250%s\n", pid, r.service, strings.Repeat(" 0", 17), strings.Repeat(" 0", 28)))
		write(dir+"status", fmt.Sprintf("Name:\t%s\nState:\tS (sleeping)\nUid:\t0\t0\t0\t0\nVmRSS:\t1000 kB\nThreads:\t1\nNSpid:\t%d\t1\n", r.service, pid))
		write(dir+"cmdline", r.service+"\x00--queue\x00")
		write(dir+"ns/net", "") // each its own file, so each its own inode
		write(dir+"net/tcp", connections)
	}
	roots := hostfs.NewRoots(root)
	host, err := cgroup.Detect(roots)
	require.NoError(t, err)
	return state.Options{Roots: roots, Cgroups: host, Place: func(id string) (string, bool) {
		path, ok := places[id]
		return path, ok
	}}
}
