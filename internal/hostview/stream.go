package hostview

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Tier is the way processes are watched, best first.
type Tier string

// The tiers.
const (
	TierBPF  Tier = "bpf"
	TierProc Tier = "proc"
	TierOff  Tier = "off"
)

// essential are the programs without which a stream is no record of the
// processes.
var essential = []string{"on_fork", "on_exec", "on_exit", "on_attach"}

// openStream starts the process stream if it is wished for. v.mu is held.
func (v *View) openStream(o Options) {
	if v.wish != ProcessStreamAuto {
		return
	}
	if !ofThisKernel(v.roots) {
		v.refused = &hostfs.NotSupportedError{Feature: "process stream", Remedy: "the proc folder below root_path is not this kernel's"}
		return
	}
	stream, err := v.startStream(o)
	if err != nil {
		v.refused = err
		return
	}
	// What appears while the first walk over the cgroups is still to come has
	// been told, but not who was in it before.
	v.stream, v.streamFrom = stream, time.Now()
	v.seed()
}

// seed makes the processes known that are in containers already, while events
// may come in.
func (v *View) seed() {
	reader := procstream.NewReader(v.roots)
	var pids []int
	for cg := range v.index.Live() {
		if cg.Class != container.ClassContainer {
			continue
		}
		var err error
		if pids, err = reader.Pids(v.host.ProcsFile(cg.Path), pids[:0]); err != nil {
			continue // gone
		}
		for _, pid := range pids {
			v.seedProcess(reader, pid, cg.Inode)
		}
	}
}

// seedProcess looks twice: an end that was told between the first look and
// the entry in the table found nothing to remove there.
func (v *View) seedProcess(reader *procstream.Reader, pid int, cgroup uint64) {
	stat, err := reader.Stat(pid)
	if err != nil || stat.Ended {
		return
	}
	v.processes.Add(pid, stat.Start, cgroup)
	if again, err := reader.Stat(pid); err != nil || again.Ended || again.Start != stat.Start {
		v.processes.Remove(pid, stat.Start, time.Time{})
	}
}

