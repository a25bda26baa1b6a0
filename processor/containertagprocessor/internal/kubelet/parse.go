package kubelet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	// Last is how the one before this ended: late data of it need tags, too.
	Last struct {
		Terminated struct {
			ID string `json:"containerID"`
		} `json:"terminated"`
	} `json:"lastState"`
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
// are counted and skipped.
func parsePods(text []byte) (pods []pod, skipped int, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if err := expect(d, json.Delim('{')); err != nil {
		return nil, 0, err
	}
	found := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, 0, fmt.Errorf("parse pods: %w", err)
		}
		if key != "items" || found {
			var other json.RawMessage
			if err := d.Decode(&other); err != nil {
				return nil, 0, fmt.Errorf("parse pods: %w", err)
			}
			continue
		}
		found = true
		if pods, skipped, err = parseItems(d); err != nil {
			return nil, 0, err
		}
	}
	if err := expect(d, json.Delim('}')); err != nil {
		return nil, 0, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, 0, fmt.Errorf("parse pods: %w", errMore)
	}
	if !found {
		return nil, 0, fmt.Errorf("parse pods: %w", errNoList)
	}
	return pods, skipped, nil
}

// parseItems reads the list itself, which is null where there are no pods.
func parseItems(d *json.Decoder) (pods []pod, skipped int, err error) {
	start, err := d.Token()
	if err != nil {
		return nil, 0, fmt.Errorf("parse pods: %w", err)
	}
	if start == nil {
		return nil, 0, nil
	}
	if start != json.Delim('[') {
		return nil, 0, fmt.Errorf("parse pods: %w", errNoList)
	}
	for d.More() {
		var p pod
		err := d.Decode(&p)
		var foreign *json.UnmarshalTypeError
		if errors.As(err, &foreign) || err == nil && p.Metadata.UID == "" {
			skipped++
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("parse pod %d: %w", len(pods)+skipped, err)
		}
		pods = append(pods, p)
	}
	return pods, skipped, expect(d, json.Delim(']'))
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
