package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

const (
	modelDead    = 3
	modelUnknown = 2
)

// model does by searching through everything what the store does with queues and
// counters.
type model struct {
	now              time.Time
	containers       map[string]*modelContainer
	deaths           int
	evicted, refused uint64
}

type modelContainer struct {
	told, gone  [2]bool
	asked, died time.Time
	death       int // its number among all deaths, 0 while it lives
}

func (c *modelContainer) known() bool { return c.told[0] || c.told[1] }

func (m *model) put(source int, id string) {
	c := m.containers[id]
	if c == nil {
		c = &modelContainer{}
		m.containers[id] = c
	}
	c.told[source], c.gone[source], c.death = true, false, 0
}

func (m *model) remove(source int, id string) {
	c := m.containers[id]
	if c == nil || !c.told[source] {
		return
	}
	c.gone[source] = true
	if c.gone != c.told || c.death > 0 {
		return
	}
	m.deaths++
	c.death, c.died = m.deaths, m.now
	if dead := m.ids((*modelContainer).isDead); len(dead) > modelDead {
		delete(m.containers, slices.MinFunc(dead, func(a, b string) int {
			return cmp.Compare(m.containers[a].death, m.containers[b].death)
		}))
		m.evicted++
	}
}

func (m *model) want(id string) bool {
	c := m.containers[id]
	if c == nil {
		if len(m.ids((*modelContainer).isUnknown)) == modelUnknown {
			m.refused++
			return false
		}
		c = &modelContainer{}
		m.containers[id] = c
	}
	c.asked = m.now
	return true
}

func (m *model) expire() {
	maps.DeleteFunc(m.containers, func(_ string, c *modelContainer) bool {
		return c.isDead() && m.now.Sub(c.died) > grace || c.isUnknown() && m.now.Sub(c.asked) > time.Minute
	})
}

func (c *modelContainer) isDead() bool    { return c.death > 0 }
func (c *modelContainer) isUnknown() bool { return !c.known() }
func (c *modelContainer) isLive() bool    { return c.known() && c.death == 0 }

func (m *model) ids(which func(*modelContainer) bool) (ids []string) {
	for id, c := range m.containers {
		if which(c) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Any sequence of what sources and data can do leaves the store with what the
// model has, and its numbers with what there is.
func TestRandomSequences(t *testing.T) {
	for seed := range uint64(200) {
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { randomSequence(t, rand.New(rand.NewPCG(seed, 1))) }) {
			return // its steps tell enough
		}
	}
}

func randomSequence(t *testing.T, random *rand.Rand) {
	const steps, ids = 300, 12
	r := newRig(t, store.Options{MaxDead: modelDead, MaxUnknown: modelUnknown})
	m := &model{now: r.clock(), containers: map[string]*modelContainer{}}
	sources := []string{"best", "second"}
	for step := range steps {
		source, n := random.IntN(2), random.IntN(ids)
		id := fmt.Sprint(n)
		did := ""
		switch random.IntN(8) {
		case 0, 1:
			did = "put"
			c := at(id, addressOf(n).String())
			c.Pod = &entity.PodRef{UID: fmt.Sprint("p", random.IntN(3))}
			r.PutContainer(sources[source], c)
			m.put(source, id)
		case 2, 3:
			did = "gone"
			r.ContainerGone(sources[source], id)
			m.remove(source, id)
		case 4:
			did = "want"
			if got, want := r.Want(id, ""), m.want(id); got != want {
				t.Errorf("step %d: want %s: %v, by the model %v", step, id, got, want)
			}
		case 5:
			did = "absent"
			r.Absent(sources[source], id)
		case 6:
			did = "report"
			if random.IntN(2) == 0 {
				r.Up(sources[source])
			} else {
				r.Down(sources[source], errors.New("away"))
			}
		case 7:
			did = "expire"
			d := time.Duration(random.IntN(90)) * time.Second
			r.advance(d)
			m.now = m.now.Add(d)
			r.Expire()
			m.expire()
		}
		if agree(t, r, m); t.Failed() {
			t.Fatalf("step %d: %s %s by %s", step, did, id, sources[source])
		}
	}
}

func addressOf(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

// agree compares the store's numbers, its subscriber and its addresses with the
// model.
func agree(t *testing.T, r *rig, m *model) {
	t.Helper()
	live, dead, unknown := m.ids((*modelContainer).isLive), m.ids((*modelContainer).isDead), m.ids((*modelContainer).isUnknown)
	r.numbers(t, len(live), len(dead), len(unknown))
	if stats := r.Stats(); stats.Evicted != m.evicted || stats.Refused != m.refused {
		t.Errorf("%d evicted and %d refused, want %d and %d", stats.Evicted, stats.Refused, m.evicted, m.refused)
	}
	if got, want := r.view.ids(), slices.Sorted(maps.Keys(m.containers)); !slices.Equal(got, want) {
		t.Errorf("the subscriber knows %q, want %q", got, want)
	}
	for id, c := range m.containers {
		if e := r.view.get(id); e != nil && (e.Container != nil) != c.known() {
			t.Errorf("%s: known: %v, want %v", id, e.Container != nil, c.known())
		}
	}
	for n := range 12 {
		_, ok := r.ByAddress(addressOf(n))
		if want := slices.Contains(live, fmt.Sprint(n)); ok != want {
			t.Errorf("the address of %d is known: %v, want %v", n, ok, want)
		}
	}
}
