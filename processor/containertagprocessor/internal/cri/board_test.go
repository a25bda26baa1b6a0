package cri_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/discovery/identities"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/cri"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/notice"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

// onBoard runs a source with a store behind it, and what brings that onto a board.
func onBoard(t *testing.T, f *fake, board *identities.Board) (end func()) {
	t.Helper()
	source, err := cri.New(cri.Options{Endpoint: f.endpoint(), Interval: never})
	require.NoError(t, err)
	known := store.New(store.Options{Containers: []string{"containerd"}}, source.Want)
	ctx, cancel := context.WithCancel(t.Context())
	sourceEnded, writerEnded := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sourceEnded)
		source.Run(ctx, known)
	}()
	go func() {
		defer close(writerEnded)
		notice.New(known, board).Run(ctx)
	}()
	return func() {
		cancel()
		<-sourceEnded
		<-writerEnded
	}
}

// await waits until what the board has of a container is as it should be.
func await(t *testing.T, board *identities.Board, id string, condition func(*target.Identity) bool) *target.Identity {
	t.Helper()
	var got *target.Identity
	testkit.Eventually(t, soon, func() error {
		if got = board.Get(id); !condition(got) {
			return fmt.Errorf("%s: %+v", id, got)
		}
		return nil
	})
	return got
}

func isThere(i *target.Identity) bool { return i != nil }

// What a runtime tells of a pod and its container is on the board, annotations and all;
// nothing of what its process was started with. Other annotations change it, and
// the container's end takes it away.
func TestOnTheBoard(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	f := newFake(t)
	f.events = make(chan *runtimev1.ContainerEventResponse, 10)
	f.add("s1", "c1")
	f.sandboxes[0].Labels = map[string]string{"app": "shop", "io.kubernetes.pod.uid": "uid-s1"}
	f.sandboxes[0].Annotations = map[string]string{"io.opentelemetry.discovery.metrics/enabled": "true"}
	f.networks["s1"] = &runtimev1.PodSandboxStatus{Network: &runtimev1.PodSandboxNetworkStatus{Ip: "10.1.2.3"}}
	f.containers[0].Labels = map[string]string{"io.kubernetes.container.name": "web"}
	f.statuses["c1"] = &runtimev1.ContainerStatusResponse{
		Status: &runtimev1.ContainerStatus{Id: "c1"},
		Info:   map[string]string{"info": `{"pid":7,"runtimeSpec":{"process":{"args":["/bin/web","hunter2"],"env":["OTEL_SERVICE_NAME=hunter2"]}}}`},
	}
	f.start(t)
	board := identities.New()
	stop := board.Subscribe(func(string, *target.Identity) {})
	defer stop()
	end := onBoard(t, f, board)

	got := await(t, board, "c1", func(i *target.Identity) bool { return i != nil && len(i.Addresses) > 0 && i.Pod.Annotations != nil })
	want := &target.Identity{
		Image: "nginx", ImageTag: "1.25", Runtime: "containerd", Labels: map[string]string{"io.kubernetes.container.name": "web"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.1.2.3")},
		Pod: target.Pod{
			UID: "uid-s1", Name: "pod-s1", Namespace: "shop", Container: "web", Labels: map[string]string{"app": "shop"},
			Annotations: map[string]string{"io.opentelemetry.discovery.metrics/enabled": "true"},
		},
	}
	if diff := cmp.Diff(want, got, compareEntity); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	require.NotContains(t, fmt.Sprintf("%+v", got), "hunter2")
	require.True(t, await(t, board, "s1", isThere).IsSandbox)

	f.change(func() {
		f.sandboxes = []*runtimev1.PodSandbox{{
			Id: "s1", Metadata: f.sandboxes[0].Metadata, State: f.sandboxes[0].State, Labels: f.sandboxes[0].Labels,
			Annotations: map[string]string{"io.opentelemetry.discovery.metrics/enabled": "false"},
		}}
	})
	f.join("s1", "c2", "side", runtimev1.ContainerState_CONTAINER_RUNNING)
	f.events <- &runtimev1.ContainerEventResponse{ContainerId: "c2", ContainerEventType: runtimev1.ContainerEventType_CONTAINER_STARTED_EVENT}
	await(t, board, "c1", func(i *target.Identity) bool {
		return i != nil && i.Pod.Annotations["io.opentelemetry.discovery.metrics/enabled"] == "false"
	})
	require.Equal(t, "side", await(t, board, "c2", isThere).Pod.Container)

	f.remove("c1")
	f.events <- &runtimev1.ContainerEventResponse{ContainerId: "c1", ContainerEventType: runtimev1.ContainerEventType_CONTAINER_DELETED_EVENT}
	await(t, board, "c1", func(i *target.Identity) bool { return i == nil })
	await(t, board, "c2", isThere)
	end()
	require.Zero(t, board.Stats().Containers, "nobody writes any more")
}
