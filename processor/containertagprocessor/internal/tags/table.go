package tags

import "github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"

// Rows of attributes that have no fixed name.
const (
	anyKey     = "<key>"
	rowMapped  = "<name given by `attributes`>"
	rowADTags  = "<key of a Datadog tag>"
	rowCarried = "<key of a resource attribute>"
)

// technologyKey is what runs in a container, by name. Recognised, it has others
// beside it that say how; what an application says of itself has not. Their names do
// not lie below it: a name that is a value must not be a folder of names, too.
const technologyKey = "service.technology"

const (
	swarmServiceName = "com.docker.swarm.service.name"
	stackNamespace   = "com.docker.stack.namespace"
)

// row is an attribute.
type row struct {
	key   string
	level Level
	from  []origin // the first that has a value gives it
	claim bool     // people write it freely, so it must not look like a secret
	// number: a hexadecimal number is nothing unusual.
	number bool
	note   string // for the reader
	// evidence: of the recognition, on demand.
	evidence bool
}

// table is in the order of importance: when there are too many attributes, those
// above get out.
//
// The order of origins of service.name and its like is the OpenTelemetry
// variables, Datadog's, labels, then the orchestrator. In Kubernetes it is that
// of the semantic conventions (docs/non-normative/k8s-attributes.md), except
// that a generated name of a pod is none.
var table = []row{
	{key: rowMapped, level: Low, claim: true, note: "labels, variables, pod labels and annotations, by rules"},
	{key: "service.name", level: Low, claim: true, from: []origin{
		variable("OTEL_SERVICE_NAME"), resource("service.name"), variable("DD_SERVICE"),
		label("com.datadoghq.tags.service"), podLabel("tags.datadoghq.com/service"), annotation(resourceAnnotation + "service.name"),
		podLabel("app.kubernetes.io/instance"), podLabel("app.kubernetes.io/name"),
		label("com.docker.compose.service"), fact("label `com.docker.swarm.service.name` without the stack's name", (*input).swarmService),
		owner("Deployment"), owner("ReplicaSet"), owner("StatefulSet"), owner("DaemonSet"), owner("CronJob"), owner("Job"),
		fact("name of a pod without owner, unless generated", (*input).podName),
		fact("container's name in the pod", func(in *input) string { return in.ref.Container }),
		label("io.kubernetes.container.name").via((*input).kubernetesContainer),
		fact("ECS container name", func(in *input) string { return in.task.ContainerName }), label("com.amazonaws.ecs.container-name"),
		variable("NOMAD_TASK_NAME"), label("com.hashicorp.nomad.task_name"),
		variable("MARATHON_APP_ID").via((*input).marathonApp),
		fact("image name after the last slash", (*input).imageShortName),
	}},
	{key: "service.namespace", level: Low, claim: true, from: []origin{
		resource("service.namespace"), annotation(resourceAnnotation + "service.namespace"),
		label("com.docker.compose.project"), label(stackNamespace),
		fact("pod's namespace", func(in *input) string { return in.pod.Namespace }),
		fact("pod's namespace", func(in *input) string { return in.ref.Namespace }), label("io.kubernetes.pod.namespace"),
		fact("ECS task family", func(in *input) string { return in.task.Family }), label("com.amazonaws.ecs.task-definition-family"),
		variable("NOMAD_JOB_NAME"), label("com.hashicorp.nomad.job_name"),
	}},
	{key: "service.version", level: Low, claim: true, number: true, from: []origin{
		resource("service.version"), variable("DD_VERSION"), label("com.datadoghq.tags.version"), podLabel("tags.datadoghq.com/version"),
		annotation(resourceAnnotation + "service.version"), podLabel("app.kubernetes.io/version"), label("org.opencontainers.image.version"),
	}},
	{key: "deployment.environment.name", level: Low, claim: true, from: []origin{
		resource("deployment.environment.name"), resource("deployment.environment"), variable("DD_ENV"),
		label("com.datadoghq.tags.env"), podLabel("tags.datadoghq.com/env"), annotation(resourceAnnotation + "deployment.environment.name"),
	}},
	{key: technologyKey, level: Low, claim: true, from: []origin{
		resource(technologyKey), label(technologyKey), annotation(resourceAnnotation + technologyKey),
		fact("receiver discovery, by `recognition`", func(in *input) string { return in.recognised.Name }),
	}},
	{key: technologyKey + "_confidence", level: Low, evidence: true, from: []origin{
		fact("with `recognition.evidence`: certain, likely, possible", func(in *input) string { return in.recognised.Confidence }),
	}},
	{key: technologyKey + "_seen_by", level: Low, evidence: true, from: []origin{
		fact("with `recognition.evidence`: in words", func(in *input) string { return in.recognised.SeenBy }),
	}},
	{key: "container.alias", level: Low, claim: true, from: []origin{label("tallyman.alias")}, note: "`aliases` of the configuration"},
	{key: "container.name", level: High, from: []origin{
		fact("engine", func(in *input) string { return in.con.Name }),
		fact("container's name in the pod", func(in *input) string { return in.ref.Container }),
		fact("ECS container name", func(in *input) string { return in.task.ContainerName }),
	}},
	{key: "container.image.name", level: Low, from: []origin{fact("engine", func(in *input) string { return in.con.Image.Name })}},
	{key: "container.image.tags", level: Low, from: []origin{facts("engine", func(in *input) []string { return in.con.Image.Tags })}},
	{key: "container.image.id", level: Low, number: true, from: []origin{fact("engine", func(in *input) string { return in.con.Image.ID })}},
	{key: "container.image.repo_digests", level: Low, number: true, from: []origin{facts("engine", func(in *input) []string { return in.con.Image.Digests })}},
	{key: "container.runtime.name", level: Low, from: []origin{fact("engine", func(in *input) string { return in.con.Runtime })}},
	{key: "container.runtime.version", level: Low, from: []origin{fact("engine", func(in *input) string { return in.con.RuntimeVersion })}},
	{key: "container.command", level: Low, from: []origin{fact("engine, the executable only", func(in *input) string { return in.con.Command })}},
	{key: "docker.compose.project", level: Low, from: []origin{label("com.docker.compose.project")}},
	{key: "docker.compose.service", level: Low, from: []origin{label("com.docker.compose.service")}},
	{key: "docker.compose.container_number", level: Orchestrator, from: []origin{label("com.docker.compose.container-number")}},
	{key: "docker.swarm.service.name", level: Low, from: []origin{label(swarmServiceName)}},
	{key: "docker.swarm.service.id", level: Low, from: []origin{label("com.docker.swarm.service.id")}},
	{key: "docker.swarm.task.name", level: Orchestrator, from: []origin{label("com.docker.swarm.task.name")}},
	{key: "docker.swarm.task.id", level: Orchestrator, from: []origin{label("com.docker.swarm.task.id")}},
	{key: "docker.swarm.node.id", level: Low, from: []origin{label("com.docker.swarm.node.id")}},
	{key: "docker.network.names", level: Low, from: []origin{facts("engine", func(in *input) []string { return in.con.Networks })}},
	{key: "k8s.namespace.name", level: Low, from: []origin{
		fact("pod", func(in *input) string { return in.pod.Namespace }),
		fact("runtime", func(in *input) string { return in.ref.Namespace }), label("io.kubernetes.pod.namespace"),
	}},
	{key: "k8s.pod.name", level: Orchestrator, from: []origin{
		fact("pod", func(in *input) string { return in.pod.Name }),
		fact("runtime", func(in *input) string { return in.ref.Name }), label("io.kubernetes.pod.name"),
	}},
	{key: "k8s.pod.uid", level: Orchestrator, number: true, from: []origin{
		fact("pod", func(in *input) string { return in.pod.UID }),
		fact("runtime", func(in *input) string { return in.ref.UID }), label("io.kubernetes.pod.uid"),
	}},
	{key: "k8s.container.name", level: Low, from: []origin{
		fact("runtime", func(in *input) string { return in.ref.Container }),
		label("io.kubernetes.container.name").via((*input).kubernetesContainer),
	}},
	{key: "k8s.node.name", level: Low, from: []origin{fact("pod", func(in *input) string { return in.pod.Node })}},
	{key: "k8s.deployment.name", level: Low, from: []origin{owner("Deployment")}},
	{key: "k8s.replicaset.name", level: Low, from: []origin{owner("ReplicaSet")}},
	{key: "k8s.statefulset.name", level: Low, from: []origin{owner("StatefulSet")}},
	{key: "k8s.daemonset.name", level: Low, from: []origin{owner("DaemonSet")}},
	{key: "k8s.cronjob.name", level: Low, from: []origin{owner("CronJob")}},
	{key: "k8s.job.name", level: Low, from: []origin{owner("Job").only("outside a CronJob", isOwnJob)}},
	{key: "k8s.job.name", level: Orchestrator, from: []origin{owner("Job").only("of a CronJob", func(o entity.Owners) bool { return !isOwnJob(o) })}},
	{key: "aws.ecs.cluster.arn", level: Low, from: []origin{
		fact("task", func(in *input) string { return in.task.ClusterARN }),
		label("com.amazonaws.ecs.cluster").via((*input).ecsCluster),
	}},
	{key: "aws.ecs.service.name", level: Low, from: []origin{fact("task", func(in *input) string { return in.task.Service })}},
	{key: "aws.ecs.task.family", level: Low, from: []origin{
		fact("task", func(in *input) string { return in.task.Family }), label("com.amazonaws.ecs.task-definition-family"),
	}},
	{key: "aws.ecs.task.revision", level: Low, from: []origin{
		fact("task", func(in *input) string { return in.task.Revision }), label("com.amazonaws.ecs.task-definition-version"),
	}},
	{key: "aws.ecs.task.arn", level: Orchestrator, from: []origin{
		fact("task", func(in *input) string { return in.task.TaskARN }), label("com.amazonaws.ecs.task-arn"),
	}},
	{key: "aws.ecs.container.arn", level: High, from: []origin{fact("task", func(in *input) string { return in.task.ContainerARN })}},
	{key: "aws.ecs.launchtype", level: Low, from: []origin{fact("task", func(in *input) string { return in.task.LaunchType })}},
	{key: "nomad.namespace", level: Low, from: []origin{variable("NOMAD_NAMESPACE"), label("com.hashicorp.nomad.namespace")}},
	{key: "nomad.job", level: Low, from: []origin{variable("NOMAD_JOB_NAME"), label("com.hashicorp.nomad.job_name")}},
	{key: "nomad.group", level: Low, from: []origin{variable("NOMAD_GROUP_NAME"), label("com.hashicorp.nomad.task_group_name")}},
	{key: "nomad.task", level: Low, from: []origin{variable("NOMAD_TASK_NAME"), label("com.hashicorp.nomad.task_name")}},
	{key: "nomad.alloc.id", level: Orchestrator, from: []origin{variable("NOMAD_ALLOC_ID"), label("com.hashicorp.nomad.alloc_id")}},
	{key: "mesos.task.id", level: Orchestrator, from: []origin{variable("MESOS_TASK_ID")}},
	{key: "marathon.app.id", level: Low, from: []origin{variable("MARATHON_APP_ID")}},
	{key: "rancher.stack.name", level: Low, from: []origin{label("io.rancher.stack.name")}},
	{key: "rancher.service.name", level: Low, from: []origin{label("io.rancher.stack_service.name")}},
	{key: "rancher.container.name", level: High, from: []origin{label("io.rancher.container.name")}},
	{key: "vcs.ref.head.revision", level: Low, claim: true, number: true, from: []origin{label("org.opencontainers.image.revision")}},
	{key: "vcs.repository.url.full", level: Low, claim: true, from: []origin{label("org.opencontainers.image.source")}},
	{key: "container.label." + anyKey, level: High, claim: true, note: "labels, by `labels.allow`"},
	{key: "process.environment_variable." + anyKey, level: High, claim: true, note: "variables of the container, by `env.allow`"},
	{key: "k8s.pod.label." + anyKey, level: High, claim: true, note: "pod labels, by `pod_labels.allow`"},
	{key: "k8s.pod.annotation." + anyKey, level: High, claim: true, note: "annotations, by `annotations.allow`"},
	{key: rowADTags, level: Low, claim: true, note: "label `" + adTagsLabel + "`; annotation `" + adTagsAnnotation + "<container>.tags`; annotation `" +
		adTagsAnnotation + "tags`; high when it begins with +"},
	{key: rowCarried, level: High, claim: true, note: "variable `" + resourceVariable + "`; annotation `" + resourceAnnotation + anyKey +
		"`; at the attribute's own level when it is in this table"},
}

// isOwnJob tells of jobs that no cron job starts again and again.
func isOwnJob(o entity.Owners) bool { return o.CronJob == "" }
