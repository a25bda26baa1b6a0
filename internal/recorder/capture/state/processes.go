package state

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/procstream"
)

// Process is one process of a container.
type Process struct {
	PID  int `json:"pid"`
	PPID int `json:"ppid"`
	// VPID is its number inside the container; 0 if the kernel does not say.
	VPID int    `json:"vpid,omitempty"`
	Comm string `json:"comm"`
	// Exe is the file it runs, Dir its working directory, as its container
	// names them; "" if it cannot be told.
	Exe string `json:"exe,omitempty"`
	Dir string `json:"cwd,omitempty"`
	// Argv has its secrets masked, and is cut to 64 arguments and 4 KiB.
	Argv []string `json:"argv,omitempty"`
	// State is the kernel's letter: R, S, D, Z, ...
	State string `json:"state,omitempty"`
	UID   int    `json:"uid"`
	// RSS and Swap are in bytes.
	RSS     uint64    `json:"rss"`
	Swap    uint64    `json:"swap,omitempty"`
	Threads int       `json:"threads,omitempty"`
	Files   int       `json:"files,omitempty"`
	Start   time.Time `json:"start,omitzero"`
	// Exited is set for one that was gone when the picture was taken: a trigger has
	// told of it.
	Exited time.Time `json:"exited,omitzero"`
}

const (
	// maxProcesses bounds a picture: at 100 us each these are 200 ms.
	maxProcesses = 2000
	// maxCgroups bounds the walk through cgroups inside the container.
	maxCgroups = 256
	// maxArgs and maxCmdline bound what is kept of a command line: 4 KiB is
	// what /proc showed of it for twenty years.
	maxArgs, maxCmdline = 64, 4096
)

var errMany = errors.New("more than are looked at")

// processes reads the processes of the cgroup and of those inside it.
func (p *shot) processes(path string) []int {
	reader := procstream.NewReader(p.o.Roots)
	procs := p.o.Cgroups.ProcsFile(path)
	if procs == "" {
		p.s.miss("processes", errNoCgroup)
		return nil
	}
	pids := p.pids(reader, filepath.Dir(procs))
	for i, pid := range pids {
		if i == maxProcesses {
			p.s.miss("processes", errMany)
			break
		}
		if p.late("processes") {
			break
		}
		process, err := p.process(reader, pid)
		if err == nil {
			p.s.Processes = append(p.s.Processes, process)
		} else if !errors.Is(err, hostfs.ErrGone) {
			p.s.miss("process "+strconv.Itoa(pid), err)
		}
	}
	return pids
}

func (p *shot) pids(reader *procstream.Reader, dir string) []int {
	var pids []int
	todo := []string{dir}
	for n := 0; len(todo) > 0; n++ {
		if n == maxCgroups {
			p.s.miss("cgroups inside", errMany)
			break
		}
		dir := todo[0]
		todo = todo[1:]
		var err error
		if pids, err = reader.Pids(filepath.Join(dir, "cgroup.procs"), pids); err != nil && !errors.Is(err, hostfs.ErrGone) {
			p.s.miss("cgroup.procs", err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // gone
		}
		for _, entry := range entries {
			if entry.IsDir() {
				todo = append(todo, filepath.Join(dir, entry.Name()))
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

func (p *shot) process(reader *procstream.Reader, pid int) (Process, error) {
	stat, err := reader.Stat(pid)
	if err != nil {
		return Process{}, err
	}
	dir, err := hostfs.OpenDir(filepath.Join(p.o.Roots.Proc, strconv.Itoa(pid)))
	if err != nil {
		return Process{}, err
	}
	defer dir.Close()
	status, err := dir.ReadFile("status", nil)
	if err != nil {
		return Process{}, err
	}
	out := Process{PID: stat.PID, PPID: stat.PPID, Comm: stat.Comm, RSS: stat.RSS, Start: reader.StartTime(stat.Start)}
	parseStatus(status, &out)
	if line, err := dir.ReadFile("cmdline", nil); err == nil {
		out.Argv = p.redactor.Args(splitCmdline(line))
	}
	out.Exe, out.Dir = p.link(dir, "exe"), p.link(dir, "cwd")
	files, err := os.ReadDir(filepath.Join(dir.Path(), "fd"))
	p.rights.note("open files", readSearch, err)
	out.Files = len(files)
	return out, nil
}

// link is what a link of a process shows, "" if it cannot be told.
func (p *shot) link(dir *hostfs.Dir, name string) string {
	target, err := os.Readlink(filepath.Join(dir.Path(), name))
	p.rights.note(name, ptrace, err)
	return p.redactor.Text(target)
}

// parseStatus reads /proc/PID/status, lines of "Key:\tvalue", into what is not
// known from /proc/PID/stat. What has another form stays zero.
func parseStatus(b []byte, into *Process) {
	for line := range bytes.Lines(b) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		fields := strings.Fields(string(value))
		if len(fields) == 0 {
			continue
		}
		switch string(key) {
		case "State":
			into.State = fields[0]
		case "Uid":
			into.UID = number(fields[0])
		case "Threads":
			into.Threads = number(fields[0])
		case "NSpid":
			into.VPID = number(fields[len(fields)-1])
		case "VmSwap":
			into.Swap = uint64(number(fields[0])) << 10 // written in kB
		}
	}
}

// number is 0 for what is none, and for what is negative.
func number(text string) int {
	n, err := strconv.ParseUint(text, 10, 53)
	if err != nil {
		return 0
	}
	return int(n)
}

// splitCmdline cuts /proc/PID/cmdline at its zero bytes. A process that has
// written its title over it (as nginx and postgres do) has blanks instead, and
// zeros at the end.
func splitCmdline(b []byte) []string {
	cut := len(b) > maxCmdline
	b = bytes.TrimRight(b[:min(len(b), maxCmdline)], "\x00")
	if len(b) == 0 {
		return nil
	}
	args := strings.Split(strings.ToValidUTF8(string(b), "\uFFFD"), "\x00")
	if len(args) > maxArgs {
		args, cut = args[:maxArgs], true
	}
	if cut {
		args = append(args, "...")
	}
	return args
}
