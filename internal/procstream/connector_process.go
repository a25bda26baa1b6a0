package procstream

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// known is what is remembered of a process that lives.
type known struct {
	start             uint64
	ppid, vpid, level int
	unified, memory   group
	comm              string
}

// of tells whether what is remembered is of the process that started then. A
// start that was not read but taken from the time of the fork may be one tick
// late; it stays, because it has been told.
func (k known) of(start uint64) bool { return k.start == start || k.start == start+1 }

// group is a cgroup in one hierarchy; id is 0 if it is not known.
type group struct {
	id   uint64
	path string
}

// maxKnown bounds the processes that are remembered: as many as there could
// be before pid_max was raised (PID_MAX_DEFAULT in include/linux/threads.h). That
// is 9 MB, with cgroup names of 90 bytes and four processes in each.
const maxKnown = 32768

// maxProgram is how much of a path [ProcessEvent.Program] has.
const maxProgram = 127

func (c *Connector) remember(pid int, p known) {
	if _, there := c.processes[pid]; !there && len(c.processes) >= maxKnown {
		c.forgotten.Add(1)
		return
	}
	c.processes[pid] = p
}

// walk reads all processes there are. An ended one that nobody has waited for
// is kept as well: the message of its end may be on its way.
func (c *Connector) walk() {
	entries, err := os.ReadDir(c.o.Roots.Proc)
	if err != nil {
		return // then all that is told is new
	}
	now := clock(unix.CLOCK_BOOTTIME)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		p, err := c.look.process(pid, now, known{})
		if err != nil {
			continue // gone
		}
		c.remember(pid, p)
		if task, err := c.look.task(pid); err == nil && task.Ended && task.threads > 1 {
			c.wait(connectorMessage{kind: connectorExit, pid: pid, tid: pid, at: now})
		}
	}
}

func (c *Connector) forked(m connectorMessage) {
	if first, there := c.unfinished[m.pid]; there { // the number has been given away
		delete(c.unfinished, m.pid)
		c.tellEnd(first, c.forget(m.pid))
	}
	p, err := c.look.process(m.pid, m.at, c.heir(m.ppid))
	if err != nil {
		c.unread.Add(1)
		c.refresh(m.ppid, m.at)
		p = c.heir(m.ppid)
		p.start = ticks(m.at)
	}
	p.ppid = m.ppid
	c.remember(m.pid, p)
	c.tell(Forked, m, p)
}

// heir is what a new process has of its parent.
func (c *Connector) heir(ppid int) known {
	parent := c.processes[ppid]
	return known{unified: parent.unified, memory: parent.memory, comm: parent.comm}
}

// refresh reads a parent again before its child inherits: it may have been
// moved since, and most often is still there.
func (c *Connector) refresh(pid int, at time.Duration) {
	before, there := c.processes[pid]
	if !there {
		return
	}
	if p, err := c.look.process(pid, at, before); err == nil && p.start == before.start {
		c.processes[pid] = p
	}
}

func (c *Connector) executed(m connectorMessage) {
	delete(c.unfinished, m.pid) // the thread that did it is the process now
	before := c.processes[m.pid]
	p, err := c.look.process(m.pid, m.at, before)
	c.text = c.text[:0]
	if err != nil {
		c.unread.Add(1)
		p = before
		p.comm = ""
	} else {
		c.text = c.look.program(m.pid, c.text)
	}
	c.remember(m.pid, p)
	c.tell(Executed, m, p)
}

// firstThreadEnded is the end of the process, unless other threads go on. They
// may also have taken its place: a thread that replaces the program ends all
// others and takes the number of the first.
func (c *Connector) firstThreadEnded(m connectorMessage) {
	task, err := c.look.task(m.pid)
	switch {
	case err != nil || task.Start > ticks(m.at): // gone, or another has its number
		c.tellEnd(m, c.forget(m.pid))
	case !task.Ended: // replaced
	case task.threads > 1 && len(c.unfinished) < maxKnown:
		c.wait(m)
	default:
		c.ended(m, task)
	}
}

// wait puts off the end of a process until its last thread's.
func (c *Connector) wait(m connectorMessage) {
	if len(c.unfinished) == 0 {
		c.recheckAt = time.Now().Add(recheckEvery)
	}
	c.unfinished[m.pid] = m
}

// threadEnded takes the status of a process that outlived its first thread
// from the last one: a thread that ends alone does so with 0, one that is ended
// by exit_group(2) or a signal with the status of the process.
func (c *Connector) threadEnded(m connectorMessage) {
	first, there := c.unfinished[m.pid]
	if !there {
		return
	}
	if m.status != 0 {
		first.status = m.status
	}
	first.at = max(first.at, m.at)
	c.unfinished[m.pid] = first
	c.finish(m.pid, first)
}

