package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

const grace = 5 * time.Minute

func named(id, name string) *entity.Container { return &entity.Container{ID: id, Name: name} }

// A container dies when the last source that knew it says so; its tags stay for
// the grace period.
func TestGone(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("best", named("c", "web"))
	r.PutContainer("second", named("c", "other"))
	r.ContainerGone("best", "c")
	r.ContainerGone("best", "c")
	r.ContainerGone("nobody", "c")
	r.ContainerGone("second", "stranger")
	r.numbers(t, 1, 0, 0)
	if got := r.view.get("c").Container.Name; got != "web" {
		t.Errorf("its name is %q; what a source has said stays until the end", got)
	}
	r.ContainerGone("second", "c")
	r.numbers(t, 0, 1, 0)
	r.advance(grace)
	r.ContainerGone("second", "c") // no news: it dies once
	r.Expire()
	r.numbers(t, 0, 1, 0)
	r.advance(time.Nanosecond)
	r.Expire()
	r.numbers(t, 0, 0, 0)
}

// Only who has told of a container can say that it is gone.
func TestGoneBySomebodyElse(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("best", named("c", "web"))
	r.ContainerGone("second", "c")
	r.numbers(t, 1, 0, 0)
	r.ContainerGone("best", "c")
	r.numbers(t, 0, 1, 0)
}

func TestRevival(t *testing.T) {
	r := newRig(t, store.Options{})
	for i := range 3 {
		id := fmt.Sprint(i)
		r.PutContainer("best", named(id, "web"))
		r.ContainerGone("best", id)
	}
	r.numbers(t, 0, 3, 0)
	// From the middle, the end and the beginning of the queue.
	for i, id := range []string{"1", "2", "0"} {
		r.PutContainer("best", named(id, "again"))
		r.numbers(t, i+1, 2-i, 0)
	}
	r.advance(2 * grace)
	r.Expire()
	r.numbers(t, 3, 0, 0)
	r.ContainerGone("best", "1")
	r.advance(grace)
	r.Expire()
	r.numbers(t, 2, 1, 0)
}

// Told by a source that has said it is gone, while the other has not: it takes
// both again.
func TestRevivalByOneOfTwo(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("best", named("c", "web"))
	r.PutContainer("second", named("c", "web"))
	r.ContainerGone("best", "c")
	r.ContainerGone("second", "c")
	r.PutContainer("second", named("c", "web"))
	r.numbers(t, 1, 0, 0)
	r.ContainerGone("second", "c")
	r.numbers(t, 0, 1, 0)
}

// The longest dead are forgotten first where there are too many.
func TestEviction(t *testing.T) {
	r := newRig(t, store.Options{MaxDead: 2})
	for _, id := range []string{"a", "b", "c", "d"} {
		r.PutContainer("best", named(id, id))
	}
	for _, id := range []string{"c", "a", "d", "b"} {
		r.ContainerGone("best", id)
	}
	r.numbers(t, 0, 2, 0)
	if ids := r.view.ids(); !slices.Equal(ids, []string{"b", "d"}) {
		t.Errorf("kept %q", ids)
	}
	if n := r.Stats().Evicted; n != 2 {
		t.Errorf("%d evicted", n)
	}
	r.advance(2 * grace)
	r.Expire()
	if n := r.Stats().Evicted; n != 2 {
		t.Errorf("%d evicted: who dies in time is not", n)
	}
}

func TestUnknown(t *testing.T) {
	r := newRig(t, store.Options{MaxUnknown: 2})
	for _, id := range []string{"a", "b", "a"} {
		if !r.Want(id, "pod") {
			t.Errorf("%s was refused", id)
		}
	}
	if r.Want("c", "") {
		t.Error("a third one was taken")
	}
	r.numbers(t, 0, 0, 2)
	if n := r.Stats().Refused; n != 1 {
		t.Errorf("%d refused", n)
	}
	if got := r.wanted(); !slices.Equal(got, []string{"a/pod", "b/pod", "a/pod"}) {
		t.Errorf("asked for %q", got)
	}
	if e := r.view.get("a"); e == nil || e.Container != nil || e.Complete {
		t.Errorf("told %+v of one that nobody has answered for", e)
	}
	// Who becomes known makes room.
	r.PutContainer("best", named("a", "web"))
	r.numbers(t, 1, 0, 1)
	if !r.Want("c", "") || !r.Want("a", "") {
		t.Error("refused")
	}
	r.numbers(t, 1, 0, 2)
	// Who is asked for again is remembered longer.
	r.advance(time.Minute)
	r.Want("c", "")
	r.Expire()
	r.numbers(t, 1, 0, 2)
	r.advance(time.Nanosecond)
	r.Expire()
	r.numbers(t, 1, 0, 1)
	if r.view.get("b") != nil {
		t.Error("b is remembered")
	}
	r.advance(time.Minute)
	r.Expire()
	r.numbers(t, 1, 0, 0)
}

