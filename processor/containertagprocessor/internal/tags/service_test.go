package tags_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// claim is one thing that can give a service its name.
type claim struct {
	want string
	make func(con *entity.Container, pod *entity.Pod)
}

func variable(name, value, want string) claim {
	return claim{want, func(con *entity.Container, _ *entity.Pod) { con.Env[name] = value }}
}

func label(key, value, want string) claim {
	return claim{want, func(con *entity.Container, _ *entity.Pod) { con.Labels[key] = value }}
}

func podLabel(key, value string) claim {
	return claim{value, func(_ *entity.Container, pod *entity.Pod) { pod.Labels[key] = value }}
}

func annotation(key, value string) claim {
	return claim{value, func(_ *entity.Container, pod *entity.Pod) { pod.Annotations[key] = value }}
}

func resource(pair, want string) claim {
	return claim{want, func(con *entity.Container, _ *entity.Pod) { con.Env["OTEL_RESOURCE_ATTRIBUTES"] += "," + pair }}
}

func inPod(want string, set func(*entity.Pod)) claim {
	return claim{want, func(_ *entity.Container, pod *entity.Pod) { set(pod) }}
}

func inContainer(want string, set func(*entity.Container)) claim {
	return claim{want, func(con *entity.Container, _ *entity.Pod) { set(con) }}
}

// checkOrder gives a container all claims, then all but the first, and so on:
// each time the first that is left must win.
func checkOrder(t *testing.T, key string, claims []claim) {
	t.Helper()
	c := compile(t, tags.Options{})
	for i := range claims {
		con := &entity.Container{Labels: map[string]string{}, Env: map[string]string{}}
		pod := &entity.Pod{Labels: map[string]string{}, Annotations: map[string]string{}}
		for _, claim := range slices.Backward(claims[i:]) {
			claim.make(con, pod)
		}
		set := c.Container(con, pod)
		require.Equal(t, claims[i].want, byKey(set)[key], "%s by claim %d", key, i)
	}
	require.NotContains(t, byKey(c.Container(&entity.Container{Name: "brave_turing"}, nil)), key)
}

func TestServiceName(t *testing.T) {
	checkOrder(t, "service.name", []claim{
		variable("OTEL_SERVICE_NAME", "a", "a"),
		resource("service.name=b", "b"),
		variable("DD_SERVICE", "c", "c"),
		label("com.datadoghq.tags.service", "d", "d"),
		podLabel("tags.datadoghq.com/service", "e"),
		annotation("resource.opentelemetry.io/service.name", "f"),
		podLabel("app.kubernetes.io/instance", "g"),
		podLabel("app.kubernetes.io/name", "h"),
		label("com.docker.compose.service", "i", "i"),
		label("com.docker.swarm.service.name", "stack_j", "stack_j"),
		inPod("k", func(p *entity.Pod) { p.Owners.Deployment = "k" }),
		inPod("l", func(p *entity.Pod) { p.Owners.ReplicaSet = "l" }),
		inPod("m", func(p *entity.Pod) { p.Owners.StatefulSet = "m" }),
		inPod("n", func(p *entity.Pod) { p.Owners.DaemonSet = "n" }),
		inPod("o", func(p *entity.Pod) { p.Owners.CronJob = "o" }),
		inPod("p", func(p *entity.Pod) { p.Owners.Job = "p" }),
		inPod("q", func(p *entity.Pod) { p.Name = "q" }),
		inContainer("r", func(c *entity.Container) { c.Pod = &entity.PodRef{Container: "r"} }),
		label("io.kubernetes.container.name", "s", "s"),
		inContainer("t", func(c *entity.Container) { c.Task = &entity.Task{ContainerName: "t"} }),
		label("com.amazonaws.ecs.container-name", "u", "u"),
		variable("NOMAD_TASK_NAME", "v", "v"),
		label("com.hashicorp.nomad.task_name", "w", "w"),
		variable("MARATHON_APP_ID", "/group/x", "x"),
		inContainer("y", func(c *entity.Container) { c.Image.Name = "registry.example:5000/group/y" }),
	})
}

func TestServiceNamespace(t *testing.T) {
	checkOrder(t, "service.namespace", []claim{
		resource("service.namespace=a", "a"),
		annotation("resource.opentelemetry.io/service.namespace", "b"),
		label("com.docker.compose.project", "c", "c"),
		label("com.docker.stack.namespace", "d", "d"),
		inPod("e", func(p *entity.Pod) { p.Namespace = "e" }),
		inContainer("f", func(c *entity.Container) { c.Pod = &entity.PodRef{Namespace: "f"} }),
		label("io.kubernetes.pod.namespace", "g", "g"),
		inContainer("h", func(c *entity.Container) { c.Task = &entity.Task{Family: "h"} }),
		label("com.amazonaws.ecs.task-definition-family", "i", "i"),
		variable("NOMAD_JOB_NAME", "j", "j"),
		label("com.hashicorp.nomad.job_name", "k", "k"),
	})
}

