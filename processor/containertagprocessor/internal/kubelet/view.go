package kubelet

import (
	"maps"
	"reflect"
	"slices"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/rounds"
)

// maxMissed is how many listings with holes may lack a pod that could be in a
// hole. It is a minute at the default interval: who changed a pod so that it is
// not understood seldom leaves it like that, and a pod that did go is kept by
// the store for some minutes anyway.
const maxMissed = 6

// view is what the kubelet has and what of it the sink was told.
type view struct {
	known      map[string]*known      // by uid
	pods       map[string]*entity.Pod // by uid, and by hash for static pods
	containers map[string]instance
	// toldPods and toldContainers are what the sink was told last.
	toldPods       map[string]*entity.Pod
	toldContainers map[string]instance
	// again: what was told counts for gone ones only.
	again bool
}

// known is one pod of the list, as it was understood last.
type known struct {
	pods       []*entity.Pod // under its uid and, a static one, under its hash
	containers []instance
	missed     int // listings without it since
}

func newView() view { return view{} }

// forgetTold makes the next tell say everything.
func (v *view) forgetTold() { v.again = true }

// take makes an answer's pods the known ones. One that is not among them stays
// as it was if it is a broken one, and for some listings if it could be.
func (v *view) take(listed pods, keep func(string) bool) {
	before := v.known
	v.known = make(map[string]*known, len(listed.whole))
	for i := range listed.whole {
		p := &listed.whole[i]
		v.known[p.Metadata.UID] = &known{pods: podsOf(p), containers: containersOf(p, keep)}
	}
	for uid, k := range before {
		if v.known[uid] == nil && k.stays(listed.broken) {
			v.known[uid] = k
		}
	}
	v.pods = make(map[string]*entity.Pod)
	v.containers = make(map[string]instance)
	for _, uid := range slices.Sorted(maps.Keys(v.known)) {
		for _, p := range v.known[uid].pods {
			v.pods[p.UID] = p
		}
		for _, c := range v.known[uid].containers {
			v.containers[c.ID] = c
		}
	}
}

// stays tells whether a pod that was not understood in a listing is kept.
func (k *known) stays(broken []identity) bool {
	if slices.ContainsFunc(broken, func(i identity) bool { return i.uid == k.pods[0].UID }) {
		k.missed = 0
		return true
	}
	k.missed++
	return k.missed < maxMissed && slices.ContainsFunc(broken, func(i identity) bool { return i.couldBe(k.pods[0]) })
}

// couldBe tells whether nothing that is known of a broken pod is another's.
func (i identity) couldBe(p *entity.Pod) bool {
	return i.uid == "" && (i.namespace == "" || i.namespace == p.Namespace) && (i.name == "" || i.name == p.Name)
}

// tell says what has changed since it was called last.
func (v *view) tell(sink entity.Sink) {
	for _, uid := range slices.Sorted(maps.Keys(v.pods)) {
		if v.again || !reflect.DeepEqual(v.toldPods[uid], v.pods[uid]) {
			sink.PutPod(name, v.pods[uid])
		}
	}
	for _, c := range v.inOrder() {
		if v.again || !reflect.DeepEqual(v.toldContainers[c.ID], c) {
			put(sink, c)
		}
	}
	for id, c := range v.toldContainers {
		if v.containers[id].Container == nil && !c.ended {
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

// inOrder returns what has ended before what lives, each by id: who keeps the
// one that was told last of a pod's instances keeps the living one.
func (v *view) inOrder() []instance {
	var ended, live []instance
	for _, id := range slices.Sorted(maps.Keys(v.containers)) {
		if c := v.containers[id]; c.ended {
			ended = append(ended, c)
		} else {
			live = append(live, c)
		}
	}
	return append(ended, live...)
}

// put says what a container is, and that it has ended if so: its tags stay for
// what is late, and nobody takes it for the one that lives.
func put(sink entity.Sink, c instance) {
	sink.PutContainer(name, c.Container)
	if c.ended {
		sink.ContainerGone(name, c.ID)
	}
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
		if c, ok := v.containers[w.ID]; ok {
			put(sink, c)
			continue
		}
		sink.Absent(name, w.ID)
		late = late || p != nil
	}
	return late
}
