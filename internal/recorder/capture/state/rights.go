package state

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Capabilities that an agent which is not root needs to see all of a picture.
const (
	// ptrace follows the links of other users' processes: exe, cwd and ns/*
	// (ptrace_may_access in fs/proc/base.c and namespaces.c).
	ptrace = "CAP_SYS_PTRACE"
	// readSearch lists their fd folders, which only their owner may read.
	readSearch = "CAP_DAC_READ_SEARCH"
	// syslog reads /dev/kmsg where kernel.dmesg_restrict is set.
	syslog = "CAP_SYSLOG"
)

// rights are what a picture lacks because somebody may not look.
type rights struct{ denied []denial }

type denial struct{ what, capability string }

// note remembers an error if it is one of rights; one of each kind is enough. What
// has gone is no error.
func (r *rights) note(what, capability string, err error) {
	d := denial{what, capability}
	if errors.Is(err, fs.ErrPermission) && !slices.Contains(r.denied, d) {
		r.denied = append(r.denied, d)
	}
}

// tell adds a line for each capability.
func (r *rights) tell(s *Snapshot) {
	for _, capability := range []string{ptrace, readSearch} {
		var what []string
		for _, d := range r.denied {
			if d.capability == capability {
				what = append(what, d.what)
			}
		}
		if len(what) > 0 {
			s.miss(strings.Join(what, ", "), fmt.Errorf("%w: it needs %s", fs.ErrPermission, capability))
		}
	}
}
