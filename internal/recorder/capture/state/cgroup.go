package state

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tallymanhq/tallyman/internal/cgroup"
	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// wanted are the files of a cgroup that tell how it was. A cgroup has those of
// its version and of the controllers that are switched on; the rest is not there,
// which is no reason to tell. The dear one, memory.stat, is wanted all the same.
func wanted() []string {
	return []string{
		// cgroup v2, and the pressure files of v2 everywhere.
		"memory.events", "memory.events.local", "memory.current", "memory.peak", "memory.max", "memory.high", "memory.low", "memory.min",
		"memory.oom.group", "memory.swap.current", "memory.swap.max", "memory.stat", "memory.pressure",
		"cpu.stat", "cpu.max", "cpu.weight", "cpu.pressure", "cpuset.cpus.effective",
		"io.stat", "io.max", "io.pressure", "pids.current", "pids.max", "pids.peak", "pids.events",
		"cgroup.events", "cgroup.stat", "cgroup.type", "cgroup.freeze",
		// cgroup v1.
		"memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.limit_in_bytes", "memory.soft_limit_in_bytes",
		"memory.memsw.usage_in_bytes", "memory.memsw.limit_in_bytes", "memory.failcnt", "memory.oom_control",
		"memory.kmem.usage_in_bytes", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.shares", "cpuacct.usage",
		"cpuacct.stat", "cpuset.cpus", "blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced",
	}
}

// directories are where a cgroup is, in each hierarchy that has it. Controllers
// of v1 are mounted beside each other (systemd, cgroupfs-mount and Docker's own
// images all do so), so the neighbours of the one that is known are looked at.
func directories(host *cgroup.Host, path string) []string {
	var found []string
	if unified := host.Unified(path); unified != "" {
		found = append(found, unified)
	}
	procs := host.ProcsFile(path)
	if procs != "" && host.Mode() != cgroup.V2 {
		dir, _ := host.Hierarchy()
		if below, err := filepath.Rel(dir, filepath.Dir(procs)); err == nil {
			for _, name := range names(filepath.Dir(dir)) {
				found = append(found, filepath.Join(filepath.Dir(dir), name, below))
			}
		}
	}
	return distinct(found)
}

func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	list := make([]string, 0, len(entries))
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}

// distinct leaves out what is not there and what is there under another name:
// cpu and cpuacct are often links to one hierarchy.
func distinct(dirs []string) []string {
	type place struct{ device, inode uint64 }
	seen := map[place]bool{}
	kept := dirs[:0]
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || seen[place{stat.Dev, stat.Ino}] {
			continue
		}
		seen[place{stat.Dev, stat.Ino}] = true
		kept = append(kept, dir)
	}
	return kept
}

// cgroup reads the files of one cgroup. Of a name that several hierarchies have
// (cgroup.events, cpu.stat beside the v1 controller) the first one is kept.
func (p *shot) cgroup(dirs []string) {
	files := map[string]string{}
	var buf []byte
	for _, name := range wanted() {
		for _, dir := range dirs {
			b, err := hostfs.ReadFile(filepath.Join(dir, name), buf)
			buf = b
			if err == nil {
				files[name] = string(b)
				break
			}
			if !errors.Is(err, hostfs.ErrGone) && !unsupported(err) {
				p.s.miss("cgroup "+name, err)
			}
		}
		if p.late("cgroup") {
			break
		}
	}
	if len(files) == 0 {
		p.s.miss("cgroup", hostfs.ErrGone)
		return
	}
	p.s.Cgroup = files
}

// unsupported tells of files that are there and cannot be read because the host
// was started without the feature (pressure files with psi=0).
func unsupported(err error) bool {
	return errors.Is(err, syscall.EOPNOTSUPP)
}