func TestServiceVersion(t *testing.T) {
	checkOrder(t, "service.version", []claim{
		resource("service.version=8f4c1d2e3b5a69788796a5b4c3d2e1f0a9b8c7d6", "8f4c1d2e3b5a69788796a5b4c3d2e1f0a9b8c7d6"),
		variable("DD_VERSION", "b", "b"),
		label("com.datadoghq.tags.version", "c", "c"),
		podLabel("tags.datadoghq.com/version", "d"),
		annotation("resource.opentelemetry.io/service.version", "e"),
		podLabel("app.kubernetes.io/version", "f"),
		label("org.opencontainers.image.version", "g", "g"),
	})
}

func TestDeploymentEnvironment(t *testing.T) {
	checkOrder(t, "deployment.environment.name", []claim{
		resource("deployment.environment.name=a", "a"),
		resource("deployment.environment=b", "b"),
		variable("DD_ENV", "c", "c"),
		label("com.datadoghq.tags.env", "d", "d"),
		podLabel("tags.datadoghq.com/env", "e"),
		annotation("resource.opentelemetry.io/deployment.environment.name", "f"),
	})
}

// What an application says of itself comes before what it was recognised as.
func TestServiceTechnology(t *testing.T) {
	checkOrder(t, "service.technology", []claim{
		resource("service.technology=a", "a"),
		label("service.technology", "b", "b"),
		annotation("resource.opentelemetry.io/service.technology", "c"),
		inContainer("d", func(c *entity.Container) { c.Technology = &entity.Technology{Name: "d"} }),
	})
}

// Evidence is there on demand, and only beside what it is evidence of.
func TestEvidence(t *testing.T) {
	f := func(o tags.Options, labels map[string]string, want map[string]string) {
		t.Helper()
		con := &entity.Container{Labels: labels, Technology: &entity.Technology{Name: "redis", Confidence: "certain", SeenBy: "executable redis-server"}}
		require.Equal(t, want, byKey(compile(t, o).Container(con, nil)))
	}
	shown := map[string]string{
		"service.technology": "redis", "service.technology_confidence": "certain", "service.technology_seen_by": "executable redis-server",
	}
	mapped := tags.Rules{Attributes: map[string]string{"what": "service.technology"}}
	f(tags.Options{}, nil, map[string]string{"service.technology": "redis"})
	f(tags.Options{Evidence: true}, nil, shown)
	f(tags.Options{Evidence: true, Cardinality: tags.Low}, nil, shown)
	f(tags.Options{Evidence: true, Cardinality: tags.None}, nil, map[string]string{})
	f(tags.Options{Evidence: true}, map[string]string{"service.technology": "redis"}, shown)
	f(tags.Options{Evidence: true}, map[string]string{"service.technology": "valkey"}, map[string]string{"service.technology": "valkey"})
	f(tags.Options{Evidence: true, Labels: mapped}, map[string]string{"what": "keydb"}, map[string]string{"service.technology": "keydb"})
}

// Of a container that no source knows, nothing else is said.
func TestRecognisedAlone(t *testing.T) {
	alias := []tags.Alias{{Match: selection.Rule{ContainerName: "*"}, Name: "all"}}
	f := func(o tags.Options, want map[string]string) {
		t.Helper()
		o.Aliases = alias
		require.Equal(t, want, byKey(compile(t, o).Recognised(&entity.Technology{Name: "redis", Confidence: "likely", SeenBy: "image redis"})))
	}
	f(tags.Options{}, map[string]string{"service.technology": "redis"})
	f(tags.Options{Cardinality: tags.None}, map[string]string{})
	f(tags.Options{Evidence: true}, map[string]string{
		"service.technology": "redis", "service.technology_confidence": "likely", "service.technology_seen_by": "image redis",
	})
}

// Names that somebody's machine has made up are no services.
func TestGeneratedNames(t *testing.T) {
	c := compile(t, tags.Options{})
	f := func(want string, con *entity.Container, pod *entity.Pod) {
		t.Helper()
		require.Equal(t, want, byKey(c.Container(con, pod))["service.name"])
	}
	inPod := &entity.Container{Name: "k8s_x", Pod: &entity.PodRef{UID: podUID, Name: "wf-x7k2p", Container: "main"}}
	f("main", inPod, &entity.Pod{UID: podUID, Name: "wf-x7k2p"})
	f("wf-x7k2", inPod, &entity.Pod{UID: podUID, Name: "wf-x7k2"})
	f("wf-nginx", inPod, &entity.Pod{UID: podUID, Name: "wf-nginx"}) // has an i
	f("main", inPod, nil)

	sandbox := &entity.Container{
		Image: entity.Image{Name: "registry.k8s.io/pause"}, Pod: &entity.PodRef{UID: podUID, Name: "wf-x7k2p"},
		Labels: map[string]string{"io.kubernetes.container.name": "POD"},
	}
	f("", sandbox, nil)
	f("web", sandbox, pod())

	f("", &entity.Container{Name: "brave_turing", Image: entity.Image{Name: "sha256:605c77e624dd"}}, nil)
	f("", &entity.Container{Name: "brave_turing", Image: entity.Image{Name: "605c77e624dd"}}, nil)
	f("cafe", &entity.Container{Name: "brave_turing", Image: entity.Image{Name: "cafe"}}, nil)
	f("nginx", &entity.Container{Image: entity.Image{Name: "nginx"}, Env: map[string]string{"OTEL_SERVICE_NAME": "***"}}, nil)
}
