package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
)

var errNoSuch = errors.New("the configuration has no such component")

// without writes a copy of a configuration that lacks components, and returns where
// it is. What has nothing to do without them goes too: pipelines without a receiver
// or an exporter, and connectors that one side is missing of.
func without(config string, components []string, dir string) (string, error) {
	if len(components) == 0 {
		return config, nil
	}
	text, err := os.ReadFile(config)
	if err != nil {
		return "", fmt.Errorf("read configuration: %w", err)
	}
	text, err = leaveOut(text, components)
	if err != nil {
		return "", fmt.Errorf("change %s: %w", config, err)
	}
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}

// pipeline is one of service.pipelines.
type pipeline struct {
	Receivers  []string `yaml:"receivers"`
	Processors []string `yaml:"processors,omitempty"`
	Exporters  []string `yaml:"exporters"`
}

// service is what leaveOut changes of a configuration.
type service struct {
	Telemetry  any                 `yaml:"telemetry,omitempty"`
	Extensions []string            `yaml:"extensions"`
	Pipelines  map[string]pipeline `yaml:"pipelines"`
}

func leaveOut(text []byte, components []string) ([]byte, error) {
	var whole map[string]any
	var parts struct {
		Service    service        `yaml:"service"`
		Connectors map[string]any `yaml:"connectors"`
	}
	if err := errors.Join(yaml.Unmarshal(text, &whole), yaml.Unmarshal(text, &parts)); err != nil {
		return nil, fmt.Errorf("parse configuration: %w", err)
	}
	s := &parts.Service
	for _, name := range components {
		if !s.drop(name) {
			return nil, fmt.Errorf("leave out %s: %w", name, errNoSuch)
		}
	}
	for changed := true; changed; {
		changed = s.dropEmpty()
		for name := range parts.Connectors {
			changed = s.dropHalf(name) || changed
		}
	}
	whole["service"] = s
	return yaml.Marshal(whole)
}

// drop takes a component out of everything, and tells whether it was there.
func (s *service) drop(name string) bool {
	was := false
	cut := func(list []string) []string {
		was = was || slices.Contains(list, name)
		return slices.DeleteFunc(list, func(one string) bool { return one == name })
	}
	s.Extensions = cut(s.Extensions)
	for id, p := range s.Pipelines {
		s.Pipelines[id] = pipeline{cut(p.Receivers), cut(p.Processors), cut(p.Exporters)}
	}
	return was
}

// dropEmpty removes pipelines that data do not get into, or not out of.
func (s *service) dropEmpty() bool {
	was := false
	for id, p := range s.Pipelines {
		if len(p.Receivers) == 0 || len(p.Exporters) == 0 {
			delete(s.Pipelines, id)
			was = true
		}
	}
	return was
}

// dropHalf removes a connector that is a receiver only, or an exporter only.
func (s *service) dropHalf(name string) bool {
	in, out := false, false
	for _, p := range s.Pipelines {
		in, out = in || slices.Contains(p.Exporters, name), out || slices.Contains(p.Receivers, name)
	}
	return in != out && s.drop(name)
}
