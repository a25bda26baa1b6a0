package hints

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// Where Docker and the kubelet write by default.
const (
	dockerRoot = "/var/lib/docker"
	podsRoot   = "/var/log/pods"
)

// ErrNotThere says that the place of a container's output is known and nothing is
// there. The text before it names the path.
var ErrNotThere = errors.New("is not there")

// errUnknownFile: the place of a container's output could not be told.
var errUnknownFile = errors.New("nobody knows where the output of this container is written")

// LogPlaces are where runtimes keep the output of containers. The zero value is
// that of the host itself.
type LogPlaces struct {
	// Root is where the host's root directory is, "" for "/".
	Root string
	// Docker is Docker's data as it is seen from here, "" for /var/lib/docker below
	// Root; Pods the kubelet's logs, "" for /var/log/pods below it.
	Docker, Pods string
}

// podWord is what Kubernetes allows in names of pods, namespaces and containers
// and in uids: no slash and no pattern.
var podWord = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// containerID is the form that Docker gives to its ids.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Files is where Docker's json-file driver and the kubelet write the output of a
// container, and how. For others it is an error, and [ErrNotThere] where nothing
// is: Docker's other drivers (local, journald) write no such file. It costs one
// look at the file system. Docker's place goes by the id alone: whoever starts a
// container there can put any pod's names on it. Names become part of a path only
// in the form that Kubernetes gives them.
func (p LogPlaces) Files(t *target.Target) (patterns []string, format string, err error) {
	if t.Runtime == "docker" && containerID.MatchString(t.ID) {
		root := cmp.Or(p.Docker, filepath.Join("/", p.Root, dockerRoot))
		file := filepath.Join(root, "containers", t.ID, t.ID+"-json.log")
		return []string{file}, "docker", isThere(file, "Docker's driver json-file writes it; docker_root says where Docker's data is")
	}
	pod := t.Pod()
	if t.Runtime == "docker" || t.Runtime == "podman" || pod.UID == "" {
		return nil, "", errUnknownFile
	}
	for _, word := range []string{pod.Namespace, pod.Name, pod.UID, pod.Container} {
		if !podWord.MatchString(word) || strings.Contains(word, "..") {
			return nil, "", fmt.Errorf("name %.64q is none that Kubernetes gives", word)
		}
	}
	format = "containerd"
	if t.Runtime == "cri-o" {
		format = "crio"
	}
	root := cmp.Or(p.Pods, filepath.Join("/", p.Root, podsRoot))
	folder := filepath.Join(root, pod.Namespace+"_"+pod.Name+"_"+pod.UID, pod.Container)
	return []string{filepath.Join(folder, "*.log")}, format, isThere(folder, "the kubelet makes it; pods_root says where its logs are")
}

func isThere(path, advice string) error {
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s %w (%s)", path, ErrNotThere, advice)
	}
	return fmt.Errorf("%s %w: %w", path, ErrNotThere, errors.Unwrap(err))
}
