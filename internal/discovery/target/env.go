package target

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Env is what expressions see: one container at one of its endpoints. The names
// that users write are the expr tags. Those of receiver_creator's containers are
// type, id, name, image, tag, port, alternate_port, command, container_id, host,
// transport, labels and endpoint; the others are ours.
type Env struct {
	// Type is always "container".
	Type string `expr:"type"`
	// ID is the container's id and stable over restarts; ContainerID the same
	// by its other name.
	ID          string `expr:"id"`
	ContainerID string `expr:"container_id"`
	Name        string `expr:"name"`
	// Image is without tag, Tag what was behind the colon.
	Image string `expr:"image"`
	Tag   string `expr:"tag"`
	// Port is the one within the container, 0 where the container alone is
	// looked at; AlternatePort where it is published, 0: nowhere.
	Port          int `expr:"port"`
	AlternatePort int `expr:"alternate_port"`
	// Transport is TCP or UDP, "" without a port.
	Transport string `expr:"transport"`
	// Host is the address to connect to, Endpoint the same with the port
	// ("10.0.0.2:6379", "[fd00::2]:6379"). Both are "" without a port; Host is
	// then the container's first address.
	Host     string `expr:"host"`
	Endpoint string `expr:"endpoint"`
	// Command is the executable of the first process, without its arguments.
	Command string `expr:"command"`
	// Executable is the program that listens at Port, Executables all of them.
	Executable  string   `expr:"executable"`
	Executables []string `expr:"executables"`
	// Listening tells whether a socket was seen at Port.
	Listening bool `expr:"listening"`
	// Technology is what was recognised at Port or, if nothing was there, in the
	// container; Confidence is certain, likely, possible or "".
	Technology string `expr:"technology"`
	Confidence string `expr:"confidence"`
	// Technologies are all names that were recognised in the container.
	Technologies []string `expr:"technologies"`
	// Ports are the numbers of all endpoints.
	Ports       []int             `expr:"ports"`
	Labels      map[string]string `expr:"labels"`
	Annotations map[string]string `expr:"annotations"`
	// Networks are the addresses by the networks' names; Addresses all of them.
	Networks    map[string]string `expr:"networks"`
	Addresses   []string          `expr:"addresses"`
	HostNetwork bool              `expr:"host_network"`
	Hostname    string            `expr:"hostname"`
	Runtime     string            `expr:"runtime"`
	State       string            `expr:"state"`
	PID         int               `expr:"pid"`
	// Pod is empty outside Kubernetes.
	Pod Pod `expr:"pod"`
	// Resource are the attributes that go on what is collected.
	Resource map[string]string `expr:"resource"`
}

// Pod is the pod around a container, as somebody told of it or as the labels say that
// the kubelet writes on each container.
type Pod struct {
	Name      string `expr:"name"`
	Namespace string `expr:"namespace"`
	UID       string `expr:"uid"`
	// Container is the container's name in the pod.
	Container string `expr:"container"`
	// Labels are the pod's; those of the container where nobody knows the pod.
	Labels      map[string]string `expr:"labels"`
	Annotations map[string]string `expr:"annotations"`
}

// Envs returns what expressions are tried on: one for each endpoint in their
// order, and the container alone (Port 0) last. Maps are shared with t and must
// not be changed.
func (t *Target) Envs() []Env {
	endpoints := t.Endpoints()
	base := t.env()
	for _, e := range endpoints {
		if !slices.Contains(base.Ports, int(e.Port)) {
			base.Ports = append(base.Ports, int(e.Port))
		}
	}
	envs := make([]Env, 0, len(endpoints)+1)
	for _, e := range endpoints {
		envs = append(envs, base.at(t, e))
	}
	return append(envs, base)
}

func (t *Target) env() Env {
	env := Env{
		Type: "container", ID: t.ID, ContainerID: t.ID, Name: t.Name,
		Image: t.Image, Tag: t.ImageTag, Labels: t.Labels, Annotations: t.Annotations,
		Executables: t.Executables, HostNetwork: t.HostNetwork, Hostname: t.Hostname,
		Runtime: t.Runtime, State: t.State, PID: t.PID, Resource: t.Resource,
		Networks: make(map[string]string, len(t.Addresses)), Pod: t.Pod(),
	}
	if len(t.Executables) > 0 {
		env.Command = t.Executables[0]
	}
	for _, a := range t.Addresses {
		text := a.IP.String()
		env.Addresses = append(env.Addresses, text)
		if _, ok := env.Networks[a.Network]; !ok {
			env.Networks[a.Network] = text
		}
	}
	if len(env.Addresses) > 0 {
		env.Host = env.Addresses[0]
	}
	for _, tech := range t.Technologies {
		env.Technologies = append(env.Technologies, tech.Name)
	}
	if len(t.Technologies) > 0 {
		env.Technology, env.Confidence = t.Technologies[0].Name, t.Technologies[0].Confidence.String()
	}
	return env
}

// at is env seen from one of t's endpoints.
func (env Env) at(t *Target, e Endpoint) Env {
	env.Port, env.AlternatePort = int(e.Port), int(e.HostPort)
	env.Transport = strings.ToUpper(e.Protocol)
	env.Host, env.Endpoint = e.Addr.Addr().String(), e.Addr.String()
	env.Executable, env.Listening = e.Executable, e.Listening
	env.Technology, env.Confidence = "", ""
	if tech, ok := t.technologyAt(e.Port); ok {
		env.Technology, env.Confidence = tech.Name, tech.Confidence.String()
	}
	return env
}

// technologyAt returns what was recognised at a port, else what was recognised
// in the container without a port.
func (t *Target) technologyAt(port uint16) (Technology, bool) {
	for _, want := range []uint16{port, 0} {
		for _, tech := range t.Technologies {
			if tech.Port == want {
				return tech, true
			}
		}
	}
	return Technology{}, false
}

// Pod tells which pod a container belongs to, by the names that the kubelet gives each container as labels
// (pkg/kubelet/types/labels.go of Kubernetes).
func (t *Target) Pod() Pod {
	labels := t.PodLabels
	if labels == nil {
		labels = t.Labels
	}
	return Pod{
		Name:        cmp.Or(t.PodName, t.Labels["io.kubernetes.pod.name"]),
		Namespace:   cmp.Or(t.PodNamespace, t.Labels["io.kubernetes.pod.namespace"]),
		UID:         cmp.Or(t.Resource["k8s.pod.uid"], t.Labels["io.kubernetes.pod.uid"]),
		Container:   cmp.Or(t.PodContainer, t.Labels["io.kubernetes.container.name"]),
		Labels:      labels,
		Annotations: t.Annotations,
	}
}

// Hints returns annotations over labels: where both have a key, the annotation
// counts. The result is the caller's.
func (t *Target) Hints() map[string]string {
	all := make(map[string]string, len(t.Labels)+len(t.Annotations))
	maps.Copy(all, t.Labels)
	maps.Copy(all, t.Annotations)
	return all
}
