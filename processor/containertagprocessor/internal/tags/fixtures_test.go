package tags_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// fixture is a container as its sources describe it.
type fixture struct {
	name    string
	con     *entity.Container
	pod     *entity.Pod
	options tags.Options
}

func fixtures() []fixture {
	return []fixture{
		{name: "docker", con: engine("brave_turing", nil, nil)},
		{name: "compose", con: compose()},
		{name: "swarm", con: swarm()},
		{name: "k8s", con: containerd(), pod: pod()},
		{name: "k8s-without-kubelet", con: containerd()},
		{name: "k8s-cronjob", con: containerd(), pod: &entity.Pod{
			UID: podUID, Name: "report-29012345-x7k2p", Namespace: "shop", Node: "node-1",
			Owners: entity.Owners{Job: "report-29012345", CronJob: "report"},
		}},
		{name: "ecs", con: ecs()},
		{name: "ecs-labels", con: engine("ecs-shop-3-web-c8d3f2a1e4b5d6f7", map[string]string{
			"com.amazonaws.ecs.cluster": "prod", "com.amazonaws.ecs.container-name": "web",
			"com.amazonaws.ecs.task-arn":               "arn:aws:ecs:eu-west-1:123456789012:task/prod/0123456789abcdef0123456789abcdef",
			"com.amazonaws.ecs.task-definition-family": "shop", "com.amazonaws.ecs.task-definition-version": "3",
		}, nil)},
		{name: "nomad", con: engine("web-6f1b2c3d-1111-2222-3333-444455556666", nil, map[string]string{
			"NOMAD_JOB_NAME": "shop", "NOMAD_GROUP_NAME": "front", "NOMAD_TASK_NAME": "web", "NOMAD_NAMESPACE": "default",
			"NOMAD_ALLOC_ID": "6f1b2c3d-1111-2222-3333-444455556666",
		})},
		{name: "marathon", con: engine("mesos-6f1b2c3d-1111-2222-3333-444455556666", nil, map[string]string{
			"MESOS_TASK_ID": "prod_shop_web.6f1b2c3d-1111-2222-3333-444455556666", "MARATHON_APP_ID": "/prod/shop/web",
		})},
		{name: "oci", con: engine("quirky_bell", map[string]string{
			"org.opencontainers.image.version":  "2.3.1",
			"org.opencontainers.image.revision": "8f4c1d2e3b5a69788796a5b4c3d2e1f0a9b8c7d6",
			"org.opencontainers.image.source":   "https://git.example/shop/web",
		}, nil)},
		{name: "recognised", con: recognised(), options: tags.Options{Evidence: true}},
		{name: "variables", con: variables(), options: tags.Options{Env: tags.Rules{Allow: []string{"APP_*"}}}},
		{name: "rules", con: ruled(), pod: pod(), options: tags.Options{
			Labels:      tags.Rules{Allow: []string{"com.example.*"}, Deny: []string{"*.internal"}, Attributes: map[string]string{"owner": "team"}},
			Env:         tags.Rules{Attributes: map[string]string{"TIER": "tier"}},
			PodLabels:   tags.Rules{Allow: []string{"app.kubernetes.io/*"}},
			Annotations: tags.Rules{Allow: []string{"example.com/*"}},
		}},
	}
}

const podUID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"

// engine is what Docker tells of a container of nginx.
func engine(name string, labels, env map[string]string) *entity.Container {
	return &entity.Container{
		ID: "f0", Name: name, Runtime: "docker", RuntimeVersion: "20.10.24", Command: "nginx",
		Image: entity.Image{
			Name: "nginx", Tags: []string{"1.25"},
			ID:      "sha256:605c77e624ddb75e6110f997c58876baa13f8754486b461117934b24a9dc3a85",
			Digests: []string{"nginx@sha256:0d17b565c37bcbd895e9d92315a05c1c3c9a29f762b011a10c54a66cd53c9b31"},
		},
		Labels: labels, Env: env, Networks: []string{"bridge"},
	}
}

func compose() *entity.Container {
	con := engine("shop-web-1", map[string]string{
		"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "com.docker.compose.container-number": "1",
		"com.docker.compose.config-hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"com.docker.compose.oneoff":      "False", "maintainer": "NGINX Docker Maintainers",
	}, map[string]string{"NGINX_VERSION": "1.25.3"})
	con.Networks = []string{"shop_back", "shop_front"}
	return con
}

