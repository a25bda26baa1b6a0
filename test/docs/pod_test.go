package docs_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pod is one that runs on a node. Its uid is its own, as cgroups of the host are named
// after it.
type pod struct {
	name, uid string
	container string // its id
	log       string // what it writes, as the kubelet has it
}

// run makes a pod of that name and uid as the kubelet does: a sandbox, and the pod's one
// container.
func (n *node) run(t *testing.T, p pod, spec *corev1.PodSpec, config map[string]string) pod {
	t.Helper()
	name, uid := p.name, p.uid
	labels := map[string]string{"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": uid}
	parent := "/kubepods/pod" + uid
	n.cgroups = append(n.cgroups, parent)
	logs := n.path("pods", "shop_"+name+"_"+uid)
	pids := runtimev1.NamespaceMode_CONTAINER
	if spec.HostPID {
		pids = runtimev1.NamespaceMode_NODE
	}
	namespaces := &runtimev1.NamespaceOption{Network: runtimev1.NamespaceMode_POD, Pid: pids}
	sandbox := &runtimev1.PodSandboxConfig{
		Metadata: &runtimev1.PodSandboxMetadata{Name: name, Uid: uid, Namespace: "shop"}, Hostname: name,
		LogDirectory: logs, Labels: labels,
		Linux: &runtimev1.LinuxPodSandboxConfig{CgroupParent: parent,
			SecurityContext: &runtimev1.LinuxSandboxSecurityContext{NamespaceOptions: namespaces, Seccomp: runtimeDefault()}},
	}
	made, err := n.runtime.RunPodSandbox(t.Context(), &runtimev1.RunPodSandboxRequest{Config: sandbox})
	require.NoError(t, err)
	c := &spec.Containers[0]
	labels = maps.Clone(labels)
	labels["io.kubernetes.container.name"] = c.Name
	require.NoError(t, os.MkdirAll(filepath.Join(logs, c.Name), 0o755))
	container, err := n.runtime.CreateContainer(t.Context(), &runtimev1.CreateContainerRequest{
		PodSandboxId: made.PodSandboxId, SandboxConfig: sandbox,
		Config: &runtimev1.ContainerConfig{
			Metadata: &runtimev1.ContainerMetadata{Name: c.Name}, Image: &runtimev1.ImageSpec{Image: nodeImage},
			Command: c.Command, Args: c.Args, Envs: variables(spec), Labels: labels, LogPath: c.Name + "/0.log",
			Mounts: n.mounts(t, p, spec, config),
			Linux: &runtimev1.LinuxContainerConfig{SecurityContext: securityOf(c.SecurityContext, namespaces),
				Resources: &runtimev1.LinuxContainerResources{MemoryLimitInBytes: c.Resources.Limits.Memory().Value()}},
		},
	})
	require.NoError(t, err)
	_, err = n.runtime.StartContainer(t.Context(), &runtimev1.StartContainerRequest{ContainerId: container.ContainerId})
	require.NoError(t, err)
	p.container, p.log = container.ContainerId, filepath.Join(logs, c.Name, "0.log")
	return p
}

func runtimeDefault() *runtimev1.SecurityProfile {
	return &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_RuntimeDefault}
}

func variables(spec *corev1.PodSpec) (all []*runtimev1.KeyValue) {
	environment := environmentOf(spec)
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		all = append(all, &runtimev1.KeyValue{Key: name, Value: environment[name]})
	}
	return all
}

