package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The kinds of descriptors that Descriptors tells apart.
const (
	Cgroup    = "cgroup"     // files below /sys/fs/cgroup
	ProcFS    = "proc"       // files below /proc, other processes among them
	Socket    = "socket"     // of any family
	Pipe      = "pipe"       // one end
	Namespace = "namespace"  // net:[...], mnt:[...] and so on
	PIDFD     = "pidfd"      // a process
	BPFMap    = "bpf map"    // these three are what the kernel keeps for
	BPFProg   = "bpf prog"   // a program that is loaded: they go with the
	BPFLink   = "bpf link"   // last descriptor
	Anonymous = "other anon" // eventpoll, eventfd, inotify, perf_event, btf ...
	Deleted   = "deleted"    // files without a name
	File      = "file"       // all else
)

// Descriptors counts the descriptors of a process by kind. What is closed meanwhile
// is left out.
func Descriptors(pid int) (map[string]int, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list descriptors of process %d: %w", pid, err)
	}
	kinds := map[string]int{}
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err == nil {
			kinds[kind(target)]++
		}
	}
	return kinds, nil
}

// kind reads where the link of a descriptor leads, such as "socket:[4711]" or
// "anon_inode:bpf-map". A file of a cgroup that is gone is still one of a cgroup.
func kind(target string) string {
	table := []struct{ prefix, kind string }{
		{"/sys/fs/cgroup/", Cgroup}, {"/proc/", ProcFS}, {"socket:", Socket}, {"pipe:", Pipe}, {"pidfd:", PIDFD},
		{"anon_inode:[pidfd]", PIDFD}, {"anon_inode:bpf-map", BPFMap}, {"anon_inode:bpf-prog", BPFProg},
		{"anon_inode:bpf_link", BPFLink}, {"anon_inode:", Anonymous},
		{"net:[", Namespace}, {"mnt:[", Namespace}, {"pid:[", Namespace}, {"user:[", Namespace},
	}
	for _, row := range table {
		if strings.HasPrefix(target, row.prefix) {
			return row.kind
		}
	}
	if strings.HasSuffix(target, " (deleted)") {
		return Deleted
	}
	return File
}
