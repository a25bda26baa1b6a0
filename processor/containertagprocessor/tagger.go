package containertagprocessor

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/index"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// askAgainAfter is how long an answer "nobody knows it" is good for.
const askAgainAfter = 5 * time.Second

// tagger turns what the store tells into what is put on resources, once per
// change. It is shared by all processors of one configuration; reads take no
// lock.
type tagger struct {
	cfg      *Config
	compiler *tags.Compiler
	selector *selection.Selector
	store    *store.Store
	now      func() time.Time
	cancel   func() // ends the subscription

	// containers are by id; pods by uid, and by uid/name for containers of pods.
	containers *index.Map[string, *tagged]
	pods       *index.Map[string, *tagged]
	host       atomic.Pointer[hostTags]
	// inPods are the containers by their key in pods, all instances of them, and
	// podOf are their keys by id. Only the store's calls, one at a time, use them.
	inPods  map[string]map[string]*tagged
	podOf   map[string]string
	waiters atomic.Pointer[[]waiter]
	said    atomic.Bool // what was cut is reported by one processor

	mu       sync.Mutex // guards what follows, and changes of waiters
	cutSoFar tags.Cut
}

// waiter has data of containers that wait for news.
type waiter interface {
	changed(key string, ready bool)
}

// tagged is what is put on the resources of one container or pod. It is never
// changed, but for askedAt.
type tagged struct {
	// id is the container's; "" for a pod.
	id     string
	entity *store.Entity // nil for a pod
	pod    *entity.Pod
	// template holds all that is added; of what nobody knows, what it was recognised
	// as, without the host's.
	template template
	// known: some source knows it. complete: all have answered.
	known, complete bool
	// drop: it is not selected.
	drop bool
	// waitUntil is when data stops to wait for what is missing.
	waitUntil time.Time
	// askedAt is when sources were asked last, in nanoseconds since 1970.
	askedAt atomic.Int64
	// name and service are for data points of others that name it as a peer.
	name, service string
}

// pends tells whether data should wait for more to be known.
func (e *tagged) pends(now func() time.Time) bool { return !e.complete && now().Before(e.waitUntil) }

func newTagger(cfg *Config, s *store.Store) (*tagger, error) {
	compiler, err := tags.New(cfg.tagOptions())
	if err != nil {
		return nil, err
	}
	selector, err := selection.New(cfg.Include, cfg.Exclude)
	if err != nil {
		return nil, err
	}
	seed := maphash.MakeSeed()
	hash := func(key string) uint64 { return maphash.String(seed, key) }
	t := &tagger{
		cfg: cfg, compiler: compiler, selector: selector, store: s, now: time.Now,
		containers: index.New[string, *tagged](hash),
		pods:       index.New[string, *tagged](hash),
		inPods:     map[string]map[string]*tagged{},
		podOf:      map[string]string{},
	}
	t.host.Store(newHostTags(nil))
	t.waiters.Store(&[]waiter{})
	t.cancel = s.Subscribe(t)
	return t, nil
}

func (t *tagger) close() { t.cancel() }

// container finds what is put on the data of a container; nil where there is
// nothing to put.
func (t *tagger) container(id, podUID string) *tagged {
	e, ok := t.containers.Load(id)
	if !ok {
		if !t.store.Want(id, podUID) {
			return nil
		}
		e, _ = t.containers.Load(id)
		return e
	}
	if !e.known {
		t.askAgain(e, id, podUID)
	}
	return e
}

// inPod does the same for who knows only the pod, and perhaps the name of the
// container in it.
func (t *tagger) inPod(uid, name string) *tagged {
	if name != "" {
		if e, ok := t.pods.Load(uid + "/" + name); ok {
			return e
		}
	}
	e, ok := t.pods.Load(uid)
	if !ok {
		e = &tagged{drop: t.dropsUnknown(), waitUntil: t.now().Add(t.cfg.Wait)}
		e.askedAt.Store(t.now().UnixNano())
		e = t.pods.LoadOrStore(uid, e)
		t.store.Want("", uid)
		return e
	}
	if !e.known {
		t.askAgain(e, "", uid)
	}
	return e
}

// askAgain asks for what is still unknown, now and then; one of many goroutines
// does.
func (t *tagger) askAgain(e *tagged, id, podUID string) {
	asked := e.askedAt.Load()
	now := t.now()
	if now.Sub(time.Unix(0, asked)) > askAgainAfter && e.askedAt.CompareAndSwap(asked, now.UnixNano()) {
		t.store.Want(id, podUID)
	}
}

// dropsUnknown tells what becomes of the data of which nobody can tell whether
// its container is selected.
func (t *tagger) dropsUnknown() bool { return t.selector.Any() && t.cfg.Unknown == unknownDrop }

// byAddress finds the container that an address belongs to. The store knows it a
// moment before the tags are made; until then there is none.
func (t *tagger) byAddress(a netip.Addr) *tagged {
	id, ok := t.store.ByAddress(a)
	if !ok {
		return nil
	}
	if e, _ := t.containers.Load(id); e != nil && e.known {
		return e
	}
	return nil
}

// subscribe lets a waiter hear of news until cancel.
func (t *tagger) subscribe(w waiter) (cancel func()) {
	change := func(f func([]waiter) []waiter) {
		t.mu.Lock()
		defer t.mu.Unlock()
		next := f(slices.Clone(*t.waiters.Load()))
		t.waiters.Store(&next)
	}
	change(func(all []waiter) []waiter { return append(all, w) })
	return func() {
		change(func(all []waiter) []waiter {
			return slices.DeleteFunc(all, func(x waiter) bool { return x == w })
		})
	}
}

