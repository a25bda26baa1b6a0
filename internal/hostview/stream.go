package hostview

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
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
	TierBPF       Tier = "bpf"
	TierConnector Tier = "connector"
	TierProc      Tier = "proc"
	TierOff       Tier = "off"
)

// stream is what tells of processes: procstream's two.
type stream interface {
	Stats() procstream.StreamStats
	Close()
}

// essential are the programs without which a stream is no record of the
// processes.
var essential = []string{"on_fork", "on_exec", "on_exit", "on_attach"}

// openStream starts the process stream that is wished for, or the next best.
// v.mu is held.
func (v *View) openStream(o Options) {
	switch v.tier = TierProc; v.wish {
	case ProcessStreamOff:
		v.tier = TierOff
		return
	case ProcessStreamProc:
		return
	}
	if !ofThisKernel(v.roots) {
		v.refused = &hostfs.NotSupportedError{Feature: "process stream", Remedy: "the proc folder below root_path is not this kernel's"}
		return
	}
	if v.wish == ProcessStreamAuto && v.try(TierBPF, func() (stream, error) { return v.startBPF(o) }) {
		v.seed()
		return
	}
	v.try(TierConnector, v.startConnector)
}

// try starts a stream, or keeps the reason why not.
func (v *View) try(tier Tier, start func() (stream, error)) bool {
	s, err := start()
	if err != nil {
		if v.refused == nil {
			v.refused = err
		} else {
			v.refused = fmt.Errorf("%w; %w", v.refused, err)
		}
		return false
	}
	// What appears while the first walk over the cgroups is still to come has
	// been told, but not who was in it before.
	v.stream, v.tier, v.streamFrom = s, tier, time.Now()
	return true
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

// hierarchies finds out by which hierarchy containers are known, and the one of
// the pids controller.
func (v *View) hierarchies() (memory, pids uint32, err error) {
	if memory, err = procstream.HierarchyID(v.roots, "memory"); err != nil {
		return 0, 0, err
	}
	if pids, err = procstream.HierarchyID(v.roots, "pids"); err != nil {
		return 0, 0, err
	}
	v.unified, v.hierarchy = memory == 0, memory
	if dir, _ := v.host.Hierarchy(); v.unified && dir != strings.TrimSuffix(v.host.Unified("/"), "/") {
		return 0, 0, &hostfs.NotSupportedError{
			Feature: "process stream", Remedy: "containers are known by a cgroup v1 hierarchy without the memory controller here (" + dir + ")",
		}
	}
	return memory, pids, nil
}

func (v *View) startBPF(o Options) (stream, error) {
	memory, pids, err := v.hierarchies()
	if err != nil {
		return nil, err
	}
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
	for _, name := range slices.Sorted(maps.Keys(stream.Programs())) {
		if err := stream.Programs()[name]; err != nil {
			v.refused = fmt.Errorf("process stream without %s: %w", name, err)
		}
	}
	v.victimsTold = stream.Programs()["on_oom"] == nil
	return stream, nil
}

func (v *View) startConnector() (stream, error) {
	if _, _, err := v.hierarchies(); err != nil {
		return nil, err
	}
	o := procstream.ConnectorOptions{Roots: v.roots, Handle: v.handle, Lost: v.lost}
	if v.unified {
		o.UnifiedDir = v.discover
	} else {
		o.MemoryDir, o.UnifiedDir = v.discover, v.host.Unified
	}
	return procstream.OpenConnector(o)
}

// discover gives the directory of a cgroup that a process is in. The cgroup
// may be so new that nobody has told of it yet.
func (v *View) discover(cgroupPath string) string {
	file := v.host.ProcsFile(cgroupPath)
	if file == "" {
		return ""
	}
	dir := filepath.Dir(file)
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return dir
	}
	if known, ok := v.index.ByPath(cgroupPath); !ok || known.Inode != st.Ino {
		v.index.Add(container.Cgroup{Path: cgroupPath, Inode: st.Ino, FirstSeen: time.Now()})
		v.finder.Look(cgroupPath, st.Ino)
	}
	return dir
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
	if v.wish == "" {
		return TierProc, nil
	}
	return v.tier, v.refused
}

// handle is called by the stream, in order. The tables are brought up to date
// before anybody is told.
func (v *View) handle(e *procstream.Event) {
	at := procstream.WallTime(e.SinceBoot)
	switch e.Kind {
	case procstream.CgroupMade:
		made := string(e.Cgroup.Path)
		v.index.Add(container.Cgroup{Path: made, Inode: e.Cgroup.ID, FirstSeen: at})
		v.finder.Look(made, e.Cgroup.ID)
	case procstream.CgroupRemoved:
		v.tellEnd(&e.Cgroup, at)
		if e.Cgroup.Hierarchy == v.hierarchy { // ids of another one mean nothing here
			v.index.Remove(string(e.Cgroup.Path), e.Cgroup.ID, at)
		}
	case procstream.OOMKilled:
		v.tell(e, at)
	case procstream.Exited:
		v.tell(e, at)
		v.processes.Remove(e.Process.PID, e.Process.Start, at)
	case procstream.Moved:
		v.tellLeft(e, at)
		v.processes.Add(e.Process.PID, e.Process.Start, v.cgroupOf(&e.Process))
		v.tell(e, at)
	case procstream.Forked, procstream.Executed:
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
	root, ok := v.rootOf(cg)
	if !ok {
		return
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

// rootOf returns a container's own directory.
func (v *View) rootOf(cg *container.Cgroup) (*container.Cgroup, bool) {
	if cg.Inner == "" {
		return cg, true
	}
	return v.index.ByPath(cg.Root)
}

// tellLeft tells the container that a process was moved out of.
func (v *View) tellLeft(e *procstream.Event, at time.Time) {
	p := &e.Process
	before, ok := v.processes.ByStart(p.PID, p.Start)
	if !ok || before.Cgroup == v.cgroupOf(p) {
		return
	}
	from, ok := v.containerOf(before, true)
	if !ok {
		return
	}
	root, ok := v.rootOf(from)
	if !ok {
		return
	}
	if to, ok := v.index.ByInode(v.cgroupOf(p)); ok && to.Root == root.Path {
		return // only within it
	}
	o := sampler.Observation{
		Kind: procstream.Moved, Left: true, At: at, Root: root.Path, RootID: root.Inode, PID: p.PID, Start: p.Start,
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
		MemoryPeak: c.MemoryPeak, OOMKills: c.OOMKills, OOMGroup: c.OOMGroup, PidsPeak: c.PidsPeak,
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
