package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

func member(id, uid string) *entity.Container {
	return &entity.Container{ID: id, Pod: &entity.PodRef{UID: uid, Container: "main"}}
}

func TestPodMerge(t *testing.T) {
	r := newRig(t, store.Options{})
	second := &entity.Pod{
		UID: "p", Name: "second", Namespace: "shop", Node: "node-2",
		Labels: map[string]string{"both": "second", "second": "own"}, Owners: entity.Owners{ReplicaSet: "web-1"},
	}
	best := &entity.Pod{
		UID: "p", Name: "best", Labels: map[string]string{"both": "best"},
		Annotations: map[string]string{"a": "b"}, Owners: entity.Owners{Deployment: "web"},
	}
	r.PutPod("second", second)
	r.PutPod("best", best)
	want := &entity.Pod{
		UID: "p", Name: "best", Namespace: "shop", Node: "node-2",
		Labels:      map[string]string{"both": "best", "second": "own"},
		Annotations: map[string]string{"a": "b"}, Owners: entity.Owners{Deployment: "web"},
	}
	if d := diff(want, r.view.pods["p"]); d != "" {
		t.Error(d)
	}
	if len(best.Labels) != 1 || best.Namespace != "" {
		t.Errorf("what a source has told was changed: %+v", best)
	}
}

// Members are told of with their pod, whichever is known first, and again when
// it changes.
func TestPodMembers(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("best", member("a", "p"))
	r.PutContainer("best", member("other", "q"))
	if e := r.view.get("a"); e.Pod != nil {
		t.Errorf("told %+v", e.Pod)
	}
	r.view.takeCalls()
	r.PutPod("second", &entity.Pod{UID: "p", Name: "web-0"})
	if calls := r.view.takeCalls(); !slices.Equal(calls, []string{"pod p", "container a"}) {
		t.Errorf("told %q", calls)
	}
	r.PutContainer("best", member("b", "p"))
	r.PutPod("second", &entity.Pod{UID: "p", Name: "renamed"})
	for _, id := range []string{"a", "b"} {
		if e := r.view.get(id); e.Pod == nil || e.Pod.Name != "renamed" {
			t.Errorf("%s is told to be in %+v", id, e.Pod)
		}
	}
	// A container that turns out to be in another pod.
	r.PutContainer("best", member("b", "q"))
	r.view.takeCalls()
	r.PutPod("second", &entity.Pod{UID: "p", Name: "again"})
	if calls := r.view.takeCalls(); !slices.Equal(calls, []string{"pod p", "container a"}) {
		t.Errorf("told %q", calls)
	}
}

// A pod is forgotten after its grace period, and not before its containers.
func TestPodExpiry(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutPod("best", &entity.Pod{UID: "p"})
	r.PutPod("second", &entity.Pod{UID: "p"})
	r.PutContainer("best", member("a", "p"))
	pods := func(n int) {
		t.Helper()
		r.Expire()
		if got := r.Stats().Pods; got != n || len(r.view.pods) != n {
			t.Errorf("%d pods, the subscriber knows %d, want %d", got, len(r.view.pods), n)
		}
	}
	r.PodGone("best", "p")
	r.PodGone("nobody", "p")
	r.PodGone("best", "stranger")
	r.advance(2 * grace)
	pods(1) // the other source still knows it
	r.PodGone("second", "p")
	r.advance(2 * grace)
	pods(1) // a container of it lives
	r.ContainerGone("best", "a")
	r.advance(grace)
	pods(1)
	r.advance(time.Nanosecond)
	pods(0)
	// One that is told of again lives.
	r.PutPod("best", &entity.Pod{UID: "p"})
	r.PodGone("best", "p")
	r.advance(grace)
	r.PodGone("best", "p") // no news
	r.PutPod("best", &entity.Pod{UID: "p"})
	r.advance(2 * grace)
	pods(1)
	r.PodGone("best", "p")
	r.advance(grace)
	r.PodGone("best", "p") // does not make it live longer
	r.advance(time.Nanosecond)
	pods(0)
}

