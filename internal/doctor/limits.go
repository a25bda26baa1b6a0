package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// wantedBytes and wantedInodes are the least free space that is no cause
	// for a warning. Below that the flight recorder gives up its past, block by
	// block; events.jsonl takes up to 40 MB (otelcol-config.yaml), the queue of
	// deploy/otlp.yaml up to a million points, and others write too.
	wantedBytes  = 1 << 30
	wantedInodes = 5 // percent
	// wantedFiles are enough for 107 containers.
	wantedFiles = 4096
	// filesPerContainer are kept open by the cgroup receiver (its README), out
	// of half of what the process may open and at most mostKept; the netns
	// receiver keeps one, out of a quarter.
	filesPerContainer = 19
	mostKept          = 8192 // max_open_files, as it is by default
)

// disk is the file system that a directory is or will be on.
type disk struct {
	dir string // the directory itself, or its nearest parent that is there
	// free is in bytes, for who is not root.
	free               uint64
	inodes, freeInodes uint64 // 0 where the file system makes them as needed
	refused            error  // why this process may not write there
}

func (o Options) checkDisk(context.Context) Result {
	d, err := readDisk(o.StateDir)
	if err != nil {
		return undecided(o.StateDir+" cannot be looked at", err)
	}
	return judgeDisk(o.StateDir, d)
}

func readDisk(path string) (disk, error) {
	dir, err := existing(path)
	if err != nil {
		return disk{}, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return disk{}, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return disk{
		dir: dir, free: st.Bavail * uint64(max(st.Bsize, 0)),
		inodes: st.Files, freeInodes: st.Ffree,
		refused: unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS),
	}, nil
}

// existing is the path or its nearest parent that is there.
func existing(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || path == "/" {
			return "", err
		}
		path = filepath.Dir(path)
	}
}

func judgeDisk(state string, d disk) Result {
	r := Result{Status: Pass, Found: state}
	if d.dir != state {
		r.Found += " is not there yet; " + d.dir
	}
	r.Found += fmt.Sprintf(": %.1f GiB", float64(d.free)/(1<<30))
	share := uint64(100)
	if d.inodes > 0 {
		share = uint64(float64(d.freeInodes) / float64(d.inodes) * 100)
		r.Found += fmt.Sprintf(" and %d %% of inodes", share)
	}
	r.Found += " free"
	switch {
	case d.refused != nil:
		r.Status, r.Found = Fail, r.Found+"; this process may not write there"
		r.Meaning = "With the default configuration the agent does not start: it writes events.jsonl there."
		r.Remedy = "Make it and give it to the agent's user (install -d -o USER " + state + "), or name another one: TALLYMAN_STATE, --state-dir here."
		r.Error = fmt.Sprintf("write to %s: %v", d.dir, d.refused)
	case d.free < wantedBytes || share < wantedInodes:
		r.Status = Warn
		r.Meaning = "The flight recorder gives up its past where less than 1 GiB is free. Events, and what waits on disk while the backend is away, may find no room. What finds none is lost."
		r.Remedy = "Make room, or name a directory on another disk: TALLYMAN_STATE."
	default:
		r.Meaning = "There is room for the flight recorder, for events, and for what waits while the backend is away."
	}
	return r
}

func checkOpenFiles(context.Context) Result {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return undecided("not known", err)
	}
	return judgeOpenFiles(limit.Cur)
}

// judgeOpenFiles takes the soft limit, which Go has raised to the hard one, in
// this process as in the agent.
func judgeOpenFiles(limit uint64) Result {
	kept := min(limit/2, mostKept) / filesPerContainer
	r := Result{Status: Pass, Found: fmt.Sprintf("at most %d", limit)}
	r.Meaning = fmt.Sprintf("Enough for %d containers; of more, files are opened anew for each reading.", kept)
	if limit < wantedFiles {
		r.Status = Warn
		r.Meaning = fmt.Sprintf("Beyond %d containers files are opened anew for each reading, which costs processor time; "+
			"beyond %d the rest has no container.network.*.", kept, limit/4)
		r.Remedy = "systemd: LimitNOFILE=65536; docker run --ulimit nofile=65536:65536; in a shell: ulimit -n 65536."
	}
	return r
}
