package cri_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/cri"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/sinktest"
)

// rig is a runtime whose listings are asked for by its events only.
type rig struct {
	*fake
	sink   *sinktest.Recorder
	source *cri.Source
}

func newRig(t *testing.T, prepare func(*fake)) *rig {
	t.Helper()
	f := newFake(t)
	f.events = make(chan *runtimev1.ContainerEventResponse)
	prepare(f)
	f.start(t)
	source, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: never})
	sink.Await(t, "up containerd", 1)
	return &rig{fake: f, sink: sink, source: source}
}

// list makes the source list, and waits until it has told what follows: a
// want of its own is answered last.
func (r *rig) list(t *testing.T) {
	t.Helper()
	n := r.sink.Count("absent containerd end-of-list")
	r.source.Want("end-of-list", "")
	r.sink.Await(t, "absent containerd end-of-list", n+1)
}

func (r *rig) checkAddresses(t *testing.T, id string, want int) {
	t.Helper()
	c := r.sink.Container(id)
	if c == nil {
		t.Errorf("%s is not there", id)
		return
	}
	if len(c.Addresses) != want {
		t.Errorf("%s has %v, want %d", id, c.Addresses, want)
	}
}

// TestAddressIsNotShared: the pod's address is a container's only while no
// other one is or was beside it.
func TestAddressIsNotShared(t *testing.T) {
	r := newRig(t, func(f *fake) {
		f.add("s1", "c1")
		f.networks["s1"] = &runtimev1.PodSandboxStatus{Network: &runtimev1.PodSandboxNetworkStatus{Ip: "10.0.0.1"}}
	})
	r.checkAddresses(t, "s1", 0)
	r.checkAddresses(t, "c1", 1)

	r.join("s1", "side", "side", runtimev1.ContainerState_CONTAINER_CREATED)
	r.list(t)
	r.checkAddresses(t, "c1", 0)
	r.checkAddresses(t, "side", 0)
	r.end("side")
	r.list(t)
	r.checkAddresses(t, "c1", 0)
	r.remove("side")
	r.list(t)
	r.checkAddresses(t, "c1", 1)

	// Started again: the new instance has it, the old one is gone before.
	r.end("c1")
	r.join("s1", "c1-again", "main", runtimev1.ContainerState_CONTAINER_RUNNING)
	r.list(t)
	r.checkAddresses(t, "c1-again", 1)
	calls := r.sink.Calls()
	if gone, put := slices.Index(calls, "gone containerd c1"), slices.Index(calls, "put containerd c1-again"); gone < 0 || put < gone {
		t.Errorf("the old instance is gone at %d, the new one told at %d", gone, put)
	}
	if got := r.sink.Pod("uid-s1").Addresses; len(got) != 1 {
		t.Errorf("the pod has %v", got)
	}
	// Two at once under one name: nobody knows whose it is.
	r.join("s1", "c1-twin", "main", runtimev1.ContainerState_CONTAINER_RUNNING)
	r.list(t)
	r.checkAddresses(t, "c1-again", 0)
	r.checkAddresses(t, "c1-twin", 0)
}

// TestEnded: what has ended is told once, and once to be gone.
func TestEnded(t *testing.T) {
	r := newRig(t, func(f *fake) {
		f.add("s1", "c1")
		f.join("s1", "z-before", "main", runtimev1.ContainerState_CONTAINER_EXITED)
		f.containers[1].CreatedAt = 1_700_000_000_000_000_000
	})
	check := func(id string, puts, gones int) {
		t.Helper()
		if p, g := r.sink.Count("put containerd "+id), r.sink.Count("gone containerd "+id); p != puts || g != gones {
			t.Errorf("%s was told %d times and gone %d times, want %d and %d", id, p, g, puts, gones)
		}
	}
	calls := r.sink.Calls()
	if slices.Index(calls, "put containerd c1") < slices.Index(calls, "gone containerd z-before") {
		t.Errorf("the living one is told before the one that ended: %q", calls)
	}
	r.list(t)
	check("z-before", 1, 1)
	check("c1", 1, 0)
	// Who asks is told once more, and again that it is gone.
	r.source.Want("z-before", "")
	r.sink.Await(t, "gone containerd z-before", 2)
	check("z-before", 2, 2)
	// Removed: that it is gone was told.
	r.remove("z-before")
	r.end("c1")
	r.list(t)
	r.list(t)
	check("z-before", 2, 2)
	check("c1", 1, 1)
	if r.sink.Pod("uid-s1") == nil {
		t.Error("the pod went with its last container")
	}
	// The sandbox ends.
	r.change(func() {
		r.sandboxes = []*runtimev1.PodSandbox{{Id: "s1", Metadata: r.sandboxes[0].Metadata,
			State: runtimev1.PodSandboxState_SANDBOX_NOTREADY}}
	})
	r.list(t)
	r.list(t)
	check("s1", 1, 1)
	if r.sink.Pod("uid-s1") == nil {
		t.Error("the pod went with its sandbox")
	}
}

