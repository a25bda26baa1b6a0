package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// canonical writes interfaces as the kernel does.
func canonical(list []device) string {
	var b strings.Builder
	for _, d := range list {
		r, x := d.receive, d.transmit
		fmt.Fprintf(&b, "%6s: %d %d %d %d 0 0 0 0 %d %d %d %d 0 0 0 0\n", d.name,
			r.Bytes, r.Packets, r.Errors, r.Dropped, x.Bytes, x.Packets, x.Errors, x.Dropped)
	}
	return b.String()
}

// rig is a made-up host: a tree with a procfs, and an index of its containers.
// The number of a namespace is that of the file that stands for it.
type rig struct {
	t       *testing.T
	root    string
	index   *container.Index
	tracker *Tracker
	now     time.Time
	inodes  uint64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, root: t.TempDir(), index: container.NewIndex(container.IndexOptions{}), now: time.Now()}
	r.process(1, 0, "")
	r.tracker = NewTracker(Options{
		Roots: hostfs.NewRoots(r.root), Index: r.index,
		ProcsFile: func(path string) string { return filepath.Join(r.root, "cgroup", path, "cgroup.procs") },
		Boot:      r.now.Add(-time.Hour),
		Now:       func() time.Time { return r.now },
	})
	t.Cleanup(r.tracker.Close)
	return r
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.root, name)
	require.NoError(r.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(r.t, os.WriteFile(path, []byte(text), 0o600))
}

// process makes a process, started so many seconds after the boot, in a
// namespace of its own or in that of the process named by shares.
func (r *rig) process(pid int, started int, shares string) {
	r.t.Helper()
	dir := "proc/" + strconv.Itoa(pid) + "/"
	r.write(dir+"stat", fmt.Sprintf("%d (sleep) S 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 %d 1000 100 0 0\n", pid, started*100))
	if shares != "" {
		require.NoError(r.t, os.MkdirAll(filepath.Join(r.root, dir, "ns"), 0o755))
		require.NoError(r.t, os.Link(filepath.Join(r.root, "proc", shares, nsFile), filepath.Join(r.root, dir, nsFile)))
		require.NoError(r.t, os.Symlink(filepath.Join(r.root, "proc", shares, "net"), filepath.Join(r.root, dir, "net")))
		return
	}
	r.write(dir+nsFile, "")
	r.devices(pid, device{name: []byte("lo")})
	r.write(dir+fileSNMP, "Tcp: ActiveOpens PassiveOpens EstabResets CurrEstab RetransSegs\nTcp: 1 2 3 4 5\n"+
		"Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors\nUdp: 10 11 12 13 14 15 16\n")
	r.write(dir+fileNetstat, "TcpExt: ListenOverflows ListenDrops\nTcpExt: 6 7\n")
	r.write(dir+fileSNMP6, "Udp6InDatagrams\t100\n")
	r.write(dir+fileSockstat, "TCP: inuse 1 orphan 0 tw 8 alloc 1 mem 57\n")
	r.write(dir+fileConntrack, "entries  found\n0000000a 00000001\n")
}

func (r *rig) devices(pid int, list ...device) {
	r.t.Helper()
	r.write("proc/"+strconv.Itoa(pid)+"/"+fileDev, devHead+canonical(list))
}

// kill takes a process away.
func (r *rig) kill(pid int) {
	r.t.Helper()
	require.NoError(r.t, os.RemoveAll(filepath.Join(r.root, "proc", strconv.Itoa(pid))))
}

// id makes a container id of one letter.
func id(letter string) string { return strings.Repeat(letter, 64) }

// container makes a container with these processes.
func (r *rig) container(letter string, pids ...int) {
	r.t.Helper()
	r.cgroup("/docker/"+id(letter), pids...)
}

func (r *rig) cgroup(path string, pids ...int) {
	r.t.Helper()
	text := ""
	for _, pid := range pids {
		text += strconv.Itoa(pid) + "\n"
	}
	r.write("cgroup"+path+"/cgroup.procs", text)
	r.inodes++
	r.index.Add(container.Cgroup{Path: path, Inode: r.inodes})
}

func (r *rig) remove(letter string) { r.index.Remove("/docker/"+id(letter), 0, time.Time{}) }

// refresh returns the members of all namespaces but the host's, as the first
// letters of their ids, the owner's first, oldest namespace first.
func (r *rig) refresh() []string {
	r.t.Helper()
	all := r.tracker.Refresh()
	require.True(r.t, all[0].Host)
	require.Empty(r.t, all[0].Members)
	require.Nil(r.t, all[0].Owner())
	var names []string
	for _, n := range all[1:] {
		name := ""
		for _, m := range n.Members {
			name += m.Cgroup.ID[:1]
		}
		require.Equal(r.t, n.Members[0].Cgroup, n.Owner())
		names = append(names, name)
	}
	return names
}

// read refreshes and reads namespace i, 0 being the host's, one second later.
func (r *rig) read(i int, protocols bool) *Namespace {
	r.t.Helper()
	r.now = r.now.Add(time.Second)
	all := r.tracker.Refresh()
	require.Greater(r.t, len(all), i)
	require.True(r.t, r.tracker.Read(all[i], protocols))
	return all[i]
}
