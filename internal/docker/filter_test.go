package docker_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/docker"
)

type someFilter struct{}

func (someFilter) DockerEndpoint() string       { return "unix:///run/filtered.sock" }
func (someFilter) AllowAgentEnv([]string) error { return nil }

func TestFind(t *testing.T) {
	missing := "unix://" + filepath.Join(t.TempDir(), "docker.sock")
	there := "unix://" + t.TempDir()
	f := func(configured string, candidates []any, fallback string, want docker.Place) {
		t.Helper()
		require.Equal(t, want, docker.Find(configured, slices.Values(candidates), fallback))
	}
	filtered := docker.Place{Endpoint: "unix:///run/filtered.sock", Filter: someFilter{}}
	f("unix:///mine.sock", []any{someFilter{}}, there, docker.Place{Endpoint: "unix:///mine.sock"})
	f("", []any{1, someFilter{}}, there, filtered)
	f("", []any{1}, there, docker.Place{Endpoint: there, Bare: true})
	f("", nil, missing, docker.Place{Endpoint: missing})
}

func TestCheckEndpoint(t *testing.T) {
	for endpoint, ok := range map[string]bool{
		"unix:///run/docker.sock": true, "tcp://127.0.0.1:2375": true, "http://host:80": true,
		"": false, "/run/docker.sock": false, "unix://run/docker.sock": false, "tcp://host": false, "https://h:1": false, "unix://%": false,
	} {
		require.Equal(t, ok, docker.CheckEndpoint(endpoint) == nil, endpoint)
	}
}
