package ecs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/imageref"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// internalPrefix begins the names of the containers that ECS adds to a task by
// itself, such as ~internal~ecs~pause which holds the network of the others.
const internalPrefix = "~internal~"

// maxID bounds a container's id, in bytes. An engine's has 64, one of Fargate
// 32 digits, a dash and a number.
const maxID = 128

// maxAddresses bounds those of one container. A network interface of awsvpc has
// one of each kind; the bound keeps a hostile answer from costing time.
const maxAddresses = 32

// errMissing says that an answer is JSON, but not what was asked for.
var errMissing = errors.New("a field is missing")

// task is what both services say of a task, each in its own words.
type task struct {
	arn, family, revision, service string
	// cluster is an ARN or only a name; launchType is in small letters.
	cluster, launchType string
	members             []member
}

// member is a container of a task. The two services use the same words; older
// agents leave out all but the first three.
type member struct {
	DockerID   string            `json:"DockerId"`
	DockerName string            `json:"DockerName"`
	Name       string            `json:"Name"`
	Image      string            `json:"Image"`
	ImageID    string            `json:"ImageID"`
	Labels     map[string]string `json:"Labels"`
	CreatedAt  string            `json:"CreatedAt"`
	ARN        string            `json:"ContainerARN"`
	Networks   []network         `json:"Networks"`
}

type network struct {
	Mode string   `json:"NetworkMode"`
	IPv4 []string `json:"IPv4Addresses"`
	IPv6 []string `json:"IPv6Addresses"`
}

// parseAgent returns the cluster from an answer to /v1/metadata.
func parseAgent(text []byte) (string, error) {
	var answer struct{ Cluster string }
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", fmt.Errorf("parse the ECS agent's metadata: %w", err)
	}
	if answer.Cluster == "" {
		return "", fmt.Errorf("parse the ECS agent's metadata: %w: Cluster", errMissing)
	}
	return answer.Cluster, nil
}

// parseTasks reads an answer to /v1/tasks.
func parseTasks(text []byte) ([]task, error) {
	var answer struct {
		// A pointer of its own tells no tasks from no answer.
		Tasks *[]struct {
			ARN        string `json:"Arn"`
			Family     string
			Version    string
			Containers []member
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("parse the ECS agent's tasks: %w", err)
	}
	if answer.Tasks == nil {
		return nil, fmt.Errorf("parse the ECS agent's tasks: %w: Tasks", errMissing)
	}
	tasks := make([]task, 0, len(*answer.Tasks))
	for _, t := range *answer.Tasks {
		tasks = append(tasks, task{arn: t.ARN, family: t.Family, revision: t.Version, members: t.Containers})
	}
	return tasks, nil
}

// parseTask reads an answer to ${ECS_CONTAINER_METADATA_URI_V4}/task.
func parseTask(text []byte) (task, error) {
	var answer struct {
		Cluster, TaskARN, Family, Revision, ServiceName, LaunchType string
		Containers                                                  []member
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return task{}, fmt.Errorf("parse ECS task metadata: %w", err)
	}
	if answer.TaskARN == "" {
		return task{}, fmt.Errorf("parse ECS task metadata: %w: TaskARN", errMissing)
	}
	return task{
		arn:        answer.TaskARN,
		family:     answer.Family,
		revision:   answer.Revision,
		service:    answer.ServiceName,
		cluster:    answer.Cluster,
		launchType: strings.ToLower(answer.LaunchType),
		members:    answer.Containers,
	}, nil
}

// containers returns those that exist: a task that is being started lists some
// before the engine has given them an id.
func (t task) containers() containers {
	shared := t.sharedAddresses()
	known := make(containers, len(t.members))
	for _, m := range t.members {
		if !isID(m.DockerID) {
			continue
		}
		c := &entity.Container{
			ID:        m.DockerID,
			Name:      strings.TrimPrefix(m.DockerName, "/"),
			Image:     m.image(),
			Labels:    m.Labels,
			Addresses: m.addresses(),
			Created:   parseTime(m.CreatedAt),
			Task: &entity.Task{
				ClusterARN:    clusterARN(t.cluster, t.arn),
				TaskARN:       t.arn,
				Family:        t.family,
				Revision:      t.revision,
				ContainerARN:  m.ARN,
				ContainerName: m.Name,
				LaunchType:    t.launchType,
				Service:       t.service,
			},
		}
		c.Addresses = slices.DeleteFunc(c.Addresses, func(a netip.Addr) bool {
			return shared[a] > 1 || m.isInternal() && shared[a] > 0
		})
		known[c.ID] = c
	}
	return known
}

// sharedAddresses counts the containers of each address. With awsvpc the
// address is the task's: only when the task has one container besides those of
// ECS is it that container's.
func (t task) sharedAddresses() map[netip.Addr]int {
	users := make(map[netip.Addr]int)
	for _, m := range t.members {
		if m.isInternal() {
			continue
		}
		for _, a := range m.addresses() {
			users[a]++
		}
	}
	return users
}

func (m member) isInternal() bool { return strings.HasPrefix(m.Name, internalPrefix) }

// addresses returns those that are not the host's, each once.
func (m member) addresses() []netip.Addr {
	var all []netip.Addr
	for _, n := range m.Networks {
		if n.Mode == "host" {
			continue
		}
		for _, text := range slices.Concat(n.IPv4, n.IPv6) {
			if len(all) == maxAddresses {
				return all
			}
			if a, err := netip.ParseAddr(text); err == nil && !slices.Contains(all, a.Unmap()) {
				all = append(all, a.Unmap())
			}
		}
	}
	return all
}

// image takes apart what the task definition says. Text that is not a reference
// names no image.
func (m member) image() entity.Image {
	image := entity.Image{ID: m.ImageID}
	ref, ok := imageref.Parse(m.Image)
	if !ok {
		return image
	}
	image.Name = ref.Name
	if ref.Tag != "" {
		image.Tags = []string{ref.Tag}
	}
	if ref.Digest != "" {
		image.Digests = []string{ref.Name + "@" + ref.Digest}
	}
	return image
}

// clusterARN returns the cluster's ARN. The services may give a short name;
// partition, region and account are then those of the task. Without either it
// is unknown.
func clusterARN(cluster, taskARN string) string {
	if strings.HasPrefix(cluster, "arn:") {
		return cluster
	}
	// arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c,
	// in accounts of before 2018 without "default/".
	parts := strings.SplitN(taskARN, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return ""
	}
	if path := strings.Split(parts[5], "/"); cluster == "" && len(path) == 3 {
		cluster = path[1]
	}
	if cluster == "" {
		return ""
	}
	return strings.Join(parts[:5], ":") + ":cluster/" + cluster
}

func isID(text string) bool {
	if text == "" || len(text) > maxID {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// parseTime returns the zero time for text that is none: a container without
// its time is still worth telling of.
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}
