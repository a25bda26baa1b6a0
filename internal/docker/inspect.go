package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/command"
)

// errShape says that an answer is JSON but not what was asked for.
var errShape = errors.New("unexpected answer")

// masked is what a filter writes in place of a value.
const masked = "***"

// parseList reads the answer to /containers/json. Entries without a full id are
// left out: nothing more could be asked about them. What has the wrong type in
// one entry is missing there, and the others are as good as before.
func parseList(body []byte) ([]*Container, error) {
	var list []struct {
		ID     string `json:"Id"`
		Names  []string
		Image  string
		Labels map[string]string
	}
	err := json.Unmarshal(body, &list)
	var odd *json.UnmarshalTypeError
	if err != nil && (!errors.As(err, &odd) || len(list) == 0) {
		return nil, fmt.Errorf("parse list: %w", err)
	}
	containers := make([]*Container, 0, len(list))
	for _, from := range list {
		if isID(from.ID) {
			containers = append(containers, &Container{
				ID: from.ID, Name: ownName(from.Names), ImageRef: from.Image, Labels: from.Labels,
			})
		}
	}
	return containers, nil
}

// ownName leaves out the names that links give: /other/alias.
func ownName(names []string) string {
	for _, name := range names {
		name = strings.TrimPrefix(name, "/")
		if !strings.Contains(name, "/") {
			return name
		}
	}
	return ""
}

// inspected is the part of an inspect that is read; ContainerInspect of
// https://docs.docker.com/reference/api/engine/ describes all of it.
type inspected struct {
	ID           string `json:"Id"`
	Name         string
	Created      string
	Path         string
	Image        string
	RestartCount int
	State        *inspectedState
	Config       struct {
		Hostname string
		Image    string
		Env      []string
		Labels   map[string]string
		// ExposedPorts has "80/tcp" and the like as keys; what is there is {}.
		ExposedPorts map[string]json.RawMessage
	}
	HostConfig      struct{ NetworkMode string }
	NetworkSettings struct {
		Networks map[string]*struct{ IPAddress, GlobalIPv6Address string }
		// Ports has the same keys; null where a port is only exposed.
		Ports map[string][]binding
	}
}

type inspectedState struct {
	Status                string
	OOMKilled             bool
	Pid, ExitCode         int
	StartedAt, FinishedAt string
	Health                struct{ Status string }
}

// parseContainer turns the answer to /containers/{id}/json into a Container.
func parseContainer(body []byte) (*Container, error) {
	var from inspected
	if err := json.Unmarshal(body, &from); err != nil {
		return nil, fmt.Errorf("parse container: %w", err)
	}
	if !isID(from.ID) || from.State == nil {
		return nil, fmt.Errorf("parse container: %w (no id, or no state)", errShape)
	}
	return &Container{
		ID: from.ID, Name: strings.TrimPrefix(from.Name, "/"),
		ImageRef: from.Config.Image, ImageID: from.Image,
		Command: command.Program(from.Path), Labels: from.Config.Labels, Env: visibleEnv(from.Config.Env),
		Networks: networks(&from), NetworkMode: from.HostConfig.NetworkMode,
		Ports: ports(&from), Hostname: from.Config.Hostname,
		Created: parseTime(from.Created),
		State:   parseState(&from),
	}, nil
}

func parseState(from *inspected) State {
	s := State{
		Status: from.State.Status, Health: from.State.Health.Status,
		Pid: from.State.Pid, ExitCode: from.State.ExitCode, OOMKilled: from.State.OOMKilled,
		Restarts:  from.RestartCount,
		StartedAt: parseTime(from.State.StartedAt), FinishedAt: parseTime(from.State.FinishedAt),
	}
	if s.Health == "none" {
		s.Health = "" // what engines write for: no health check
	}
	return s
}

func visibleEnv(list []string) map[string]string {
	env := make(map[string]string, len(list))
	for _, entry := range list {
		name, value, ok := strings.Cut(entry, "=")
		if ok && name != "" && value != masked {
			env[name] = value
		}
	}
	return env
}

func networks(from *inspected) []Network {
	named := from.NetworkSettings.Networks
	list := make([]Network, 0, len(named))
	for _, name := range slices.Sorted(maps.Keys(named)) {
		n := Network{Name: name}
		if endpoint := named[name]; endpoint != nil {
			for _, text := range []string{endpoint.IPAddress, endpoint.GlobalIPv6Address} {
				if address, err := netip.ParseAddr(text); err == nil {
					n.Addresses = append(n.Addresses, address)
				}
			}
		}
		list = append(list, n)
	}
	return list
}

// parseTime returns the zero time for what is none, and for year 1, which is how
// engines write "never".
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}
