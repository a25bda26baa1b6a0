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

const noLogs = "What containers write to their output is not read: container-logs.jsonl stays empty."

// logFolder is a folder in which log files of containers are.
type logFolder struct {
	path string
	err  error // why its entries cannot be listed
}

func (o Options) checkLogs(context.Context) Result {
	return judgeLogs([]logFolder{
		readLogFolder(filepath.Join(cmp.Or(o.DockerRoot, defaultDockerRoot), "containers")),
		readLogFolder(cmp.Or(o.PodsRoot, defaultPodsRoot)),
	})
}

func readLogFolder(path string) logFolder {
	_, err := os.ReadDir(path)
	return logFolder{path, err}
}

// judgeLogs is content with one of them: a host has Docker or a kubelet.
func judgeLogs(folders []logFolder) Result {
	var paths []string
	var refused error
	for _, folder := range folders {
		paths = append(paths, folder.path)
		switch {
		case folder.err == nil:
			return Result{Status: Pass, Found: folder.path, Meaning: "The output of containers is read below it (drivers json-file and CRI)."}
		case !errors.Is(folder.err, fs.ErrNotExist):
			refused = errors.Join(refused, folder.err)
		}
	}
	if refused != nil {
		return Result{
			Status: Warn, Found: strings.Join(paths, ", ") + ": this process may not look into it", Meaning: noLogs,
			Remedy: "Run as root, or with CAP_DAC_READ_SEARCH.", Error: refused.Error(),
		}
	}
	return Result{
		Status: Warn, Found: fmt.Sprintf("neither %s is there", strings.Join(paths, " nor ")), Meaning: noLogs,
		Remedy: "On a host without Docker and Kubernetes, nothing. In a container, mount it: " +
			"-v /var/lib/docker/containers:/hostfs/var/lib/docker/containers:ro, and say where: TALLYMAN_DOCKER_ROOT=/hostfs/var/lib/docker.",
	}
}
