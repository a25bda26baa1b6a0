package policy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatch(t *testing.T) {
	host := Identity{Kind: KindHost, UID: 1000, GID: 100}
	inside := Identity{Kind: KindContainer, ContainerID: cid("a"), UID: 1000, GID: 100}
	web := &Container{
		Image:  "traefik:v3",
		Labels: map[string]string{"role": "edge/proxy", "empty": "", labelComposeService: "web"},
	}
	f := func(m MatchConfig, id Identity, c *Container, want bool) {
		t.Helper()
		require.Equal(t, want, m.matches(id, c))
	}
	f(MatchConfig{HostUID: []int64{0, 1000}}, host, nil, true)
	f(MatchConfig{HostUID: []int64{0}}, host, nil, false)
	f(MatchConfig{HostGID: []int64{100}}, host, nil, true)
	f(MatchConfig{HostUID: []int64{1000}, HostGID: []int64{0}}, host, nil, false)
	f(MatchConfig{HostUID: []int64{1000}}, inside, web, false)
	f(MatchConfig{HostUID: []int64{1000}}, Identity{Kind: KindAgent, UID: 1000}, nil, false)
	f(MatchConfig{HostUID: []int64{1000}}, Identity{UID: 1000}, nil, false)
	f(MatchConfig{Image: "traefik:*"}, host, web, false)
	f(MatchConfig{Image: "traefik:*"}, inside, nil, false)

	label := func(name, glob string) MatchConfig {
		return MatchConfig{ContainerLabel: map[string]string{name: glob}}
	}
	f(label("role", "edge/proxy"), inside, web, true)
	f(label("role", "edge/*"), inside, web, true)
	f(label("role", "edge*"), inside, web, false)
	f(label("role", ""), inside, web, true)
	f(label("empty", ""), inside, web, true)
	f(label("absent", ""), inside, web, false)
	f(label("absent", "*"), inside, web, false)
	f(MatchConfig{ComposeService: "w?b"}, inside, web, true)
	f(MatchConfig{ComposeService: "db"}, inside, web, false)
	f(MatchConfig{ComposeService: "*"}, inside, &Container{}, false)

	all := MatchConfig{ContainerLabel: map[string]string{"role": "edge/proxy", "empty": ""}, ComposeService: "web", Image: "traefik:v3"}
	f(all, inside, web, true)
	all.ContainerLabel["role"] = "db"
	f(all, inside, web, false)
	all.ContainerLabel["role"], all.Image = "", "nginx"
	f(all, inside, web, false)
}

func TestMatchImage(t *testing.T) {
	f := func(glob, image string, want bool) {
		t.Helper()
		require.Equal(t, want, matchImage(glob, image), "%q of %q", glob, image)
	}
	f("traefik:*", "traefik:v3", true)
	f("traefik:*", "traefik", true)
	f("traefik:latest", "traefik", true)
	f("traefik", "traefik", true)
	f("traefik", "traefik:v3", false)
	f("traefik:*", "docker.io/library/traefik:v3", true)
	f("docker.io/library/traefik:*", "traefik:v3", true)
	f("docker.io/acme/web:1", "acme/web:1", true)
	f("traefik:*", "evil/traefik:v3", false)
	f("traefik:*", "evil.example/library/traefik:v3", false)
	f("traefik*", "traefik.evil/x:1", false)
	f("*", "evil/traefik:v3", false)
	f("*/*", "evil/traefik:v3", true)
	f("traefik:*", "traefik:v3@sha256:"+cid("0"), true)
	f("traefik@*", "traefik@sha256:"+cid("0"), true)
	f("traefik:*", "traefik@sha256:"+cid("0"), false)
	f("traefik", "traefik@sha256:"+cid("0"), false)
	f("registry:5000/web:*", "registry:5000/web", true)
	f("registry:*", "registry:5000/web", false)
	f("library/web:*", "web:1", false)
}
