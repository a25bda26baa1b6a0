package project_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
)

func TestCompileNamesTheField(t *testing.T) {
	f := func(options project.Options, want string) {
		t.Helper()
		_, err := project.Compile(options)
		require.ErrorContains(t, err, want)
	}
	f(project.Options{EnvAllow: []string{"OK", ""}}, `env_allow[1] ""`)
	f(project.Options{EnvAllow: []string{"A=B"}}, `env_allow[0] "A=B"`)
	f(project.Options{LabelAllow: []string{"a.{b,c}"}}, `label_allow[0]`)
	f(project.Options{LabelDeny: []string{"*", "a b"}}, `label_deny[1]`)
	f(project.Options{LabelDeny: []string{"é"}}, `label_deny[0]`)
	f(project.Options{LabelDeny: []string{strings.Repeat("x", 300)}}, `label_deny[0]`)
}

// TestTables: a mistake in tables.txt is found when it is read.
func TestTables(t *testing.T) {
	require.NoError(t, project.CheckTables("[a]\nX number\nL[] @b\nM{word}.N word | why\n[b]\nY flag ?swarm\n"))
	for _, text := range []string{
		"X number",
		"[a]\n[a]",
		"[a] box",
		"[a]\nX",
		"[a]\nX number ?swarm more",
		"[a]\nX number ?never",
		"[a]\nX numbr",
		"[a]\nX word",                     // no reason
		"[a]\nX number\nX number",         // twice
		"[a]\nX number\nX.Y number",       // within a leaf
		"[a]\nX.Y number\nX number",       // over an object
		"[a]\nX[].Y number\nX.Z number",   // list and object
		"[a]\nX[] number\nX{word} number", // list and map
		"[a]\nX{any} number",
		"[a]\nX[ number",
		"[a]\n.X number",
		"[a]\nX @none",
		"[a]\nX @b\n[b]\nY @a",
	} {
		require.Error(t, project.CheckTables(text), text)
	}
}

func TestLabels(t *testing.T) {
	rules := compile(t, project.Options{})
	traefik := compile(t, project.Options{LabelAllow: []string{"traefik.*"}})
	f := func(rules *project.Rules, key, value string, want bool) {
		t.Helper()
		text, err := json.Marshal(map[string]any{"Labels": map[string]string{key: value}})
		require.NoError(t, err)
		out := show(t, string(text), project.View{Kind: project.Volume, Rules: rules})
		require.Equal(t, want, strings.Contains(out, key), "%s=%s: %s", key, value, out)

		text, err = json.Marshal(map[string]any{"Labels": []string{key + "=" + value}})
		require.NoError(t, err)
		out = show(t, string(text), project.View{Kind: project.Info, Rules: rules})
		require.Equal(t, want, strings.Contains(out, key), "%s=%s: %s", key, value, out)
	}
	const random = "Zk3Tq9LmX7vB2nRc5WdYh8JpFs4GtQa6"
	f(rules, "com.example.team", "shop", true)
	f(rules, "com.example.api_token", "x", false)
	f(rules, "com.example.API_TOKEN", "x", false)
	f(rules, "com.example.doc", strings.Repeat("a b ", 63)+"abc", true)
	f(rules, "com.example.doc", strings.Repeat("a b ", 64), false)
	f(rules, "com.example.key", random, false)
	f(rules, "com.example."+random, "x", false)
	f(rules, "com.docker.compose.project", random, true)
	f(rules, "com.docker.compose.project.working_dir", "/srv", false)
	f(rules, "com.docker.swarm.node.id", random, true)
	f(rules, "org.opencontainers.image.revision", strings.Repeat("4f0c1d2e", 5), true)
	f(rules, "io.kubernetes.pod.secret", "x", true) // allowed first
	f(rules, "com.datadoghq.ad.instances", `[{"host":"%%host%%","password":"%%env_PW%%"}]`, true)
	f(rules, "com.datadoghq.ad.instances", strings.Repeat(`{"host":"%%host%%"},`, 30), true)
	f(rules, "com.datadoghq.ad.instances", `[{"host":"%%host%%","password":"x"}]`, false)
	f(rules, "com.datadoghq.ad.instances", `[{"url":"http://u:p@h/"}]`, false)
	f(rules, "traefik.http.middlewares.m.basicauth.users", "u:x", false)
	f(traefik, "traefik.http.middlewares.m.basicauth.users", "u:x", true)
	f(traefik, "com.example.key", random, false)
	f(traefik, "com.datadoghq.ad.instances", `[{"password":"x"}]`, false)
}