// ofThisKernel reports whether a root is that of a running system: in a
// container it is where the host's is mounted. The stream is of the kernel, and
// must not be mixed with a copied tree.
func ofThisKernel(roots hostfs.Roots) bool {
	var st unix.Statfs_t
	return unix.Statfs(roots.Proc, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

func (v *View) startStream(o Options) (*procstream.Stream, error) {
	memory, err := procstream.HierarchyID(v.roots, "memory")
	if err != nil {
		return nil, err
	}
	pids, err := procstream.HierarchyID(v.roots, "pids")
	if err != nil {
		return nil, err
	}
	v.unified = memory == 0
	stream, err := procstream.OpenStream(procstream.StreamOptions{
		Hierarchy: memory, PidsHierarchy: pids, RingBytes: o.RingBytes, Handle: v.handle, Lost: v.lost,
	})
	if err != nil {
		return nil, err
	}
	for _, name := range essential {
		if err := stream.Programs()[name]; err != nil {
			stream.Close()
			return nil, fmt.Errorf("process stream without %s: %w", name, err)
		}
	}
	return stream, nil
}

func (v *View) closeStream() {
	v.mu.Lock()
	stream := v.stream
	v.stream = nil
	v.mu.Unlock()
	if stream != nil {
		stream.Close()
	}
}

// StreamStats returns what the process stream has seen so far; false if there
// is none.
func (v *View) StreamStats() (procstream.StreamStats, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stream == nil {
		return procstream.StreamStats{}, false
	}
	return v.stream.Stats(), true
}

// Container finds the container that a process is in, or was: also one that
// has ended a while ago. Without a process stream nothing is known.
func (v *View) Container(pid int) (*container.Cgroup, bool) {
	p, ok := v.processes.ByPID(pid)
	return v.containerOf(p, ok)
}

// ContainerOf is [View.Container] for who knows when the process started (as
// in [procstream.Stat]): a number that was given again names the right one, or
// none.
func (v *View) ContainerOf(pid int, start uint64) (*container.Cgroup, bool) {
	p, ok := v.processes.ByStart(pid, start)
	return v.containerOf(p, ok)
}

func (v *View) containerOf(p container.Process, ok bool) (*container.Cgroup, bool) {
	if !ok {
		return nil, false
	}
	cg, ok := v.index.ByInode(p.Cgroup)
	if !ok || cg.Class != container.ClassContainer {
		return nil, false
	}
	return cg, true
}

// Tier tells how processes are watched, and if not in the best way, why: an
// error that matches [hostfs.ErrNotSupported], or nil if nobody asked for more.
func (v *View) Tier() (Tier, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.stream != nil:
		return TierBPF, nil
	case v.wish == ProcessStreamOff:
		return TierOff, nil
	}
	return TierProc, v.refused
}

// handle is called by the stream, in order. The tables are brought up to date
// before anybody is told.
func (v *View) handle(e *procstream.Event) {
	at := v.proc.StartTime(0).Add(e.SinceBoot)
	switch e.Kind {
	case procstream.CgroupMade:
		v.index.Add(container.Cgroup{Path: string(e.Cgroup.Path), Inode: e.Cgroup.ID, FirstSeen: at})
	case procstream.CgroupRemoved:
		v.tellEnd(&e.Cgroup, at)
		v.index.Remove(string(e.Cgroup.Path), e.Cgroup.ID, at)
	case procstream.OOMKilled:
		v.tell(e, at)
	case procstream.Exited:
		v.tell(e, at)
		v.processes.Remove(e.Process.PID, e.Process.Start, at)
	case procstream.Forked, procstream.Executed, procstream.Moved:
		v.processes.Add(e.Process.PID, e.Process.Start, v.cgroupOf(&e.Process))
		v.tell(e, at)
	}
}

func (v *View) cgroupOf(p *procstream.ProcessEvent) uint64 {
	if v.unified {
		return p.Unified
	}
	return p.Memory
}

// tell hands an event of a process to the subscribers, and to the samplers if
// the process is in a container.
func (v *View) tell(e *procstream.Event, at time.Time) {
	cg, ok := v.index.ByInode(v.cgroupOf(&e.Process))
	if !ok || cg.Class != container.ClassContainer {
		v.fanOut(e, at, nil)
		return
	}
	v.fanOut(e, at, cg)
	if e.Kind == procstream.OOMKilled {
		return // its end follows and says so
	}
	root := cg
	if cg.Inner != "" {
		if root, ok = v.index.ByPath(cg.Root); !ok {
			return
		}
	}
	o := sampler.Observation{
		Kind: e.Kind, At: at, Root: root.Path, RootID: root.Inode,
		PID: e.Process.PID, PPID: e.Process.PPID, VPID: e.Process.VPID,
		Start: e.Process.Start, Comm: string(e.Process.Comm), Exit: e.Process.Exit,
	}
	for _, s := range *v.observers.Load() {
		s.Observe(o)
	}
}

// tellEnd hands the last words of a container's cgroup to the samplers.
func (v *View) tellEnd(c *procstream.CgroupEvent, at time.Time) {
	cg, ok := v.index.ByPath(string(c.Path))
	if !ok || cg.Class != container.ClassContainer || cg.Inner != "" {
		return
	}
	o := sampler.Observation{
		Kind: procstream.CgroupRemoved, At: at, Root: cg.Path, RootID: c.ID,
		MemoryPeak: c.MemoryPeak, OOMGroup: c.OOMGroup, PidsPeak: c.PidsPeak,
	}
	for _, s := range *v.observers.Load() {
		s.Observe(o)
	}
}

// lost is called by the stream when what the tables say is no longer sure.
func (v *View) lost() {
	v.processes.Clear()
	v.seed()
	for _, s := range *v.observers.Load() {
		s.ObserveLoss()
	}
	for _, s := range *v.subscriptions.Load() {
		s.addGap()
	}
}

// publish makes the samplers known to the stream, which must not wait for
// v.mu: who holds it may wait for a pass.
func (v *View) publish() {
	list := make([]*sampler.Sampler, 0, len(v.samplers))
	for _, s := range v.samplers {
		list = append(list, s.Sampler)
	}
	v.observers.Store(&list)
}
