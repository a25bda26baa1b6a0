package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where container logs are on a host, as the default configuration has it.
const (
	defaultDockerRoot = "/var/lib/docker"
	defaultPodsRoot   = "/var/log/pods"
)

// maxLogFolders are looked into for a file that can be read: more containers than most
// hosts have.
const maxLogFolders = 1000

const noLogs = "What containers write to their output is not read: container-logs.jsonl stays empty."

var errNoEntries = errors.New("the folder has no folders in it")

// logFolder is a folder in which log files of containers are.
type logFolder struct {
	path string
	err  error // why its entries cannot be listed, or none of its files be read
	// entries are containers or pods, files what they have written.
	entries, files int
}

func (o Options) checkLogs(context.Context) Result {
	return judgeLogs([]logFolder{
		readLogFolder(filepath.Join(cmp.Or(o.DockerRoot, defaultDockerRoot), "containers"), "*-json.log"),
		readLogFolder(cmp.Or(o.PodsRoot, defaultPodsRoot), "*/*.log"),
	})
}

// readLogFolder looks for a file that this process may open: in a folder of each container
// or pod, with names of the pattern.
func readLogFolder(path, pattern string) logFolder {
	f := logFolder{path: path}
	entries, err := os.ReadDir(path)
	if err != nil {
		f.err = err
		return f
	}
	for _, entry := range entries[:min(len(entries), maxLogFolders)] {
		if !entry.IsDir() {
			continue
		}
		f.entries++
		if _, err := os.ReadDir(filepath.Join(path, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.err = err
		}
		names, _ := filepath.Glob(filepath.Join(path, entry.Name(), pattern))
		for _, name := range names {
			file, err := os.Open(name)
			if err == nil {
				_ = file.Close()
				f.files++
				f.err = nil
				return f
			}
			if !errors.Is(err, fs.ErrNotExist) { // rotated away, or its container removed
				f.err = err
			}
		}
		if f.err != nil {
			return f // the others are of the same user
		}
	}
	return f
}

// judgeLogs is content with one of them: a host has Docker or a kubelet.
func judgeLogs(folders []logFolder) Result {
	var paths, silent, empty []string
	var refused error
	for _, folder := range folders {
		paths = append(paths, folder.path)
		switch {
		case folder.files > 0:
			return Result{Status: Pass, Found: folder.path, Meaning: "The output of containers is read below it (drivers json-file and CRI)."}
		case folder.err != nil && !errors.Is(folder.err, fs.ErrNotExist):
			refused = errors.Join(refused, folder.err)
		case folder.entries > 0:
			silent = append(silent, folder.path)
		case folder.err == nil:
			empty = append(empty, folder.path)
		}
	}
	switch {
	case refused != nil:
		return Result{
			Status: Warn, Found: strings.Join(paths, ", ") + ": this process may not look into it", Meaning: noLogs,
			Remedy: "Run as root, or with CAP_DAC_READ_SEARCH.", Error: refused.Error(),
		}
	case len(silent) > 0:
		return Result{
			Status: Warn, Found: strings.Join(silent, ", ") + " has containers and no log file", Meaning: noLogs,
			Remedy: "If any of them has been started, their logging driver is another than json-file (docker info names the default): " +
				"run containers with --log-driver json-file, or have their output sent as OTLP.",
		}
	case len(empty) > 0:
		return Result{
			Status: Unknown, Found: strings.Join(empty, ", ") + " is empty",
			Meaning: "There is no container yet, or the engine keeps its files elsewhere: then what containers write is not read.",
			Remedy: "docker info names the engine's folder (Docker Root Dir). deploy/compose.yaml: set DOCKER_ROOT to it; elsewhere " +
				"TALLYMAN_DOCKER_ROOT, to where it is mounted.",
			Error: errNoEntries.Error(),
		}
	}
	return Result{
		Status: Warn, Found: fmt.Sprintf("neither %s is there", strings.Join(paths, " nor ")), Meaning: noLogs,
		Remedy: "On a host without Docker and Kubernetes, nothing. In a container, mount it: " +
			"-v /var/lib/docker/containers:/hostfs/var/lib/docker/containers:ro, and say where: TALLYMAN_DOCKER_ROOT=/hostfs/var/lib/docker.",
	}
}
