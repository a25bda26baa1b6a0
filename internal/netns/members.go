package netns

import (
	"cmp"
	"errors"
	"io/fs"
	"strconv"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// nsFile leads from a process' directory to its network namespace.
const nsFile = "ns/net"

// findMembers looks at every living container, and counts into found those
// whose namespace stays unknown.
func (t *Tracker) findMembers(found *Stats) {
	if t.o.Index == nil {
		return
	}
	inner := map[string][]string{} // cgroup paths inside a container, by its own
	for cg := range t.o.Index.Live() {
		switch {
		case cg.Class != container.ClassContainer && cg.Class != container.ClassSandbox:
		case cg.Inner != "":
			inner[cg.Root] = append(inner[cg.Root], cg.Path)
		case !t.note(cg):
			found.DroppedMembers++
		}
	}
	for _, m := range t.members {
		if m.seen != t.number {
			continue
		}
		err := t.locate(m, inner)
		switch {
		case errors.Is(err, fs.ErrPermission):
			found.NoPermission++
		case err != nil:
			found.NoProcess++
		}
	}
}

// note marks a container as alive. It returns false if there are too many.
func (t *Tracker) note(cg *container.Cgroup) bool {
	m := t.members[cg.Path]
	if m != nil && m.cg.Inode != cg.Inode {
		m.close()
		m = nil
	}
	if m == nil {
		if len(t.members) >= t.maxMembers && t.members[cg.Path] == nil {
			return false
		}
		m = &member{}
		t.members[cg.Path] = m
	}
	m.cg, m.seen = cg, t.number
	return true
}

// errNoProcess says that a container has no process that can be seen.
var errNoProcess = errors.New("no process")

// locate finds out in which namespace a container is, by the process that is
// known or else a new one. A process may change its namespace: the runtime's
// own does so on its way to become the container's.
func (t *Tracker) locate(m *member, inner map[string][]string) error {
	if m.dir != nil {
		inode, err := m.dir.Inode(nsFile)
		if err == nil {
			m.inode = inode
			return nil
		}
		m.close()
		if !errors.Is(err, hostfs.ErrGone) {
			return err
		}
	}
	return t.choose(m, inner[m.cg.Path])
}

// choose takes the oldest process of a container, which is the least likely
// to go or to have a namespace of its own.
func (t *Tracker) choose(m *member, inner []string) error {
	t.pids = t.pids[:0]
	for _, path := range append([]string{m.cg.Path}, inner...) {
		pids, err := t.proc.Pids(t.o.ProcsFile(path), t.pids)
		if err == nil {
			t.pids = pids
		}
	}
	var oldest procstream.Stat
	for _, pid := range t.pids[:min(len(t.pids), mostCandidates)] {
		stat, err := t.proc.Stat(pid)
		if err != nil || stat.Ended {
			continue
		}
		if oldest.PID == 0 || cmp.Or(cmp.Compare(stat.Start, oldest.Start), cmp.Compare(stat.PID, oldest.PID)) < 0 {
			oldest = stat
		}
	}
	if oldest.PID == 0 {
		return errNoProcess
	}
	return t.take(m, oldest)
}

// take opens the directory of a process and makes sure that it is the one
// that was meant: its number may have been given away in between.
func (t *Tracker) take(m *member, p procstream.Stat) error {
	dir, err := hostfs.OpenDir(t.o.Roots.Proc + "/" + strconv.Itoa(p.PID))
	if err != nil {
		return errNoProcess
	}
	if again, err := t.proc.Stat(p.PID); err != nil || again.Start != p.Start {
		dir.Close()
		return errNoProcess
	}
	inode, err := dir.Inode(nsFile)
	if err != nil {
		dir.Close()
		return err
	}
	m.dir, m.inode = dir, inode
	if started := t.proc.StartTime(p.Start); m.started.IsZero() || started.Before(m.started) {
		m.started = started
	}
	return nil
}

// directory is the i-th through which a namespace can be read, the owner's
// first; nil after the last.
func (t *Tracker) directory(n *Namespace, i int) *hostfs.Dir {
	switch {
	case n.Host && i == 0:
		return t.hostDir
	case i < len(n.members):
		return n.members[i].dir
	}
	return nil
}
