package entity

import (
	"context"
	"net/netip"
	"time"
)

// Container is what one source knows of one container.
type Container struct {
	// ID is the runtime's id, 64 hexadecimal digits for most.
	ID string
	// Name is the engine's name without the leading slash. In a pod it is empty:
	// there the name is PodRef.Container.
	Name string
	// Runtime is docker, podman, containerd, cri-o, ...; RuntimeVersion is "20.10.24".
	Runtime, RuntimeVersion string
	Image                   Image
	// Command is the executable only: arguments may hold secrets.
	Command string
	// Labels are the container's own, those of the image included.
	Labels map[string]string
	// Env are the variables whose values are known; masked ones are left out.
	Env map[string]string
	// Networks are the names of the networks it is in, sorted.
	Networks []string
	// Addresses are its own: none when it shares the host's or another
	// container's network namespace.
	Addresses []netip.Addr
	// Pod is set for containers of a pod.
	Pod *PodRef
	// Task is set for containers of an Amazon ECS task.
	Task *Task
	// Created is when it was made.
	Created time.Time
	// Technology is what it was recognised as. The store sets it; sources tell it
	// by [Sink.PutTechnology].
	Technology *Technology
}

// Technology is what somebody has recognised a container as by what it does.
type Technology struct {
	// Name is the value of service.technology: redis, nginx, ...
	Name string
	// Confidence is certain, likely or possible; SeenBy says in words by what.
	Confidence, SeenBy string
}

// Image is what a container was made from.
type Image struct {
	// Name is registry and path as written by who started the container,
	// without tag and digest.
	Name string
	// Tags are without the name: "1.25".
	Tags []string
	// ID is "sha256:...".
	ID string
	// Digests are repository digests, "nginx@sha256:...".
	Digests []string
}

// PodRef says which container of which pod a container is.
type PodRef struct {
	UID, Name, Namespace string
	// Container is the name in the pod's specification, empty for the sandbox.
	Container string
}

// Pod is what one source knows of one pod.
type Pod struct {
	// UID is as in cgroup paths of an API pod: with dashes. Static pods: 32
	// hexadecimal digits, which is the hash annotation's value.
	UID, Name, Namespace, Node string
	Labels, Annotations        map[string]string
	Owners                     Owners
	// Addresses are the pod's own; none on the host's network.
	Addresses []netip.Addr
}

// Owners are the names of the objects a pod belongs to.
type Owners struct {
	Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob string
}

// Task is what Amazon ECS says of a container's task.
type Task struct {
	ClusterARN, TaskARN, Family, Revision string
	ContainerARN, ContainerName           string
	// LaunchType is "ec2" or "fargate", in small letters as the conventions say.
	LaunchType string
	// Service is empty for tasks that were started alone.
	Service string
}

// Attribute is one tag of the host.
type Attribute struct{ Key, Value string }

// Source tells a Sink what it knows, for as long as it runs.
type Source interface {
	// Name is the configuration key of the source: docker, containerd, ...
	Name() string
	// Run works until ctx is done. It connects again by itself when what it
	// asks goes away, with a wait of a second at most, and never panics on
	// what it is answered.
	Run(ctx context.Context, sink Sink)
	// Want hints that somebody has data of a container (or only its pod) that
	// the store does not know. It does not block and may be called from any
	// goroutine, also before Run. A source that can ask for one container does
	// and tells the result: PutContainer or Absent.
	Want(id, podUID string)
}

// Sink takes what sources tell. All methods are safe for concurrent use and do
// not keep a caller waiting.
type Sink interface {
	// PutContainer replaces what this source has said of the container.
	PutContainer(source string, c *Container)
	// ContainerGone says that the container was removed; its tags stay for a
	// while.
	ContainerGone(source, id string)
	// Absent says that the source was asked for a container and has none.
	Absent(source, id string)
	// PutTechnology replaces what a container was recognised as; nil says that it
	// is nothing that anybody knows. Nobody is made known by that. After
	// ContainerGone the last word stays for as long as the container does.
	PutTechnology(source, id string, t *Technology)
	// PutPod replaces what this source has said of the pod.
	PutPod(source string, p *Pod)
	// PodGone says that the pod was removed.
	PodGone(source, uid string)
	// PutHost replaces the host's attributes of this source.
	PutHost(source string, attributes []Attribute)
	// Up says that the source has told of everything there is. It is called
	// after each connect.
	Up(source string)
	// Down says that the source knows nothing new until the next Up, and why.
	Down(source string, err error)
}
