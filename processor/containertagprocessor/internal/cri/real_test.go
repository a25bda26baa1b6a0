package cri_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/cri"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

const (
	realUID  = "3f1c6a52-9f0e-4c6b-9d3a-0d8f6a1b2c3d"
	realHash = "0123456789abcdef0123456789abcdef"
)

// TestContainerd makes a pod as the kubelet does, on a real containerd, and
// follows it through a restart of the runtime to its end.
func TestContainerd(t *testing.T) {
	d := newDaemon(t)
	source, sink := run(t, cri.Options{Endpoint: d.endpoint(), Interval: time.Second,
		KeepEnv: func(name string) bool { return strings.HasPrefix(name, "OTEL_") }})
	sink.Await(t, "up containerd", 1)

	sandbox, container := d.runPod(t)
	source.Want(container, realUID)
	sink.AwaitContainers(t, sandbox, container)
	d.check(t, sink, sandbox, container)

	d.stop(t)
	sink.AwaitDown(t, "containerd", 1)
	d.start(t)
	sink.Await(t, "up containerd", 2)
	sink.AwaitContainers(t, sandbox, container)

	// Stopped it is still listed, and told to be gone; removed, nothing is new.
	if _, err := d.runtime.StopContainer(t.Context(), &runtimev1.StopContainerRequest{ContainerId: container}); err != nil {
		t.Fatal(err)
	}
	sink.AwaitContainers(t, sandbox)
	if _, err := d.runtime.RemoveContainer(t.Context(), &runtimev1.RemoveContainerRequest{ContainerId: container}); err != nil {
		t.Fatal(err)
	}
	sink.AwaitContainers(t, sandbox)
	if _, err := d.runtime.StopPodSandbox(t.Context(), &runtimev1.StopPodSandboxRequest{PodSandboxId: sandbox}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.runtime.RemovePodSandbox(t.Context(), &runtimev1.RemovePodSandboxRequest{PodSandboxId: sandbox}); err != nil {
		t.Fatal(err)
	}
	sink.AwaitContainers(t)
	testkit.Eventually(t, soon, func() error {
		if sink.Pod(realUID) != nil || sink.Pod(realHash) != nil {
			return fmt.Errorf("pods stay: %v", sink.Pods())
		}
		return nil
	})
	if n := sink.Count("gone containerd " + container); n != 1 {
		t.Errorf("the container was told %d times to be gone", n)
	}
}

// runPod makes and starts a sandbox on the host's network and a container.
func (d *daemon) runPod(t *testing.T) (sandboxID, containerID string) {
	t.Helper()
	config := &runtimev1.PodSandboxConfig{
		Metadata:     &runtimev1.PodSandboxMetadata{Name: "web-0", Uid: realUID, Namespace: "shop"},
		LogDirectory: filepath.Join(d.dir, "logs"),
		Labels: map[string]string{"app": "web", "io.kubernetes.pod.name": "web-0",
			"io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": realUID},
		Annotations: map[string]string{"kubernetes.io/config.hash": realHash, "team": "blue"},
		Linux: &runtimev1.LinuxPodSandboxConfig{
			CgroupParent: d.cgroup(),
			SecurityContext: &runtimev1.LinuxSandboxSecurityContext{NamespaceOptions: &runtimev1.NamespaceOption{
				Network: runtimev1.NamespaceMode_NODE}},
		},
	}
	sandbox, err := d.runtime.RunPodSandbox(t.Context(), &runtimev1.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatalf("run sandbox: %v", err)
	}
	container, err := d.runtime.CreateContainer(t.Context(), &runtimev1.CreateContainerRequest{
		PodSandboxId: sandbox.PodSandboxId, SandboxConfig: config,
		Config: &runtimev1.ContainerConfig{
			Metadata: &runtimev1.ContainerMetadata{Name: "front"},
			Image:    &runtimev1.ImageSpec{Image: testImage},
			Command:  []string{"/bin/busybox", "sleep", "90000"},
			Envs:     []*runtimev1.KeyValue{{Key: "OTEL_SERVICE_NAME", Value: "front"}, {Key: "PASSWORD", Value: "x"}},
			Labels: map[string]string{"io.kubernetes.container.name": "front", "io.kubernetes.pod.name": "web-0",
				"io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": realUID},
			Linux: &runtimev1.LinuxContainerConfig{},
		},
	})
	if err != nil {
		t.Fatalf("create container: %v", err)
	}
	_, err = d.runtime.StartContainer(t.Context(), &runtimev1.StartContainerRequest{ContainerId: container.ContainerId})
	if err != nil {
		t.Fatalf("start container: %v", err)
	}
	return sandbox.PodSandboxId, container.ContainerId
}

func (d *daemon) check(t *testing.T, sink *sinktest.Recorder, sandbox, container string) {
	t.Helper()
	out, err := exec.Command("containerd", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := *sink.Container(container)
	if got.RuntimeVersion == "" || !strings.Contains(string(out), " "+got.RuntimeVersion+" ") &&
		!strings.Contains(string(out), " v"+got.RuntimeVersion+" ") {
		t.Errorf("runtime version is %q, containerd says %s", got.RuntimeVersion, out)
	}
	if age := time.Since(got.Created); age < 0 || age > 5*time.Minute {
		t.Errorf("created %v", got.Created)
	}
	if !strings.HasPrefix(got.Image.ID, "sha256:") || len(got.Image.ID) != 71 {
		t.Errorf("image id is %q", got.Image.ID)
	}
	got.RuntimeVersion, got.Created, got.Image.ID = "", time.Time{}, ""
	want := entity.Container{
		ID: container, Runtime: "containerd", Command: "/bin/busybox",
		Image: entity.Image{Name: testRepository, Tags: []string{"1"}, Digests: []string{d.digest}},
		Labels: map[string]string{"io.kubernetes.container.name": "front", "io.kubernetes.pod.name": "web-0",
			"io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": realUID,
			"org.opencontainers.image.revision": "1f2e3d"},
		Env: map[string]string{"OTEL_SERVICE_NAME": "front"},
		Pod: &entity.PodRef{UID: realUID, Name: "web-0", Namespace: "shop", Container: "front"},
	}
	if diff := cmp.Diff(want, got, compareEntity); diff != "" {
		t.Errorf("container: -want +got\n%s", diff)
	}
	wantRef := &entity.PodRef{UID: realUID, Name: "web-0", Namespace: "shop"}
	if diff := cmp.Diff(wantRef, sink.Container(sandbox).Pod); diff != "" {
		t.Errorf("sandbox: -want +got\n%s", diff)
	}
	for _, uid := range []string{realUID, realHash} {
		wantPod := &entity.Pod{UID: uid, Name: "web-0", Namespace: "shop", Labels: map[string]string{"app": "web"},
			Annotations: map[string]string{"kubernetes.io/config.hash": realHash, "team": "blue"}}
		if diff := cmp.Diff(wantPod, sink.Pod(uid), compareEntity); diff != "" {
			t.Errorf("pod %s: -want +got\n%s", uid, diff)
		}
	}
}