// A pod that only its containers tell of goes with them.
func TestPodOfContainersOnly(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("best", member("a", "p"))
	r.Expire()
	if n := r.Stats().Pods; n != 1 {
		t.Errorf("%d pods", n)
	}
	again := newView()
	r.Subscribe(again)()
	if calls := again.takeCalls(); !slices.Equal(calls, []string{"host", "container a"}) {
		t.Errorf("a replay tells %q", calls)
	}
	r.ContainerGone("best", "a")
	r.advance(2 * grace)
	r.Expire()
	if n := r.Stats().Pods; n != 0 {
		t.Errorf("%d pods", n)
	}
}

// Uids of pods that nobody knows come from outside, so they are bounded and
// forgotten; subscribers are told so that they forget them, too.
func TestUnknownPods(t *testing.T) {
	r := newRig(t, store.Options{MaxUnknown: 2})
	for _, uid := range []string{"a", "b", "a"} {
		if !r.Want("", uid) {
			t.Errorf("%s was refused", uid)
		}
	}
	r.view.takeCalls()
	if r.Want("", "c") {
		t.Error("a third one was taken")
	}
	if calls := r.view.takeCalls(); !slices.Equal(calls, []string{"pod c"}) || r.view.pods["c"] != nil {
		t.Errorf("told %q", calls)
	}
	if s := r.Stats(); s.Refused != 1 || s.Pods != 0 {
		t.Errorf("%+v", s)
	}
	if got := r.wanted(); !slices.Equal(got, []string{"/a", "/b", "/a"}) {
		t.Errorf("asked for %q", got)
	}
	r.PutPod("best", &entity.Pod{UID: "a"})
	if !r.Want("", "c") || !r.Want("", "a") {
		t.Error("refused though there is room")
	}
	r.advance(time.Minute)
	r.Want("", "b")
	r.Expire()
	r.view.takeCalls()
	r.advance(time.Nanosecond)
	r.Expire()
	if calls := r.view.takeCalls(); !slices.Equal(calls, []string{"pod c"}) {
		t.Errorf("forgot %q", calls)
	}
	r.advance(time.Minute)
	r.Expire()
	for i := range 2 {
		if !r.Want("", fmt.Sprint(i)) {
			t.Error("no room after all were forgotten")
		}
	}
	if n := r.Stats().Pods; n != 1 {
		t.Errorf("%d pods", n)
	}
}

// A runtime knows labels and annotations of a pod's start; who knows those of now is
// believed, also in what is not there any more.
func TestCurrentPod(t *testing.T) {
	r := newRig(t, store.Options{Containers: []string{"runtime", "kubelet"}, Current: "kubelet"})
	r.PutPod("runtime", &entity.Pod{
		UID: "p", Name: "web-0", Labels: map[string]string{"a": "old"}, Annotations: map[string]string{"x": "old", "y": "old"},
	})
	check := func(labels, annotations map[string]string) {
		t.Helper()
		got := r.view.pods["p"]
		if got.Name != "web-0" {
			t.Errorf("name %q", got.Name)
		}
		if diff := cmp.Diff([]map[string]string{labels, annotations}, []map[string]string{got.Labels, got.Annotations}, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
	check(map[string]string{"a": "old"}, map[string]string{"x": "old", "y": "old"})
	r.PutPod("kubelet", &entity.Pod{UID: "p", Labels: map[string]string{"b": "new"}, Annotations: map[string]string{"x": "new"}})
	check(map[string]string{"b": "new"}, map[string]string{"x": "new"})
	r.PutPod("runtime", &entity.Pod{UID: "p", Name: "web-0", Annotations: map[string]string{"y": "old"}})
	check(map[string]string{"b": "new"}, map[string]string{"x": "new"})
	r.PutPod("kubelet", &entity.Pod{UID: "p"})
	check(nil, nil)
}
