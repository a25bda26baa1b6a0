package cri

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/internal/command"
	"github.com/tallymanhq/tallyman/internal/imageref"
)

// infoKey is where containerd and cri-o put what they say when a status is
// asked for verbosely: JSON text whose fields are theirs to change. A runtime
// without those used here only says less.
const infoKey = "info"

// Bounds of what is kept of one container's environment: a pod in a busy
// namespace gets seven variables per service from the kubelet.
const (
	maxEnv      = 64
	maxEnvValue = 4096
)

// details is what listings do not say of a container.
type details struct {
	status  bool   // the status was answered
	image   string // the image's name, as the runtime's status has it
	imageID string
	facts   imageFacts
	info    containerInfo
}

// settled: nothing more will be learned.
func (d *details) settled() bool { return d.status && d.facts.known }

// imageFacts is what an image is.
type imageFacts struct {
	known         bool // the runtime has the image, or there is none to ask for
	id            string
	tags, digests []string // "docker.io/library/nginx:1.25", "...@sha256:..."
	labels        map[string]string
}

// containerInfo is what the verbose status of a container says.
type containerInfo struct {
	command string
	env     map[string]string
}

// askDetails asks for what is missing of the status and the image of a
// container. An error is one of the connection, not of the container.
func (p *pass) askDetails(c *container) error {
	if p.slow || c.details.settled() || !c.asked.due(c.ended()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(p.ctx, callWithin)
	defer cancel()
	before := c.details
	if err := p.askStatus(ctx, c); err != nil {
		return err
	}
	err := p.askFacts(ctx, c)
	if !reflect.DeepEqual(before, c.details) {
		c.mark.told = false
	}
	return err
}

func (p *pass) askStatus(ctx context.Context, c *container) error {
	if c.details.status {
		return nil
	}
	id := c.raw.GetId()
	answer, err := p.session.runtime.ContainerStatus(ctx, &runtimev1.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		return p.judge("ask status of container "+id, err)
	}
	s := answer.GetStatus()
	c.details.status = true
	c.details.image, c.details.imageID = s.GetImage().GetImage(), s.GetImageId()
	// Text that is no JSON leaves the command and the environment unknown.
	c.details.info, _ = parseContainerInfo([]byte(answer.GetInfo()[infoKey]), p.source.options.KeepEnv)
	return nil
}

// askFacts does not need the status: most listings name the image, too.
func (p *pass) askFacts(ctx context.Context, c *container) error {
	if p.slow || c.details.facts.known {
		return nil
	}
	ref := imageToAsk(c)
	if ref == "" {
		c.details.facts.known = c.details.status
		return nil
	}
	facts, err := p.askImage(ctx, ref)
	if err != nil {
		return p.judge("ask status of the image of container "+c.raw.GetId(), err)
	}
	c.details.facts = facts
	return nil
}

// imageToAsk is the id of a container's image where the runtime tells it, which
// stays right when the name is given to another image.
func imageToAsk(c *container) string {
	for _, ref := range []string{c.raw.GetImageId(), c.details.imageID, c.raw.GetImageRef(), c.raw.GetImage().GetImage()} {
		if ref != "" {
			return ref
		}
	}
	return ""
}

// askImage asks for an image once per listing.
func (p *pass) askImage(ctx context.Context, ref string) (imageFacts, error) {
	if facts, ok := p.images[ref]; ok {
		return facts, nil
	}
	answer, err := p.session.images.ImageStatus(ctx, &runtimev1.ImageStatusRequest{
		Image: &runtimev1.ImageSpec{Image: ref}, Verbose: true,
	})
	if err != nil {
		return imageFacts{}, err
	}
	// An image that the runtime has not is answered without an error and without
	// an image. It may come back, as a container needs it.
	image := answer.GetImage()
	facts := imageFacts{known: image != nil, id: imageref.ID(image.GetId()), tags: image.GetRepoTags(), digests: image.GetRepoDigests()}
	// Text that is no JSON leaves the labels unknown.
	facts.labels, _ = parseImageInfo([]byte(answer.GetInfo()[infoKey]))
	p.images[ref] = facts
	return facts, nil
}

// parseContainerInfo reads the process from the verbose status of a container:
//
//	{"pid": 1, "runtimeSpec": {"process": {"args": ["sh", "-c"], "env": ["A=b"]}}}
//
// Of the arguments only the program is kept: others may hold secrets.
func parseContainerInfo(text []byte, keep func(string) bool) (containerInfo, error) {
	if len(text) == 0 {
		return containerInfo{}, nil
	}
	var raw struct {
		RuntimeSpec struct {
			Process struct {
				Args []string `json:"args"`
				Env  []string `json:"env"`
			} `json:"process"`
		} `json:"runtimeSpec"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return containerInfo{}, fmt.Errorf("parse container info: %w", err)
	}
	info := containerInfo{env: make(map[string]string)}
	if args := raw.RuntimeSpec.Process.Args; len(args) > 0 {
		info.command = command.Program(args[0])
	}
	for _, line := range raw.RuntimeSpec.Process.Env {
		name, value, ok := strings.Cut(line, "=")
		if ok && len(info.env) < maxEnv && len(value) <= maxEnvValue && keep(name) {
			info.env[strings.Clone(name)] = strings.Clone(value)
		}
	}
	return info, nil
}

// parseImageInfo reads the labels from the verbose status of an image, which
// are in the image's own configuration and, with cri-o, beside it:
//
//	{"imageSpec": {"config": {"Labels": {"a": "b"}}}, "labels": {"a": "b"}}
func parseImageInfo(text []byte) (map[string]string, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var raw struct {
		ImageSpec struct {
			Config struct {
				Labels map[string]string `json:"Labels"`
			} `json:"config"`
		} `json:"imageSpec"`
		Labels map[string]string `json:"labels"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("parse image info: %w", err)
	}
	labels := maps.Clone(raw.Labels)
	if labels == nil {
		return raw.ImageSpec.Config.Labels, nil
	}
	maps.Copy(labels, raw.ImageSpec.Config.Labels)
	return labels, nil
}
