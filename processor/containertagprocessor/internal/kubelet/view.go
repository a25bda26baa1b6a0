package kubelet

import (
	"maps"
	"reflect"
	"slices"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/rounds"
)

// view is what the kubelet has and what of it the sink was told.
type view struct {
	pods       map[string]*entity.Pod // by uid, and by hash for static pods
	containers map[string]*entity.Container
	// toldPods and toldContainers are what the sink was told last.
	toldPods       map[string]*entity.Pod
	toldContainers map[string]*entity.Container
	// again: what was told counts for gone ones only.
	again bool
}

func newView() view { return view{} }

// forgetTold makes the next tell say everything.
func (v *view) forgetTold() { v.again = true }

// take makes an answer's pods the known ones. What is not in an answer with
// holes may be in the hole, so it stays.
func (v *view) take(pods []pod, whole bool, keep func(string) bool) {
	before := *v
	v.pods = make(map[string]*entity.Pod)
	v.containers = make(map[string]*entity.Container)
	if !whole {
		maps.Copy(v.pods, before.pods)
		maps.Copy(v.containers, before.containers)
	}
	for i := range pods {
		for _, p := range podsOf(&pods[i]) {
			v.pods[p.UID] = p
		}
		for _, c := range containersOf(&pods[i], keep) {
			v.containers[c.ID] = c
		}
	}
}

// tell says what has changed since it was called last.
func (v *view) tell(sink entity.Sink) {
	for _, uid := range slices.Sorted(maps.Keys(v.pods)) {
		if v.again || !reflect.DeepEqual(v.toldPods[uid], v.pods[uid]) {
			sink.PutPod(name, v.pods[uid])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(v.containers)) {
		if v.again || !reflect.DeepEqual(v.toldContainers[id], v.containers[id]) {
			sink.PutContainer(name, v.containers[id])
		}
	}
	for id := range v.toldContainers {
		if v.containers[id] == nil {
			sink.ContainerGone(name, id)
		}
	}
	for uid := range v.toldPods {
		if v.pods[uid] == nil {
			sink.PodGone(name, uid)
		}
	}
	v.toldPods, v.toldContainers, v.again = v.pods, v.containers, false
}

// answer tells those who wanted something what became of it. What was known
// before is told again: who asks has lost it, or has asked a moment too early.
// It tells whether a container is missing of a pod that is there: its status
// follows the container.
func (v *view) answer(sink entity.Sink, wants map[rounds.Want]struct{}) (late bool) {
	for w := range wants {
		p := v.pods[w.PodUID]
		if p != nil {
			sink.PutPod(name, p)
		}
		if w.ID == "" {
			continue
		}
		if c := v.containers[w.ID]; c != nil {
			sink.PutContainer(name, c)
			continue
		}
		sink.Absent(name, w.ID)
		late = late || p != nil
	}
	return late
}
