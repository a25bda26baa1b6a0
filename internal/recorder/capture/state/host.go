package state

import (
	"errors"
	"path/filepath"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// hostFiles are below /proc. A kernel without pressure or conntrack lacks some.
func hostFiles() []string {
	return []string{
		"meminfo", "loadavg", "uptime", "pressure/memory", "pressure/cpu", "pressure/io", "vmstat", "version", "cmdline",
		"sys/net/netfilter/nf_conntrack_count", "sys/net/netfilter/nf_conntrack_max",
		"sys/kernel/pid_max", "sys/fs/file-nr", "sys/vm/overcommit_memory", "sys/vm/swappiness", "sys/vm/panic_on_oom",
	}
}

// host reads what the host says of itself.
func (p *shot) host() {
	p.s.Host = map[string]string{}
	var buf []byte
	for _, name := range hostFiles() {
		b, err := hostfs.ReadFile(filepath.Join(p.o.Roots.Proc, name), buf)
		buf = b
		switch {
		case err == nil && name == "cmdline":
			p.s.Host[name] = p.redactor.Text(string(b))
		case err == nil:
			p.s.Host[name] = string(b)
		case !errors.Is(err, hostfs.ErrGone) && !unsupported(err):
			p.s.miss("host "+name, err)
		}
		if p.late("host") {
			return
		}
	}
}
