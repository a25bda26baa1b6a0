package containertagprocessor

import (
	"fmt"
	"os"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/cloud"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/cri"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/ecs"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/engine"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/host"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/kubelet"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/statictags"
)

// sourceDocker is the key of the source that is on by default, sourceKubelet of the one
// that knows pods as they are now: a runtime keeps what the kubelet said at their start.
const (
	sourceDocker  = "docker"
	sourceKubelet = "kubelet"
)

// maker makes the sources of a configuration.
type maker struct {
	cfg  Sources
	keep func(env string) bool
	root hostfs.Roots

	sources          []entity.Source
	containers, host []string
}

// makeSources makes what is configured. The order is that of preference: where
// two tell of one container, the engine knows its name and labels best, the
// runtime its image, the kubelet its pod. Of the host the operator's own tags
// come first, then the cloud.
func makeSources(cfg Sources, keep func(env string) bool) (sources []entity.Source, containers, host []string, err error) {
	m := &maker{cfg: cfg, keep: keep, root: hostfs.NewRoots(cfg.RootPath)}
	for _, add := range []func() error{m.addEngines, m.addRuntimes, m.addKubelet, m.addECS, m.addHost} {
		if err := add(); err != nil {
			return nil, nil, nil, err
		}
	}
	return m.sources, m.containers, m.host, nil
}

func (m *maker) addContainers(s entity.Source, field string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	m.sources = append(m.sources, s)
	m.containers = append(m.containers, s.Name())
	return nil
}

func (m *maker) addEngines() error {
	for _, e := range []struct {
		name, endpoint string
		on             bool
	}{
		{sourceDocker, m.cfg.Docker.Endpoint, m.cfg.Docker.Enabled},
		{"podman", m.cfg.Podman.Endpoint, m.cfg.Podman.Endpoint != ""},
	} {
		if !e.on {
			continue
		}
		s, err := engine.New(engine.Options{Name: e.name, Endpoint: e.endpoint, KeepEnv: m.keep})
		if err := m.addContainers(s, e.name+".endpoint", err); err != nil {
			return err
		}
	}
	return nil
}

func (m *maker) addRuntimes() error {
	for _, r := range []struct{ name, endpoint string }{
		{"containerd", m.cfg.Containerd.Endpoint}, {"crio", m.cfg.CRIO.Endpoint},
	} {
		if r.endpoint == "" {
			continue
		}
		s, err := cri.New(cri.Options{Name: r.name, Endpoint: r.endpoint, KeepEnv: m.keep})
		if err := m.addContainers(s, r.name+".endpoint", err); err != nil {
			return err
		}
	}
	return nil
}

func (m *maker) addKubelet() error {
	k := m.cfg.Kubelet
	if k.Endpoint == "" {
		return nil
	}
	s, err := kubelet.New(kubelet.Options{
		Endpoint: k.Endpoint, TokenFile: k.TokenFile, CAFile: k.CAFile,
		InsecureSkipVerify: k.InsecureSkipVerify, KeepEnv: m.keep,
	})
	return m.addContainers(s, sourceKubelet, err)
}

// addECS asks the metadata endpoint, too, where the agent is part of a task.
func (m *maker) addECS() error {
	if !m.cfg.ECS.Enabled {
		return nil
	}
	o := ecs.Options{Introspection: m.cfg.ECS.Endpoint, MetadataURI: os.Getenv("ECS_CONTAINER_METADATA_URI_V4")}
	if cloud.Detect(m.root) == cloud.AWS {
		o.LaunchType = "ec2"
	}
	s := ecs.New(o)
	return m.addContainers(s, "ecs", nil)
}

func (m *maker) addHost() error {
	all := []entity.Source{statictags.New(statictags.Options{Tags: m.cfg.HostTags, File: m.cfg.HostTagsFile})}
	if m.cfg.Cloud.Enabled {
		all = append(all, cloud.New(cloud.Options{Roots: m.root}))
	}
	all = append(all, host.New(host.Options{Roots: m.root, HostName: m.cfg.HostName}))
	for _, s := range all {
		m.sources = append(m.sources, s)
		m.host = append(m.host, s.Name())
	}
	return nil
}