// The configurations by which containers ask to be collected from are read in full
// by who is allowed to, whatever their length. Of one that may not be seen the name
// stays for everybody: an agent that asked through this filter would start a
// receiver without its configuration where only enabled=true is left.
func TestDiscoveryLabels(t *testing.T) {
	plain := compile(t, project.Options{})
	agent := compile(t, project.Options{LabelAllow: append(project.DefaultLabelAllow(), project.DiscoveryLabels()...)})
	traefik := compile(t, project.Options{LabelAllow: []string{"traefik.*"}})
	long := strings.Repeat("metrics:\n  one: {enabled: true}\n", 20)
	const key, password = "io.opentelemetry.discovery.metrics.6379/config", "username: u\npassword: hunter2"
	f := func(rules *project.Rules, kind project.Kind, value, want string) {
		t.Helper()
		type labelled struct {
			Type   string
			Labels map[string]string
			Actor  struct{ Attributes map[string]string }
		}
		given := labelled{Type: "container", Labels: map[string]string{key: value}}
		given.Actor.Attributes = given.Labels
		text, err := json.Marshal(given)
		require.NoError(t, err)
		var got labelled
		require.NoError(t, json.Unmarshal([]byte(show(t, string(text), project.View{Kind: kind, Rules: rules})), &got))
		labels := got.Labels
		if kind == project.Event {
			labels = got.Actor.Attributes
		}
		require.Equal(t, want, labels[key], "of %q", value)
		require.Equal(t, want != "", len(labels) == 1)
	}
	for _, kind := range []project.Kind{project.Volume, project.Event} {
		f(agent, kind, long, long)
		f(agent, kind, password, "***")
		for _, rules := range []*project.Rules{plain, traefik} {
			f(rules, kind, long, "***")
			f(rules, kind, password, "***")
		}
		f(plain, kind, "endpoint: http://`endpoint`/status", "endpoint: http://`endpoint`/status")
	}
	list, err := json.Marshal(map[string]any{"Labels": []string{key + "=" + password}})
	require.NoError(t, err)
	require.NotContains(t, show(t, string(list), project.View{Kind: project.Info, Rules: agent}), "hunter2")
}

// Of a label whose name must not be seen nothing stays, whatever the name begins with.
func TestDiscoveryLabelWithSecretName(t *testing.T) {
	plain := compile(t, project.Options{})
	f := func(key, value string) {
		t.Helper()
		text, err := json.Marshal(map[string]any{"Labels": map[string]string{key: value}})
		require.NoError(t, err)
		require.JSONEq(t, `{"Labels":{}}`, show(t, string(text), project.View{Kind: project.Volume, Rules: plain}))
	}
	f("io.opentelemetry.discovery.metrics/password", "x y")
	f("io.opentelemetry.discovery.metrics/"+strings.Repeat("k ", 200), "x y")
	f("io.opentelemetry.discovery.metrics/Zk3Tq9LmX7vB2nRc5WdYh8JpFs4GtQa6", "password: hunter2")
}

func TestPatterns(t *testing.T) {
	f := func(pattern, name string, want bool) {
		t.Helper()
		rules := compile(t, project.Options{EnvAllow: []string{pattern}})
		out := show(t, `{"Config":{"Env":["`+name+`=1"]}}`, project.View{Kind: project.ImageInspect, Rules: rules})
		require.Equal(t, want, strings.Contains(out, name+"=1"), "%s %s: %s", pattern, name, out)
	}
	f("A", "A", true)
	f("A", "AB", false)
	f("A*", "A", true)
	f("A*", "AB", true)
	f("A*", "BA", false)
	f("*A", "BA", true)
	f("*A*", "BAB", true)
	f("*A*", "B", false)
	f("A*A", "A", false)
	f("A*A", "AA", true)
	f("A*B*A", "AA", false)
	f("A*B*A", "ABA", true)
	f("*AB*AB*", "AB_AB", true)
	f("*AB*AB*", "ABAC", false)
	f("*", "A", true)
}
