package main

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"time"

	"github.com/tallymanhq/tallyman/test/soak/agent"
	"github.com/tallymanhq/tallyman/test/soak/inside"
	"github.com/tallymanhq/tallyman/test/soak/proc"
)

const (
	mib = 1 << 20
	// memoryFrom is how long a run must be for its memory to be judged. Below, the
	// tables fill for most of the run: the page keeps a series for 90 s after its end,
	// conntrack's and discovery's tables a container for minutes.
	memoryFrom = 10 * time.Minute
	// recorderFrom is the same for what the flight recorder's head makes grow until it
	// is cut for the first time, after 22.5 minutes: its series in the heap, and one
	// file of chunks for each start. The first quarter of such a run has that in it.
	recorderFrom = 90 * time.Minute
	// oneALap is the growth per lap of what loses one with each reload, or with every
	// second one.
	oneALap = 0.5
)

// quantity is one figure of the agent.
type quantity struct {
	name string
	unit float64 // what it is divided by for the eye
	// allowed is the growth from the second to the last quarter of a run that is no
	// leak, in the figure's own unit; below 0: it is shown only.
	allowed float64
	// perLap is a growth from one lap to the next that is a leak in any run; 0: none is.
	perLap float64
	// share of the level is allowed, too, where that is more.
	share float64
	// from is how long a run must be for this to be judged.
	from time.Duration
}

// quantities is the table of what is looked at. Where the bounds come from is in
// docs/soak.md.
func quantities() []quantity {
	memory := func(name string, from time.Duration) quantity {
		return quantity{name: name, unit: mib, allowed: 16 * mib, share: 0.08, from: from}
	}
	count := func(name string, allowed float64) quantity {
		return quantity{name: name, unit: 1, allowed: allowed, perLap: oneALap}
	}
	return []quantity{
		memory("RSS, MiB", memoryFrom), memory("of it anonymous, MiB", memoryFrom), memory("PSS, MiB", memoryFrom),
		memory("heap, live, MiB", recorderFrom), memory("Go runtime, MiB", memoryFrom),
		{name: "file pages, MiB", unit: mib, allowed: -1},
		count("goroutines", 10),
		count("threads", 6),
		count("descriptors", 20),
		count(proc.Cgroup, 60), // 12 for each container that happens to live
		count(proc.ProcFS, 6),
		count(proc.Socket, 6),
		count(proc.Pipe, 2),
		count(proc.Namespace, 4),
		count(proc.PIDFD, 4),
		count(proc.BPFMap, 0),
		count(proc.BPFProg, 0),
		count(proc.BPFLink, 0),
		count(proc.Anonymous, 2),
		count(proc.Deleted, 2),
		{name: proc.File, unit: 1, allowed: 6, from: recorderFrom},
		{name: "disk, MiB", unit: mib, allowed: -1},
	}
}

// bound is the growth that is allowed at a level, below 0 where nothing is judged.
func (q quantity) bound(level float64, whole time.Duration) float64 {
	if q.allowed < 0 || whole < q.from {
		return -1
	}
	return max(q.allowed, q.share*level)
}

// look reads all quantities of an agent at once. Its values are by the names of the
// table.
func look(ctx context.Context, pid int, socket, state string) (map[string]float64, error) {
	usage, err := proc.ReadUsage(pid)
	if err != nil {
		return nil, err
	}
	kinds, err := proc.Descriptors(pid)
	if err != nil {
		return nil, err
	}
	goes, err := inside.Ask(ctx, socket)
	if err != nil {
		return nil, err
	}
	disk, err := folderSize(state)
	if err != nil {
		return nil, err
	}
	values := map[string]float64{
		"RSS, MiB": float64(usage.RSS), "of it anonymous, MiB": float64(usage.Anon), "PSS, MiB": float64(usage.PSS),
		"heap, live, MiB": float64(goes.HeapLive), "Go runtime, MiB": float64(goes.Total), "file pages, MiB": float64(usage.File),
		"goroutines": float64(goes.Goroutines), "threads": float64(usage.Threads), "disk, MiB": float64(disk),
	}
	total := 0
	for kind, n := range kinds {
		values[kind] = float64(n)
		total += n
	}
	values["descriptors"] = float64(total)
	return values, nil
}

// folderSize adds up the files below a folder, in bytes. Those that go meanwhile
// count nothing.
func folderSize(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = entry.Info(); err == nil {
				sum += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return sum, err
}

// agentLook is look of a started agent.
func agentLook(a *agent.Agent, socket string) func(context.Context) (map[string]float64, error) {
	return func(ctx context.Context) (map[string]float64, error) {
		values, err := look(ctx, a.PID(), socket, a.State)
		return maps.Clone(values), err
	}
}
