package kubelet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// pod is the part that matters here of the v1 Pod, as documented at
// https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/.
type pod struct {
	Metadata metadata `json:"metadata"`
	Spec     spec     `json:"spec"`
	Status   podState `json:"status"`
}

type metadata struct {
	UID         string            `json:"uid"`
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Owners      []owner           `json:"ownerReferences"`
}

type owner struct {
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Controller bool   `json:"controller"`
}

type spec struct {
	NodeName    string          `json:"nodeName"`
	HostNetwork bool            `json:"hostNetwork"`
	Init        []containerSpec `json:"initContainers"`
	Containers  []containerSpec `json:"containers"`
	Ephemeral   []containerSpec `json:"ephemeralContainers"`
}

type containerSpec struct {
	Name    string     `json:"name"`
	Image   string     `json:"image"`
	Command []string   `json:"command"`
	Env     []variable `json:"env"`
	// Restart is "Always" for an init container that runs beside the others.
	Restart string `json:"restartPolicy"`
}

type variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// From is set for values that are not written here.
	From *struct{} `json:"valueFrom"`
}

type podState struct {
	IP         string            `json:"podIP"`
	IPs        []address         `json:"podIPs"`
	Init       []containerStatus `json:"initContainerStatuses"`
	Containers []containerStatus `json:"containerStatuses"`
	Ephemeral  []containerStatus `json:"ephemeralContainerStatuses"`
}

type address struct {
	IP string `json:"ip"`
}

type containerStatus struct {
	Name string `json:"name"`
	// ID is "containerd://" and 64 digits; empty before it is made.
	ID      string `json:"containerID"`
	Image   string `json:"image"`
	ImageID string `json:"imageID"`
	State   state  `json:"state"`
	// Last is how the one before this ended: late data of it need tags, too.
	Last state `json:"lastState"`
}

// state has one of its fields, or none while the container waits.
type state struct {
	Running    *running    `json:"running"`
	Terminated *terminated `json:"terminated"`
}

// running has its time as text: one of another form is no reason to lose a pod.
type running struct {
	StartedAt string `json:"startedAt"`
}

type terminated struct {
	ID        string `json:"containerID"`
	StartedAt string `json:"startedAt"`
}

// pods are those of one list.
type pods struct {
	whole []pod
	// broken are those that were not understood.
	broken []identity
}

// identity is what is known of a broken pod; empty fields are not known.
type identity struct{ uid, namespace, name string }

// maxBroken bounds the identities that are kept: it is the most pods that a
// kubelet is usually configured for. What is beyond it may be any pod.
const maxBroken = 500

func (p *pods) addBroken(m *metadata) {
	i := identity{uid: m.UID, namespace: m.Namespace, name: m.Name}
	if len(p.broken) >= maxBroken {
		i = identity{}
	}
	if !slices.Contains(p.broken, i) {
		p.broken = append(p.broken, i)
	}
}

var (
	errNoList = errors.New("it is no list of pods")
	errMore   = errors.New("something follows the list")
)

// parsePods reads a v1 PodList, one pod after the other:
//
//	{"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [...]}
//
// Pods whose fields are of other types than documented, or that have no uid,
// are broken.
func parsePods(text []byte) (pods, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := expect(d, json.Delim('{')); err != nil {
		return pods{}, err
	}
	var all pods
	found := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return pods{}, fmt.Errorf("parse pods: %w", err)
		}
		if key != "items" || found {
			var other json.RawMessage
			if err := d.Decode(&other); err != nil {
				return pods{}, fmt.Errorf("parse pods: %w", err)
			}
			continue
		}
		found = true
		if all, err = parseItems(d); err != nil {
			return pods{}, err
		}
	}
	if err := expect(d, json.Delim('}')); err != nil {
		return pods{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return pods{}, fmt.Errorf("parse pods: %w", errMore)
	}
	if !found {
		return pods{}, fmt.Errorf("parse pods: %w", errNoList)
	}
	return all, nil
}

// parseItems reads the list itself, which is null where there are no pods.
func parseItems(d *json.Decoder) (pods, error) {
	var all pods
	start, err := d.Token()
	if err != nil {
		return all, fmt.Errorf("parse pods: %w", err)
	}
	if start == nil {
		return all, nil
	}
	if start != json.Delim('[') {
		return all, fmt.Errorf("parse pods: %w", errNoList)
	}
	for n := 0; d.More(); n++ {
		var p pod
		err := d.Decode(&p)
		var foreign *json.UnmarshalTypeError
		if errors.As(err, &foreign) || err == nil && p.Metadata.UID == "" {
			// The fields of the right type are set all the same.
			all.addBroken(&p.Metadata)
			continue
		}
		if err != nil {
			return all, fmt.Errorf("parse pod %d: %w", n, err)
		}
		all.whole = append(all.whole, p)
	}
	return all, expect(d, json.Delim(']'))
}

func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if err != nil {
		return fmt.Errorf("parse pods: %w", err)
	}
	if got != want {
		return fmt.Errorf("parse pods: %w", errNoList)
	}
	return nil
}