// recheck looks at the processes whose first thread has gone.
func (c *Connector) recheck() {
	for pid, first := range c.unfinished {
		c.finish(pid, first)
	}
	c.recheckAt = time.Now().Add(recheckEvery)
}

func (c *Connector) finish(pid int, first connectorMessage) {
	task, err := c.look.task(pid)
	switch {
	case err != nil || task.Start > ticks(first.at):
		delete(c.unfinished, pid)
		c.tellEnd(first, c.forget(pid))
	case !task.Ended:
		delete(c.unfinished, pid)
	case task.threads <= 1:
		delete(c.unfinished, pid)
		c.ended(first, task)
	}
}

// ended tells the end of a process that nobody has waited for yet. Its file
// cgroup still has the path in the unified hierarchy, so that a move is seen.
func (c *Connector) ended(m connectorMessage, t task) {
	p := c.forget(m.pid)
	if !p.of(t.Start) { // not known, or its end was lost
		p = known{start: t.Start}
	}
	p.ppid, p.comm = t.PPID, t.Comm
	before := p.unified
	if unified, _, err := c.look.cgroups(m.pid); err == nil {
		p.unified = resolve(unified, before, c.o.UnifiedDir)
	}
	if before.id != 0 && before.id != p.unified.id {
		p.memory = group{} // where to in this one nobody says
	}
	c.tellEnd(m, p)
}

func (c *Connector) forget(pid int) known {
	p := c.processes[pid]
	delete(c.processes, pid)
	return p
}

func (c *Connector) tellEnd(m connectorMessage, p known) {
	if m.ppid != 0 {
		p.ppid = m.ppid
	}
	c.tell(Exited, m, p)
}

// tell hands out an event. Of an exec c.text holds the program.
func (c *Connector) tell(kind EventKind, m connectorMessage, p known) {
	c.records.Add(1)
	e := &c.event
	*e = Event{Kind: kind, SinceBoot: m.at}
	leaf := p.memory
	if leaf.id == 0 {
		leaf = p.unified
	}
	e.Process = ProcessEvent{
		PID: m.pid, PPID: p.ppid, VPID: p.vpid, Level: p.level, Start: p.start,
		Unified: p.unified.id, Memory: p.memory.id,
		Comm: []byte(p.comm), Leaf: leaf.name(),
	}
	switch kind {
	case Executed:
		e.Process.Program = c.text
	case Exited:
		e.Process.Exit.Status = m.status
	}
	c.o.Handle(e)
}

// look reads processes below one procfs. It is not safe for concurrent use.
type look struct {
	o      ConnectorOptions
	reader *Reader
	budget *hostfs.Budget
	// buf holds the file cgroup, text all others.
	buf, text []byte
	// suspended is CLOCK_BOOTTIME less CLOCK_MONOTONIC, the clock of messages.
	suspended time.Duration
}

func newLook(o ConnectorOptions) look {
	return look{
		o: o, reader: NewReader(o.Roots), budget: hostfs.NewBudget(1),
		buf: make([]byte, 0, 4096), text: make([]byte, 0, 4096),
	}
}

// errReused: the number belongs to a later process.
var errReused = errors.New("pid reused")

// process reads what can be read of a process that was there at a time since
// boot. Where /proc no longer says it, what was known before stays.
func (l *look) process(pid int, at time.Duration, before known) (known, error) {
	// The cgroups first: only if the process goes on after that was the file
	// about one that lives.
	unified, memory, err := l.cgroups(pid)
	if err != nil {
		return before, err
	}
	l.text, err = l.read(pid, "stat", l.text)
	if err != nil {
		return before, err
	}
	stat, err := parseStat(l.text)
	if err != nil {
		return before, err
	}
	if stat.Start > ticks(at) {
		return before, errReused
	}
	if before.start != 0 && !before.of(stat.Start) {
		before = known{} // its end was lost
	}
	p := before
	p.ppid, p.comm = stat.PPID, stat.Comm
	if p.start == 0 {
		p.start = stat.Start
	}
	p.unified = resolve(unified, before.unified, l.o.UnifiedDir)
	// On v1 the kernel writes "/" for all that have begun to end
	// (proc_cgroup_show in kernel/cgroup/cgroup.c).
	if !stat.Ended || string(memory) != "/" {
		p.memory = resolve(memory, before.memory, l.o.MemoryDir)
	}
	if p.vpid == 0 {
		p.vpid, p.level = l.nesting(pid)
	}
	return p, nil
}

// cgroups reads /proc/PID/cgroup. The paths are valid until the next call.
func (l *look) cgroups(pid int) (unified, memory []byte, err error) {
	l.buf, err = l.read(pid, "cgroup", l.buf)
	if err != nil {
		return nil, nil, err
	}
	unified, memory = parseCgroups(l.buf)
	return unified, memory, nil
}

