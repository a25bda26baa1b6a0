package cri_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// fake is a runtime that answers what a test puts into it, over a real socket.
type fake struct {
	runtimev1.UnimplementedRuntimeServiceServer
	runtimev1.UnimplementedImageServiceServer

	socket string
	server *grpc.Server

	mu         sync.Mutex
	name       string
	version    string
	sandboxes  []*runtimev1.PodSandbox
	containers []*runtimev1.Container
	networks   map[string]*runtimev1.PodSandboxStatus
	statuses   map[string]*runtimev1.ContainerStatusResponse
	images     map[string]*runtimev1.ImageStatusResponse
	fault      error // what listings answer instead
	noStatus   error // what calls for the status of a container answer instead
	noImage    error // what calls for the status of an image answer instead
	calls      map[string]int

	events chan *runtimev1.ContainerEventResponse // nil: answers Unimplemented, as containerd 1.6
	hang   chan struct{}                          // listings wait for it to be closed
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{
		socket: filepath.Join(t.TempDir(), "cri.sock"),
		name:   "containerd", version: "v1.7.2",
		networks: make(map[string]*runtimev1.PodSandboxStatus),
		statuses: make(map[string]*runtimev1.ContainerStatusResponse),
		images:   make(map[string]*runtimev1.ImageStatusResponse),
		calls:    make(map[string]int),
	}
	t.Cleanup(f.stop)
	return f
}

func (f *fake) endpoint() string { return "unix://" + f.socket }

func (f *fake) start(t testing.TB, options ...grpc.ServerOption) *fake {
	t.Helper()
	listener, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	f.server = grpc.NewServer(options...)
	runtimev1.RegisterRuntimeServiceServer(f.server, f)
	runtimev1.RegisterImageServiceServer(f.server, f)
	server := f.server
	go func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
	}()
	return f
}

// stop ends the server and its connections; the socket goes with it.
func (f *fake) stop() {
	if f.server != nil {
		f.server.Stop()
	}
}

func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fake) called(name string) (n int) {
	f.change(func() { n = f.calls[name] })
	return n
}

// waitCalled waits until a call was made n times.
func (f *fake) waitCalled(t *testing.T, name string, n int) {
	t.Helper()
	testkit.Eventually(t, soon, func() error {
		if got := f.called(name); got < n {
			return errors.New(name + " was not called often enough")
		}
		return nil
	})
}

// add makes a container of a pod known, with a sandbox of its own.
func (f *fake) add(sandbox, id string) {
	f.change(func() {
		f.sandboxes = append(f.sandboxes, &runtimev1.PodSandbox{
			Id:       sandbox,
			Metadata: &runtimev1.PodSandboxMetadata{Name: "pod-" + sandbox, Uid: "uid-" + sandbox, Namespace: "shop"},
			State:    runtimev1.PodSandboxState_SANDBOX_READY,
		})
		f.containers = append(f.containers, &runtimev1.Container{
			Id: id, PodSandboxId: sandbox, State: runtimev1.ContainerState_CONTAINER_RUNNING,
			Metadata: &runtimev1.ContainerMetadata{Name: "main"},
			Image:    &runtimev1.ImageSpec{Image: "nginx:1.25"},
		})
	})
}

// join makes another container known in a sandbox that is there.
func (f *fake) join(sandbox, id, name string, state runtimev1.ContainerState) {
	f.change(func() {
		f.containers = append(f.containers, &runtimev1.Container{
			Id: id, PodSandboxId: sandbox, State: state,
			Metadata: &runtimev1.ContainerMetadata{Name: name}, Image: &runtimev1.ImageSpec{Image: "nginx:1.25"},
		})
	})
}

// end makes a container one that has ended.
func (f *fake) end(id string) {
	f.change(func() {
		f.containers = slices.Clone(f.containers) // an answer may be on its way
		for i, c := range f.containers {
			if c.Id == id {
				f.containers[i] = &runtimev1.Container{Id: c.Id, PodSandboxId: c.PodSandboxId, Metadata: c.Metadata,
					Image: c.Image, State: runtimev1.ContainerState_CONTAINER_EXITED}
			}
		}
	})
}

// remove makes a container one that is not listed.
func (f *fake) remove(id string) {
	f.change(func() {
		f.containers = slices.DeleteFunc(slices.Clone(f.containers), func(c *runtimev1.Container) bool { return c.Id == id })
	})
}

func (f *fake) Version(context.Context, *runtimev1.VersionRequest) (*runtimev1.VersionResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["Version"]++
	return &runtimev1.VersionResponse{RuntimeName: f.name, RuntimeVersion: f.version}, nil
}

func (f *fake) ListPodSandbox(ctx context.Context, _ *runtimev1.ListPodSandboxRequest) (*runtimev1.ListPodSandboxResponse, error) {
	f.mu.Lock()
	hang := f.hang
	f.calls["ListPodSandbox"]++
	f.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &runtimev1.ListPodSandboxResponse{Items: f.sandboxes}, f.fault
}

func (f *fake) ListContainers(context.Context, *runtimev1.ListContainersRequest) (*runtimev1.ListContainersResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["ListContainers"]++
	return &runtimev1.ListContainersResponse{Containers: f.containers}, f.fault
}

func (f *fake) PodSandboxStatus(_ context.Context, r *runtimev1.PodSandboxStatusRequest) (*runtimev1.PodSandboxStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["PodSandboxStatus"]++
	if s := f.networks[r.PodSandboxId]; s != nil {
		return &runtimev1.PodSandboxStatusResponse{Status: s}, nil
	}
	return nil, status.Error(codes.NotFound, "no such sandbox")
}

func (f *fake) ContainerStatus(_ context.Context, r *runtimev1.ContainerStatusRequest) (*runtimev1.ContainerStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["ContainerStatus"]++
	if f.noStatus != nil {
		return nil, f.noStatus
	}
	if s := f.statuses[r.ContainerId]; s != nil {
		return s, nil
	}
	return nil, status.Error(codes.NotFound, "no such container")
}

func (f *fake) ImageStatus(_ context.Context, r *runtimev1.ImageStatusRequest) (*runtimev1.ImageStatusResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["ImageStatus"]++
	if f.noImage != nil {
		return nil, f.noImage
	}
	if s := f.images[r.GetImage().GetImage()]; s != nil {
		return s, nil
	}
	return &runtimev1.ImageStatusResponse{}, nil // as containerd answers for an image it has not
}

func (f *fake) GetContainerEvents(_ *runtimev1.GetEventsRequest, stream grpc.ServerStreamingServer[runtimev1.ContainerEventResponse]) error {
	f.change(func() { f.calls["GetContainerEvents"]++ })
	if f.events == nil {
		return status.Error(codes.Unimplemented, "unknown method GetContainerEvents")
	}
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case e := <-f.events:
			if err := stream.Send(e); err != nil {
				return err
			}
		}
	}
}
