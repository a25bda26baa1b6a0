package cri_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/cri"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

var _ entity.Source = (*cri.Source)(nil)

// soon bounds waits in these tests; it only has to be longer than a loaded
// machine needs.
const soon = 20 * time.Second

// compareEntity compares addresses by value.
var compareEntity = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

// run starts a source and ends it with the test.
func run(t testing.TB, options cri.Options) (*cri.Source, *sinktest.Recorder) {
	t.Helper()
	source, err := cri.New(options)
	require.NoError(t, err)
	sink := new(sinktest.Recorder)
	sinktest.Run(t, source, sink)
	return source, sink
}

// never is longer than any of these tests: what happens, happens for another
// reason than the interval.
const never = time.Hour

func TestNew(t *testing.T) {
	f := func(endpoint string, good bool) {
		t.Helper()
		source, err := cri.New(cri.Options{Endpoint: endpoint})
		if (err == nil) != good {
			t.Errorf("endpoint %q: %v", endpoint, err)
		}
		if good && source.Name() != "containerd" {
			t.Errorf("name is %q", source.Name())
		}
	}
	f("", true)
	f("unix:///run/crio/crio.sock", true)
	f("unix://run/crio.sock", false)
	f("/run/crio.sock", false)
	f("tcp://127.0.0.1:1", false)
	f("unix:///", false)
	f("%zz", false)
}

// TestEverything follows one pod whose container has all there is to know.
func TestEverything(t *testing.T) {
	const digest = "docker.io/library/nginx@sha256:0d17b565c37bcbd895e9d92315a05c1c3c9a29f762b011a10c54a66cd53c9b31"
	imageID := "sha256:" + strings.Repeat("ab", 32)
	f := newFake(t)
	f.add("s1", "c1")
	f.sandboxes[0].Annotations = map[string]string{"kubernetes.io/config.hash": "4ad0", "note": "x"}
	f.sandboxes[0].Labels = map[string]string{"app": "web", "io.kubernetes.pod.uid": "uid-s1"}
	f.sandboxes[0].CreatedAt = 1_700_000_000_000_000_000
	f.networks["s1"] = &runtimev1.PodSandboxStatus{Network: &runtimev1.PodSandboxNetworkStatus{
		Ip: "10.1.2.3", AdditionalIps: []*runtimev1.PodIP{{Ip: "fd00::3"}, {Ip: "10.1.2.3"}, {Ip: "nonsense"}, nil}}}
	f.containers[0].ImageRef = imageID
	f.containers[0].Labels = map[string]string{"io.kubernetes.container.name": "web", "tier": "own"}
	f.containers[0].CreatedAt = 1_700_000_001_000_000_000
	f.statuses["c1"] = &runtimev1.ContainerStatusResponse{
		Status: &runtimev1.ContainerStatus{Id: "c1"},
		Info: map[string]string{"info": `{"pid":7,"runtimeSpec":{"process":{"args":["/bin/web -phunter2","--password=hunter2"],` +
			`"env":["OTEL_SERVICE_NAME=shop","SECRET=y","BROKEN"]}}}`},
	}
	f.images[imageID] = &runtimev1.ImageStatusResponse{
		Image: &runtimev1.Image{Id: imageID, RepoDigests: []string{digest},
			RepoTags: []string{"docker.io/library/nginx:1.25", "docker.io/library/nginx:latest", "other/name:9"}},
		Info: map[string]string{"info": `{"imageSpec":{"config":{"Labels":{"tier":"image","org.opencontainers.image.revision":"1f2e"}}}}`},
	}
	f.start(t)
	_, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never,
		KeepEnv: func(name string) bool { return name == "OTEL_SERVICE_NAME" }})
	sink.Await(t, "up containerd", 1)

	addresses := []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00::3")}
	want := &entity.Container{
		ID: "c1", Runtime: "containerd", RuntimeVersion: "1.7.2",
		Image:     entity.Image{Name: "nginx", Tags: []string{"1.25", "latest"}, ID: imageID, Digests: []string{digest}},
		Command:   "/bin/web",
		Labels:    map[string]string{"io.kubernetes.container.name": "web", "tier": "own", "org.opencontainers.image.revision": "1f2e"},
		Env:       map[string]string{"OTEL_SERVICE_NAME": "shop"},
		Addresses: addresses,
		Pod:       &entity.PodRef{UID: "uid-s1", Name: "pod-s1", Namespace: "shop", Container: "web"},
		Created:   time.Unix(1_700_000_001, 0),
	}
	if diff := cmp.Diff(want, sink.Container("c1"), compareEntity); diff != "" {
		t.Errorf("container: -want +got\n%s", diff)
	}
	wantSandbox := &entity.Container{
		ID: "s1", Runtime: "containerd", RuntimeVersion: "1.7.2",
		Labels:  f.sandboxes[0].Labels,
		Pod:     &entity.PodRef{UID: "uid-s1", Name: "pod-s1", Namespace: "shop"},
		Created: time.Unix(1_700_000_000, 0),
	}
	if diff := cmp.Diff(wantSandbox, sink.Container("s1"), compareEntity); diff != "" {
		t.Errorf("sandbox: -want +got\n%s", diff)
	}
	for _, uid := range []string{"uid-s1", "4ad0"} {
		wantPod := &entity.Pod{UID: uid, Name: "pod-s1", Namespace: "shop",
			Labels: map[string]string{"app": "web"}, Annotations: f.sandboxes[0].Annotations, Addresses: addresses}
		if diff := cmp.Diff(wantPod, sink.Pod(uid), compareEntity); diff != "" {
			t.Errorf("pod %s: -want +got\n%s", uid, diff)
		}
	}
	if n := f.called("ImageStatus"); n != 1 {
		t.Errorf("the image was asked for %d times", n)
	}
}