// read reads a short file of a process in three system calls.
func (l *look) read(pid int, name string, buf []byte) ([]byte, error) {
	f := hostfs.NewFile(l.reader.file(pid, name), l.budget)
	defer f.Close()
	return f.Read(buf)
}

// parseCgroups takes the paths of the lines "0::/a" and "4:memory:/b" (cgroups(7)),
// nil where there is no such line. Others do not matter.
func parseCgroups(b []byte) (unified, memory []byte) {
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		hierarchy, line, _ := bytes.Cut(line, []byte(":"))
		controllers, cgroupPath, ok := bytes.Cut(line, []byte(":"))
		switch {
		case !ok || len(cgroupPath) == 0 || cgroupPath[0] != '/':
		case string(hierarchy) == "0" && len(controllers) == 0:
			unified = cgroupPath
		case hasController(controllers, "memory"):
			memory = cgroupPath
		}
	}
	return unified, memory
}

func hasController(list []byte, name string) bool {
	for len(list) > 0 {
		one, rest, _ := bytes.Cut(list, []byte(","))
		if string(one) == name {
			return true
		}
		list = rest
	}
	return false
}

// resolve finds the cgroup of a path. Only what this process, or its parent,
// was in before is known without asking: a cgroup with a process in it cannot
// be removed. Remembered for all, a path would be wrong as soon as a service or
// container is started again, whose new cgroup has the path of the old one.
// Of an ended process the cgroup may have been removed.
func resolve(cgroupPath []byte, before group, directory func(string) string) group {
	switch {
	case before.id != 0 && string(cgroupPath) == before.path, bytes.HasSuffix(cgroupPath, []byte(" (deleted)")):
		return before
	case len(cgroupPath) == 0 || directory == nil:
		return group{}
	}
	g := group{path: string(cgroupPath)}
	dir := directory(g.path)
	var st unix.Stat_t
	if !filepath.IsAbs(dir) || unix.Stat(dir, &st) != nil {
		return group{}
	}
	g.id = st.Ino
	return g
}

// name is that of the directory.
func (g group) name() []byte { return []byte(g.path[strings.LastIndexByte(g.path, '/')+1:]) }

// task is the first thread of a process, and how many the process has.
type task struct {
	Stat
	threads int
}

func (l *look) task(pid int) (task, error) {
	var err error
	if l.text, err = l.read(pid, "stat", l.text); err != nil {
		return task{}, err
	}
	return parseTask(l.text)
}

// statThreads is the position of num_threads in /proc/PID/stat, counted from
// the state.
const statThreads = 17

func parseTask(b []byte) (task, error) {
	stat, err := parseStat(b)
	if err != nil {
		return task{}, err
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	threads, err := strconv.ParseUint(string(fields[statThreads]), 10, 31)
	if err != nil {
		return task{}, malformed("stat", b)
	}
	return task{Stat: stat, threads: int(threads)}, nil
}

// nesting reads the process id in the innermost pid namespace, and how deep
// that is below the first; 0 if the process has gone in the meantime.
func (l *look) nesting(pid int) (vpid, level int) {
	var err error
	if l.text, err = l.read(pid, "status", l.text); err != nil {
		return 0, 0
	}
	if vpid, err = parseVPID(l.text); err != nil {
		return 0, 0
	}
	return vpid, parseLevel(l.text)
}

// parseLevel counts the numbers of the line "NSpid:\t4711\t1" after the first.
func parseLevel(b []byte) int {
	for line := range bytes.Lines(b) {
		if numbers, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			return max(len(bytes.Fields(numbers))-1, 0)
		}
	}
	return 0
}

// program appends the path of the program's file, which needs CAP_SYS_PTRACE
// of a process of another user; nothing if it cannot be read.
func (l *look) program(pid int, dst []byte) []byte {
	var buf [maxProgram]byte
	n, err := unix.Readlink(l.reader.file(pid, "exe"), buf[:])
	if err != nil {
		return dst
	}
	return append(dst, buf[:n]...)
}

// sinceBoot turns the clock of messages into CLOCK_BOOTTIME. The difference
// grows only by what the host was suspended, so that smaller ones are of this
// process having been interrupted between the two calls.
func (l *look) sinceBoot(monotonic time.Duration) time.Duration {
	const jitter = 100 * time.Millisecond
	now := clock(unix.CLOCK_MONOTONIC)
	if suspended := clock(unix.CLOCK_BOOTTIME) - now; suspended < l.suspended || suspended > l.suspended+jitter {
		l.suspended = suspended
	}
	return monotonic + l.suspended
}

// ticks is the unit of start times in /proc.
func ticks(sinceBoot time.Duration) uint64 {
	return uint64(max(sinceBoot, 0) / (time.Second / userHZ))
}