// securityOf says what the kubelet says (pkg/kubelet/kuberuntime/security_context.go); the
// masked and read-only paths are those of a container that is not privileged
// (pkg/securitycontext/util.go).
func securityOf(s *corev1.SecurityContext, namespaces *runtimev1.NamespaceOption) *runtimev1.LinuxContainerSecurityContext {
	security := &runtimev1.LinuxContainerSecurityContext{
		NamespaceOptions: namespaces,
		MaskedPaths: []string{"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
			"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"},
		ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
	if s == nil {
		return security
	}
	security.RunAsUser = &runtimev1.Int64Value{Value: *s.RunAsUser}
	security.RunAsGroup = &runtimev1.Int64Value{Value: *s.RunAsGroup}
	security.ReadonlyRootfs = *s.ReadOnlyRootFilesystem
	security.NoNewPrivs = !*s.AllowPrivilegeEscalation
	security.Capabilities = &runtimev1.Capability{}
	for _, name := range s.Capabilities.Add {
		security.Capabilities.AddCapabilities = append(security.Capabilities.AddCapabilities, string(name))
	}
	for _, name := range s.Capabilities.Drop {
		security.Capabilities.DropCapabilities = append(security.Capabilities.DropCapabilities, string(name))
	}
	if s.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault {
		security.Seccomp = runtimeDefault()
	}
	if s.AppArmorProfile.Type == corev1.AppArmorProfileTypeUnconfined {
		security.Apparmor = &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_Unconfined}
	}
	return security
}

// newPod is one with a uid that no other has.
func newPod(name string) pod {
	return pod{name: name, uid: fmt.Sprintf("%08x-0000-4000-8000-%012x", rand.Uint32(), rand.Uint64()>>16)}
}

// own is a place of this pod alone on the node.
func (n *node) own(p pod, parts ...string) string {
	return n.path(append([]string{"own-" + p.name}, parts...)...)
}

// mounts are the volumes of a pod. What the test must not share with the host's own
// agent or with one before it, and what this machine may lack, is in the node's directory.
func (n *node) mounts(t *testing.T, p pod, spec *corev1.PodSpec, config map[string]string) (all []*runtimev1.Mount) {
	t.Helper()
	for _, name := range []string{"config", "state", "statsd"} {
		require.NoError(t, os.MkdirAll(n.own(p, name), 0o755))
	}
	for name, text := range config {
		require.NoError(t, os.WriteFile(n.own(p, "config", name), []byte(text), 0o644))
	}
	places := map[string]string{
		"/run/containerd": n.path("run"), "/var/log/pods": n.path("pods"), "/var/lib/tallyman": n.own(p, "state"),
		"/run/tallyman": n.own(p, "statsd"), "/etc/machine-id": n.path("etc", "machine-id"),
	}
	require.NoError(t, os.WriteFile(places["/etc/machine-id"], []byte("0123456789abcdef0123456789abcdef\n"), 0o644))
	for _, m := range spec.Containers[0].VolumeMounts {
		at := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		require.GreaterOrEqual(t, at, 0, m.Name)
		from := n.own(p, "config")
		if host := spec.Volumes[at].HostPath; host != nil {
			from = host.Path
			if place := places[from]; place != "" {
				from = place
			}
		}
		all = append(all, &runtimev1.Mount{HostPath: from, ContainerPath: m.MountPath, Readonly: m.ReadOnly})
	}
	return all
}

// exec runs a command in the pod's container, as a probe does.
func (n *node) exec(t *testing.T, p pod, command ...string) (string, int32, error) {
	t.Helper()
	answer, err := n.runtime.ExecSync(t.Context(), &runtimev1.ExecSyncRequest{ContainerId: p.container, Cmd: command, Timeout: 20})
	return string(answer.GetStdout()) + string(answer.GetStderr()), answer.GetExitCode(), err
}

// environmentJSON is the environment of the image, in an image's form.
func environmentJSON(t *testing.T) string {
	t.Helper()
	var all []string
	for name, value := range imageEnvironment(t) {
		text, err := json.Marshal(name + "=" + value)
		require.NoError(t, err)
		all = append(all, string(text))
	}
	return strings.Join(sorted(all), ",")
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	require.NoError(t, err)
	return hex.EncodeToString(sum.Sum(nil))
}

// end stops a container as the kubelet does, with the grace period of the manifest, and
// shows what it has said if the test has failed.
func (n *node) end(t *testing.T, p pod) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := n.runtime.StopContainer(ctx, &runtimev1.StopContainerRequest{ContainerId: p.container, Timeout: 30}); err != nil {
		t.Errorf("stop %s: %v", p.name, err)
	}
	if text, err := os.ReadFile(p.log); err == nil && t.Failed() {
		t.Logf("%s said:\n%s", p.name, text[max(0, len(text)-6000):])
	}
}