// TestCreated: the newest instance can be told.
func TestCreated(t *testing.T) {
	r := newRig(t, func(f *fake) {
		f.add("s1", "c1")
		f.containers[0].CreatedAt = 1_700_000_001_000_000_000
		f.sandboxes[0].CreatedAt = 1_700_000_000_000_000_000
	})
	for id, want := range map[string]time.Time{"c1": time.Unix(1_700_000_001, 0), "s1": time.Unix(1_700_000_000, 0)} {
		if got := r.sink.Container(id).Created; !got.Equal(want) {
			t.Errorf("%s was created %v, want %v", id, got, want)
		}
	}
}

// TestEndInBrokenListing: what went is told also if the connection breaks
// before the listing is through.
func TestEndInBrokenListing(t *testing.T) {
	r := newRig(t, func(f *fake) {
		f.add("s1", "c1")
		f.add("s2", "c2")
	})
	r.remove("c2")
	r.add("s3", "c3")
	r.change(func() { r.noStatus = status.Error(codes.Unavailable, "going down") })
	r.events <- &runtimev1.ContainerEventResponse{}
	_ = r.sink.AwaitDown(t, "containerd", 1)
	if r.sink.Count("gone containerd c2") != 0 {
		t.Fatal("the listing went through, which proves nothing")
	}
	r.change(func() { r.noStatus = nil })
	r.sink.Await(t, "up containerd", 2)
	r.sink.AwaitContainers(t, "s1", "s2", "s3", "c1", "c3")
}

// TestAskedAgain: what is not answered for long is asked for now and then, and
// so is an image after the status has come.
func TestAskedAgain(t *testing.T) {
	f := newFake(t)
	f.add("s1", "c1")
	f.containers[0].Image.Image = "nginx"
	f.noImage = status.Error(codes.Internal, "busy")
	f.start(t)
	_, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: time.Millisecond})
	sink.Await(t, "up containerd", 1)
	f.waitCalled(t, "ListContainers", 5)
	if s, i := f.called("ContainerStatus"), f.called("ImageStatus"); s != 3 || i != 3 {
		t.Fatalf("asked %d times for the status and %d times for the image, want 3 each", s, i)
	}
	f.change(func() {
		f.statuses["c1"] = &runtimev1.ContainerStatusResponse{
			Info: map[string]string{"info": `{"runtimeSpec":{"process":{"args":["nginx"]}}}`}}
		f.noImage = nil
		f.images["nginx"] = &runtimev1.ImageStatusResponse{Image: &runtimev1.Image{RepoTags: []string{"nginx:1.25"}}}
	})
	testkit.Eventually(t, soon, func() error {
		c := sink.Container("c1")
		if c.Command != "nginx" || !slices.Equal(c.Image.Tags, []string{"1.25"}) {
			return fmt.Errorf("command %q, tags %q", c.Command, c.Image.Tags)
		}
		return nil
	})
	if s, i := f.called("ContainerStatus"), f.called("ImageStatus"); s != 4 || i != 4 {
		t.Errorf("asked %d times for the status and %d times for the image, want 4 each", s, i)
	}
	if n := sink.Count("put containerd c1"); n != 2 {
		t.Errorf("told %d times, want once before and once after", n)
	}
}

// TestImageLater: the status that came is told although its image did not, and
// is not asked for again.
func TestImageLater(t *testing.T) {
	f := newFake(t)
	f.add("s1", "c1")
	f.containers[0].Image.Image = "nginx"
	f.statuses["c1"] = &runtimev1.ContainerStatusResponse{
		Info: map[string]string{"info": `{"runtimeSpec":{"process":{"args":["nginx"]}}}`}}
	f.start(t)
	_, sink := run(t, cri.Options{Endpoint: f.endpoint(), Interval: time.Millisecond})
	sink.Await(t, "up containerd", 1)
	if got := sink.Container("c1"); got.Command != "nginx" || len(got.Image.Tags) > 0 {
		t.Fatalf("command %q, tags %q", got.Command, got.Image.Tags)
	}
	f.change(func() {
		f.images["nginx"] = &runtimev1.ImageStatusResponse{Image: &runtimev1.Image{RepoTags: []string{"nginx:1.25"}}}
	})
	testkit.Eventually(t, soon, func() error {
		if len(sink.Container("c1").Image.Tags) == 0 {
			return errors.New("no tags yet")
		}
		return nil
	})
	if n := f.called("ContainerStatus"); n != 1 {
		t.Errorf("the status was asked for %d times", n)
	}
}