func TestHostNetworkHasNoAddress(t *testing.T) {
	f := newFake(t)
	f.add("s1", "c1")
	f.networks["s1"] = &runtimev1.PodSandboxStatus{
		Network: &runtimev1.PodSandboxNetworkStatus{Ip: "192.0.2.1"},
		Linux: &runtimev1.LinuxPodSandboxStatus{Namespaces: &runtimev1.Namespace{
			Options: &runtimev1.NamespaceOption{Network: runtimev1.NamespaceMode_NODE}}},
	}
	f.start(t)
	_, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never})
	sink.Await(t, "up containerd", 1)
	if got := sink.Container("c1").Addresses; len(got) != 0 {
		t.Errorf("the container has the host's addresses %v", got)
	}
}

// TestEvents: each event makes a listing due, and only events do here.
func TestEvents(t *testing.T) {
	f := newFake(t)
	f.events = make(chan *runtimev1.ContainerEventResponse)
	f.add("s1", "c1")
	f.start(t)
	_, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never})
	sink.Await(t, "up containerd", 1)
	sink.AwaitContainers(t, "s1", "c1")

	f.add("s2", "c2")
	f.events <- &runtimev1.ContainerEventResponse{ContainerId: "c2"}
	sink.AwaitContainers(t, "s1", "c1", "s2", "c2")
	f.change(func() { f.sandboxes, f.containers = f.sandboxes[:1], f.containers[:1] })
	f.events <- &runtimev1.ContainerEventResponse{ContainerId: "c2",
		ContainerEventType: runtimev1.ContainerEventType_CONTAINER_DELETED_EVENT}
	sink.AwaitContainers(t, "s1", "c1")
	if sink.Pod("uid-s1") == nil || sink.Pod("uid-s2") != nil {
		t.Errorf("pods: %v", sink.Pods())
	}
}

// TestInterval: without events the interval does it.
func TestInterval(t *testing.T) {
	f := newFake(t)
	f.add("s1", "c1")
	f.start(t)
	_, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: 20 * time.Millisecond})
	sink.Await(t, "up containerd", 1)
	f.add("s2", "c2")
	sink.AwaitContainers(t, "s1", "c1", "s2", "c2")
	// The details of both were never there: asked for, given up, told once for
	// the listing and no more.
	before := f.called("ListContainers")
	f.waitCalled(t, "ListContainers", before+4)
	if n := f.called("ContainerStatus"); n != 6 {
		t.Errorf("asked %d times for the status of two containers that have none, want 3 each", n)
	}
	if n := sink.Count("put containerd c1"); n != 1 {
		t.Errorf("an unchanged container was told %d times", n)
	}
}

