package containertagprocessor

import (
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/internal/container"
)

// identity is what a resource says of where it comes from.
type identity struct {
	containerID, podUID, podContainer string
	cgroupPath                        string
	pid                               int
	hostName                          string
	// named: the container's id was there.
	named bool
	// selfReport: an application speaks of itself, so its pid is a number of its
	// own pid namespace and says nothing here.
	selfReport bool
}

// identify reads the attributes once.
func identify(resource pcommon.Map) (id identity) {
	for key, v := range resource.All() {
		switch key {
		case keyContainerID:
			id.containerID = shortText(v)
			id.named = id.containerID != ""
		case "k8s.pod.uid":
			id.podUID = shortText(v)
		case "k8s.container.name":
			id.podContainer = shortText(v)
		case "linux.cgroup.path":
			id.cgroupPath = text(v)
		case "process.pid":
			id.pid = number(v)
		case keyHostName:
			id.hostName = text(v)
		case keyServiceName, "telemetry.sdk.name":
			id.selfReport = true
		}
	}
	return id
}

// longestID bounds what is remembered of ids that nobody knows. The longest that
// are given have 64 characters, names of containers in pods 63.
const longestID = 128

// shortText is a text that may be an id; "" for what is too long to be one.
func shortText(v pcommon.Value) string {
	if s := text(v); len(s) <= longestID {
		return s
	}
	return ""
}

func text(v pcommon.Value) string {
	if v.Type() != pcommon.ValueTypeStr {
		return ""
	}
	return v.Str()
}

func number(v pcommon.Value) int {
	switch v.Type() {
	case pcommon.ValueTypeInt:
		return int(v.Int())
	case pcommon.ValueTypeStr:
		n, err := strconv.Atoi(v.Str())
		if err != nil {
			return 0
		}
		return n
	}
	return 0
}

// fromPath takes the ids out of a cgroup path.
func (id *identity) fromPath() {
	if id.cgroupPath == "" || !strings.HasPrefix(id.cgroupPath, "/") {
		return
	}
	path := container.ParsePath(id.cgroupPath)
	if path.Class == container.ClassContainer || path.Class == container.ClassSandbox {
		id.containerID = path.ID
	}
	if id.podUID == "" {
		id.podUID = path.PodUID
	}
}
