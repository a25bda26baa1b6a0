package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

const recogniser = "recognition" // no source of containers

func technology(name string) *entity.Technology { return &entity.Technology{Name: name} }

// seen is what subscribers were told last: the technology, and that of the
// container in particular.
func (r *rig) seen(t *testing.T, id string) (alone, inContainer string) {
	t.Helper()
	e := r.view.get(id)
	require.NotNil(t, e)
	if e.Technology != nil {
		alone = e.Technology.Name
	}
	if e.Container != nil && e.Container.Technology != nil {
		inContainer = e.Container.Technology.Name
	}
	return alone, inContainer
}

// Whoever speaks first, a container that is known has its technology, and changes
// it with what runs there.
func TestTechnologyOfAContainer(t *testing.T) {
	f := func(tell ...func(*rig)) {
		t.Helper()
		r := newRig(t, store.Options{})
		for _, f := range tell {
			f(r)
		}
		alone, with := r.seen(t, "c")
		require.Equal(t, []string{"redis", "redis"}, []string{alone, with})
		require.Equal(t, "best", r.view.get("c").Container.Name)
		require.False(t, r.view.get("c").Complete, "the second source may still know more")

		r.PutTechnology(recogniser, "c", technology("nginx"))
		_, with = r.seen(t, "c")
		require.Equal(t, "nginx", with)
		r.PutTechnology(recogniser, "c", nil)
		alone, with = r.seen(t, "c")
		require.Equal(t, []string{"", ""}, []string{alone, with})
	}
	put := func(r *rig) { r.PutContainer("best", full("best", early)) }
	recognise := func(r *rig) { r.PutTechnology(recogniser, "c", technology("redis")) }
	f(put, recognise)
	f(recognise, put)
	f(recognise, put, put)
}

// What a source has told is not changed, and what is said again is no news.
func TestTechnologyChangesNothingElse(t *testing.T) {
	r := newRig(t, store.Options{})
	told := full("best", early)
	r.PutContainer("best", told)
	r.PutTechnology(recogniser, "c", technology("redis"))
	require.Nil(t, told.Technology)
	before := r.view.get("c")
	r.PutTechnology(recogniser, "c", technology("redis"))
	require.Same(t, before, r.view.get("c"))
}

// To be recognised makes nobody known: sources are asked, and what they do not tell
// is missing. The technology is there meanwhile.
func TestRecognisedButUnknown(t *testing.T) {
	r := newRig(t, store.Options{})
	r.PutTechnology(recogniser, "c", technology("redis"))
	require.Nil(t, r.view.get("c"), "nobody has asked")
	require.True(t, r.Want("c", ""))
	require.Equal(t, []string{"c/"}, r.wanted())
	require.Nil(t, r.view.get("c").Container)
	alone, _ := r.seen(t, "c")
	require.Equal(t, "redis", alone)
	require.Equal(t, 1, r.Stats().Unknown)
}

// After its end a container keeps the last word, and with the container that is
// forgotten.
func TestTechnologyOfTheDead(t *testing.T) {
	r := newRig(t, store.Options{Grace: time.Minute})
	r.PutContainer("best", full("best", early))
	r.PutTechnology(recogniser, "c", technology("redis"))
	r.ContainerGone(recogniser, "c")
	_, with := r.seen(t, "c")
	require.Equal(t, "redis", with, "it may be started again")
	require.False(t, r.view.get("c").Dead)
	r.ContainerGone("best", "c")
	_, with = r.seen(t, "c")
	require.Equal(t, "redis", with, "late data is of the same")
	require.True(t, r.view.get("c").Dead)
	r.advance(2 * time.Minute)
	r.Expire()
	require.Nil(t, r.view.get("c"))
	r.PutContainer("best", full("best", early))
	alone, with := r.seen(t, "c")
	require.Equal(t, []string{"", ""}, []string{alone, with})
}