func TestWant(t *testing.T) {
	f := newFake(t)
	f.start(t)
	source, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never})
	sink.Await(t, "up containerd", 1)
	f.add("s1", "c1")
	source.Want("c1", "")
	source.Want("nobody", "uid-s1")
	sink.AwaitContainers(t, "s1", "c1")
	testkit.Eventually(t, soon, func() error {
		if sink.Count("absent containerd nobody") != 1 {
			return errors.New("nobody is not absent")
		}
		return nil
	})
	if sink.Count("absent containerd c1") != 0 {
		t.Error("a container that is there was called absent")
	}
	// Known ones are told again to who asks.
	puts := sink.Count("put containerd s1")
	source.Want("s1", "")
	testkit.Eventually(t, soon, func() error {
		if sink.Count("put containerd s1") == puts {
			return errors.New("not told again")
		}
		return nil
	})
}

// TestWantSpacing: a storm of wants is a few listings.
func TestWantSpacing(t *testing.T) {
	f := newFake(t)
	f.start(t)
	source, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never})
	sink.Await(t, "up containerd", 1)
	started, before := time.Now(), f.called("ListContainers")
	for i := 0; f.called("ListContainers") < before+3; i++ {
		source.Want(fmt.Sprint("w", i%9000), "")
	}
	if took := time.Since(started); took < 2*250*time.Millisecond {
		t.Errorf("three listings within %v", took)
	}
}

// TestRestart: the runtime goes while containers do, and comes back.
func TestRestart(t *testing.T) {
	f := newFake(t)
	f.add("s1", "c1")
	f.add("s2", "c2")
	_, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never})
	if why := sink.AwaitDown(t, "containerd", 1); !strings.Contains(why.Error(), "no such file") {
		t.Errorf("down because of %v", why)
	}
	f.start(t)
	sink.Await(t, "up containerd", 1)
	sink.AwaitContainers(t, "s1", "c1", "s2", "c2")

	f.stop()
	sink.AwaitDown(t, "containerd", 2)
	f.change(func() {
		f.sandboxes, f.containers = f.sandboxes[:1], f.containers[:1]
		f.version = "1.7.3"
	})
	restarted := time.Now()
	f.start(t)
	sink.Await(t, "up containerd", 2)
	if took := time.Since(restarted); took > 10*time.Second {
		t.Errorf("back after %v", took)
	}
	sink.AwaitContainers(t, "s1", "c1")
	if n := sink.Count("pod containerd uid-s1"); n != 2 {
		t.Errorf("the pod that stayed was told %d times, want once per connection", n)
	}
	if n := sink.Count("podgone containerd uid-s2"); n != 1 {
		t.Errorf("the pod that went during the outage was told %d times to be gone", n)
	}
	if sink.Pod("uid-s1") == nil || sink.Pod("uid-s2") != nil {
		t.Errorf("pods: %v", sink.Pods())
	}
	if got := sink.Container("c1").RuntimeVersion; got != "1.7.3" {
		t.Errorf("runtime version is %s after the update", got)
	}
	if ups, downs := sink.Count("up containerd"), sink.Count("down containerd"); ups != 2 || downs != 2 {
		t.Errorf("up %d and down %d times", ups, downs)
	}
}

// TestHang: a runtime that does not answer is down after the deadline, which
// is five seconds.
func TestHang(t *testing.T) {
	f := newFake(t)
	f.hang = make(chan struct{})
	f.add("s1", "c1")
	f.start(t)
	source, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never})
	source.Want("c1", "")
	if why := sink.AwaitDown(t, "containerd", 1); status.Code(why) != codes.DeadlineExceeded {
		t.Errorf("down because of %v", why)
	}
	close(f.hang)
	sink.Await(t, "up containerd", 1)
	sink.AwaitContainers(t, "s1", "c1")
}