func (t *tagger) tellWaiters(key string, ready bool) {
	for _, w := range *t.waiters.Load() {
		w.changed(key, ready)
	}
}

// ContainerChanged implements [store.Subscriber].
func (t *tagger) ContainerChanged(id string, e *store.Entity) {
	before, _ := t.containers.Load(id)
	if e == nil {
		t.containers.Delete(id)
		t.forgetInPod(id)
		return
	}
	now := t.now()
	entry := &tagged{id: id, entity: e, complete: e.Complete, waitUntil: now.Add(t.cfg.Wait)}
	entry.askedAt.Store(now.UnixNano())
	if before != nil {
		entry.waitUntil = before.waitUntil
		entry.askedAt.Store(before.askedAt.Load())
	}
	cut := t.fill(entry)
	if before == nil || before.entity.Told != e.Told || before.entity.Pod != e.Pod {
		t.countCut(cut) // it was not made anew of the same, or for what it was recognised as
	}
	t.containers.Store(id, entry)
	t.rememberInPod(entry)
	t.tellWaiters(id, entry.complete)
}

// fill makes what is put on resources, and returns what was cut.
func (t *tagger) fill(entry *tagged) tags.Cut {
	c := entry.entity.Container
	if c == nil {
		entry.drop = t.dropsUnknown()
		if entry.entity.Technology == nil {
			return tags.Cut{}
		}
		set := t.compiler.Recognised(entry.entity.Technology)
		entry.template = newTemplate(set.Attributes, newHostTags(nil))
		return set.Cut
	}
	set := t.compiler.Container(c, entry.entity.Pod)
	entry.known = true
	entry.drop = !t.selector.Selected(c)
	entry.template = newTemplate(set.Attributes, t.host.Load())
	entry.name, entry.service = peerNames(c, set.Attributes)
	return set.Cut
}

// rememberInPod lets a container be found by its pod and its name there. A
// restarted one has another id and the same name: the newest that lives counts,
// whoever was told last.
func (t *tagger) rememberInPod(entry *tagged) {
	t.forgetInPod(entry.id)
	key := podKey(entry)
	if key == "" {
		return
	}
	t.podOf[entry.id] = key
	if t.inPods[key] == nil {
		t.inPods[key] = map[string]*tagged{}
	}
	t.inPods[key][entry.id] = entry
	t.chooseInPod(key)
	t.tellWaiters(podWaitKey(entry.entity.Container.Pod.UID), true)
}

func (t *tagger) forgetInPod(id string) {
	key, ok := t.podOf[id]
	if !ok {
		return
	}
	delete(t.podOf, id)
	delete(t.inPods[key], id)
	t.chooseInPod(key)
}

func (t *tagger) chooseInPod(key string) {
	var best *tagged
	for _, e := range t.inPods[key] {
		if best == nil || isNewer(e.entity, best.entity) {
			best = e
		}
	}
	if best == nil {
		delete(t.inPods, key)
		t.pods.Delete(key)
		return
	}
	t.pods.Store(key, best)
}

func isNewer(a, b *store.Entity) bool {
	if a.Dead != b.Dead {
		return b.Dead
	}
	return a.Container.Created.After(b.Container.Created)
}

func podKey(entry *tagged) string {
	if entry.entity.Container == nil {
		return ""
	}
	ref := entry.entity.Container.Pod
	if ref == nil || ref.UID == "" || ref.Container == "" {
		return ""
	}
	return ref.UID + "/" + ref.Container
}

// PodChanged implements [store.Subscriber].
func (t *tagger) PodChanged(uid string, p *entity.Pod) {
	if p == nil {
		t.pods.Delete(uid)
		return
	}
	entry := &tagged{pod: p, known: true, complete: true, drop: t.dropsUnknown()}
	set := t.compiler.Pod(p)
	entry.template = newTemplate(set.Attributes, t.host.Load())
	if before, _ := t.pods.Load(uid); before == nil || before.pod != p {
		t.countCut(set.Cut)
	}
	t.pods.Store(uid, entry)
	t.tellWaiters(podWaitKey(uid), true)
}

// podWaitKey is under what data of a pod waits: no id of a container is like it.
func podWaitKey(uid string) string { return "pod/" + uid }

// HostChanged implements [store.Subscriber]. It is rare, so all there is is made
// anew.
func (t *tagger) HostChanged(attributes []entity.Attribute) {
	t.host.Store(newHostTags(attributes))
	for id, before := range t.containers.All() {
		t.ContainerChanged(id, before.entity)
	}
	for uid, before := range t.pods.All() {
		if before.pod != nil {
			t.PodChanged(uid, before.pod)
		}
	}
}

// peerNames are what others call a container that they talk to.
func peerNames(c *entity.Container, attributes []tags.Attribute) (name, service string) {
	name = c.Name
	if name == "" && c.Pod != nil {
		name = c.Pod.Name
	}
	for _, a := range attributes {
		if a.Key == "service.name" {
			service = a.Value
		}
	}
	return name, service
}

// countCut adds what was cut from one container.
func (t *tagger) countCut(c tags.Cut) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cutSoFar.ValueLength += c.ValueLength
	t.cutSoFar.AttributeCount += c.AttributeCount
	t.cutSoFar.InvalidUTF8 += c.InvalidUTF8
	t.cutSoFar.Secret += c.Secret
	t.cutSoFar.Malformed += c.Malformed
	t.cutSoFar.Reserved += c.Reserved
}

// cut returns what was cut so far.
func (t *tagger) cut() tags.Cut {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cutSoFar
}