func swarm() *entity.Container {
	return engine("shop_web.1.6qgb0pna6iphr7c4ijzuiihaa", map[string]string{
		"com.docker.stack.namespace": "shop", "com.docker.swarm.service.name": "shop_web",
		"com.docker.swarm.service.id": "iws2t1vxpyb6khuq6n5ygn2xf", "com.docker.swarm.node.id": "9opfw0jjrrkehjh5mjo34ov36",
		"com.docker.swarm.task": "", "com.docker.swarm.task.id": "6qgb0pna6iphr7c4ijzuiihaa",
		"com.docker.swarm.task.name": "shop_web.1.6qgb0pna6iphr7c4ijzuiihaa",
	}, nil)
}

func containerd() *entity.Container {
	return &entity.Container{
		ID: "f1", Runtime: "containerd", RuntimeVersion: "1.7.2", Image: entity.Image{Name: "docker.io/library/nginx", Tags: []string{"1.25"}},
		Pod: &entity.PodRef{UID: podUID, Name: "web-6d4cf56db6-x7k2p", Namespace: "shop", Container: "nginx"},
	}
}

func pod() *entity.Pod {
	return &entity.Pod{
		UID: podUID, Name: "web-6d4cf56db6-x7k2p", Namespace: "shop", Node: "node-1",
		Labels: map[string]string{"app.kubernetes.io/version": "2.3.1", "pod-template-hash": "6d4cf56db6"},
		Annotations: map[string]string{
			"resource.opentelemetry.io/deployment.environment.name": "prod", "resource.opentelemetry.io/team": "front",
			"example.com/contact": "front@example.com", "ad.datadoghq.com/nginx.tags": `["stage:blue"]`,
		},
		Owners: entity.Owners{Deployment: "web", ReplicaSet: "web-6d4cf56db6"},
	}
}

func ecs() *entity.Container {
	return &entity.Container{
		ID: "f2", Runtime: "ecs-fargate", Image: entity.Image{Name: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop/web", Tags: []string{"7"}},
		Task: &entity.Task{
			ClusterARN:   "arn:aws:ecs:eu-west-1:123456789012:cluster/prod",
			TaskARN:      "arn:aws:ecs:eu-west-1:123456789012:task/prod/0123456789abcdef0123456789abcdef",
			ContainerARN: "arn:aws:ecs:eu-west-1:123456789012:container/prod/0123456789abcdef0123456789abcdef/6f1b2c3d-1111-2222-3333-444455556666",
			Family:       "shop", Revision: "3", ContainerName: "web", LaunchType: "fargate", Service: "shop-front",
		},
	}
}

func recognised() *entity.Container {
	con := engine("eager_noether", nil, nil)
	con.Technology = &entity.Technology{Name: "nginx", Confidence: "certain", SeenBy: "executable nginx"}
	return con
}

func variables() *entity.Container {
	return engine("happy_bohr", map[string]string{
		"com.datadoghq.tags.env": "label-env", "com.datadoghq.ad.tags": `["team:front","+shard:7","bare","host:%%host%%"]`,
	}, map[string]string{
		"OTEL_SERVICE_NAME":        "web",
		"OTEL_RESOURCE_ATTRIBUTES": "service.name=no, service.namespace = shop%2Ceu ,service.version=1.2,color=dark%20blue,container.id=ab,empty=",
		"DD_ENV":                   "prod", "DD_SERVICE": "no", "DD_VERSION": "***", "APP_REGION": "eu", "APP_ZONE": "***", "APP_TOKEN": "abc",
	})
}

func ruled() *entity.Container {
	con := containerd()
	con.Labels = map[string]string{
		"com.example.team": "front", "com.example.here": "", "com.example.note.internal": "no", "owner": "ops", "other": "no",
		"com.example.api-token": "abc", "com.example.dsn": "postgres://web:hunter2@db/shop",
	}
	con.Env = map[string]string{"TIER": "1", "NOT": "no"}
	return con
}

// compile makes a Compiler of options that must be well-formed.
func compile(t testing.TB, o tags.Options) *tags.Compiler {
	t.Helper()
	c, err := tags.New(o)
	require.NoError(t, err)
	return c
}

// byKey returns strings by key. Arrays are left out.
func byKey(s *tags.Set) map[string]string {
	m := map[string]string{}
	for _, a := range s.Attributes {
		if a.Values == nil {
			m[a.Key] = a.Value
		}
	}
	return m
}