// TestHugeAnswer is refused, and not asked for again at once.
func TestHugeAnswer(t *testing.T) {
	f := newFake(t)
	f.add("s1", "c1")
	f.containers[0].Labels = map[string]string{"huge": strings.Repeat("x", 17<<20)}
	f.start(t)
	_, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never})
	if why := sink.AwaitDown(t, "containerd", 1); status.Code(why) != codes.ResourceExhausted {
		t.Errorf("down because of %v", why)
	}
	if ups := sink.Count("up containerd"); ups != 0 {
		t.Error("up without a listing")
	}
}

// TestHoles: entries without what they must have lose only themselves.
func TestHoles(t *testing.T) {
	f := newFake(t)
	f.sandboxes = []*runtimev1.PodSandbox{{}, {Id: "bare"}}
	f.containers = []*runtimev1.Container{{}, {Id: "orphan", PodSandboxId: "removed",
		Labels: map[string]string{"io.kubernetes.pod.uid": "u", "io.kubernetes.pod.name": "p", "io.kubernetes.pod.namespace": "n"}}}
	f.statuses["orphan"] = &runtimev1.ContainerStatusResponse{Info: map[string]string{"info": "{"}}
	f.start(t)
	_, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never})
	sink.Await(t, "up containerd", 1)
	sink.AwaitContainers(t, "bare", "orphan")
	want := &entity.PodRef{UID: "u", Name: "p", Namespace: "n"}
	if diff := cmp.Diff(want, sink.Container("orphan").Pod); diff != "" {
		t.Errorf("pod of the orphan: -want +got\n%s", diff)
	}
}

// TestGarbage: what is no gRPC at all, and a runtime without the service.
func TestGarbage(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "garbage.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	_, sink := run(t, cri.Options{Endpoint: "unix://" + socket, Interval: never})
	_ = sink.AwaitDown(t, "containerd", 1)

	empty := newFake(t)
	bare, err := net.Listen("unix", empty.socket)
	if err != nil {
		t.Fatal(err)
	}
	empty.server = grpc.NewServer()
	go func() { _ = empty.server.Serve(bare) }()
	_, sink = run(t, cri.Options{Endpoint: empty.endpoint(), Interval: never})
	if why := sink.AwaitDown(t, "containerd", 1); !strings.Contains(why.Error(), "disabled_plugins") {
		t.Errorf("no advice in %v", why)
	}
}

// TestReplacedSandbox: a pod whose sandbox died gets another and stays.
func TestReplacedSandbox(t *testing.T) {
	f := newFake(t)
	f.events = make(chan *runtimev1.ContainerEventResponse)
	f.add("old", "c1")
	f.networks["old"] = &runtimev1.PodSandboxStatus{Network: &runtimev1.PodSandboxNetworkStatus{Ip: "10.0.0.1"}}
	f.start(t)
	_, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never})
	sink.Await(t, "up containerd", 1)
	f.add("new", "c2")
	f.change(func() {
		f.sandboxes[0] = &runtimev1.PodSandbox{Id: "old", Metadata: f.sandboxes[0].Metadata,
			State: runtimev1.PodSandboxState_SANDBOX_NOTREADY, CreatedAt: 1}
		f.sandboxes[1].Metadata = f.sandboxes[0].Metadata
		f.networks["new"] = &runtimev1.PodSandboxStatus{Network: &runtimev1.PodSandboxNetworkStatus{Ip: "10.0.0.2"}}
	})
	f.events <- &runtimev1.ContainerEventResponse{}
	// The old sandbox has ended, whatever becomes of its container.
	sink.AwaitContainers(t, "new", "c1", "c2")
	testkit.Eventually(t, soon, func() error {
		got := sink.Pod("uid-old").Addresses
		if len(got) != 1 || got[0].String() != "10.0.0.2" {
			return fmt.Errorf("pod has %v", got)
		}
		return nil
	})
	testkit.Eventually(t, soon, func() error {
		if got := sink.Container("c1").Addresses; len(got) > 0 {
			return fmt.Errorf("the dead sandbox's container keeps %v", got)
		}
		return nil
	})
	f.change(func() { f.sandboxes, f.containers = f.sandboxes[1:], f.containers[1:] })
	f.events <- &runtimev1.ContainerEventResponse{}
	sink.AwaitContainers(t, "new", "c2")
	if sink.Pod("uid-old") == nil {
		t.Error("the pod went with its first sandbox")
	}
}