// Sources may tell at once, from within the question.
func TestWantHoldsNoLock(t *testing.T) {
	var s *store.Store
	s = store.New(store.Options{Containers: []string{"best"}}, func(id, _ string) {
		s.PutContainer("best", named(id, "web"))
	})
	s.Want("c", "")
	if stats := s.Stats(); stats.Live != 1 {
		t.Errorf("%+v", stats)
	}
}

// Complete: each source that can still answer has.
func TestComplete(t *testing.T) {
	away := errors.New("connection refused")
	for _, c := range []struct {
		name string
		do   func(*rig)
		want bool
	}{
		{"nobody has reported", func(*rig) {}, false},
		{"both up, none has answered", func(r *rig) { r.Up("best"); r.Up("second") }, false},
		{"both down", func(r *rig) { r.Down("best", away); r.Down("second", away) }, true},
		{"one down, the other starts", func(r *rig) { r.Down("best", away) }, false},
		{"one answered, the other starts", func(r *rig) { r.Up("best"); r.PutContainer("best", named("c", "")) }, false},
		{"one answered, the other down", func(r *rig) { r.PutContainer("best", named("c", "")); r.Down("second", away) }, true},
		{"one answered, the other has none", func(r *rig) { r.PutContainer("best", named("c", "")); r.Absent("second", "c") }, true},
		{"both have none", func(r *rig) { r.Absent("best", "c"); r.Absent("second", "c") }, true},
		{"who was down is back", func(r *rig) { r.Absent("best", "c"); r.Down("second", away); r.Up("second") }, false},
		{"who has answered goes", func(r *rig) { r.Absent("best", "c"); r.Absent("second", "c"); r.Down("best", away) }, true},
		{"a source of the host counts not", func(r *rig) {
			r.Up("static")
			r.Absent("static", "c")
			r.Down("best", away)
			r.Down("second", away)
		}, true},
	} {
		r := newRig(t, store.Options{})
		r.Want("c", "")
		c.do(r)
		if got := r.view.get("c").Complete; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		// One that comes later sees the same.
		again := newView()
		r.Subscribe(again)()
		if got := again.get("c").Complete; got != c.want {
			t.Errorf("%s: %v after a replay", c.name, got)
		}
	}
}

// Only those are told of again for whom a source's coming or going matters.
func TestReportsTellWhoWaits(t *testing.T) {
	r := newRig(t, store.Options{Containers: []string{"best"}})
	r.PutContainer("best", named("known", ""))
	r.Want("unknown", "")
	r.view.takeCalls()
	r.Down("best", errors.New("away"))
	r.Down("best", errors.New("still away"))
	if calls := r.view.takeCalls(); !slices.Equal(calls, []string{"container unknown"}) {
		t.Errorf("told %q", calls)
	}
	if up := r.Stats().Up; up["best"] {
		t.Errorf("%v", up)
	}
	r.Up("best")
	if up := r.Stats().Up; !up["best"] {
		t.Errorf("%v", up)
	}
}

// What is not of a configured source, or has no id, is not taken.
func TestStrangers(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutContainer("nobody", named("c", ""))
	r.PutContainer("best", named("", "x"))
	r.PutPod("nobody", &entity.Pod{UID: "p"})
	r.PutPod("best", &entity.Pod{})
	r.Absent("best", "c")
	r.numbers(t, 0, 0, 0)
	if n := r.Stats().Pods; n != 0 {
		t.Errorf("%d pods", n)
	}
}
