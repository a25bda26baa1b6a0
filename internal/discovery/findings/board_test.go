package findings_test

import (
	"maps"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/discovery/findings"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

func named(names ...string) []target.Technology {
	var all []target.Technology
	for _, name := range names {
		all = append(all, target.Technology{Name: name, Confidence: target.Certain})
	}
	return all
}

// reader keeps what it was told. The board calls it under its lock.
type reader struct {
	known map[string]string
	calls []string
}

func (r *reader) tell(id string, t []target.Technology) {
	switch {
	case t == nil:
		delete(r.known, id)
		r.calls = append(r.calls, id+" gone")
		return
	case len(t) == 0:
		t = named("nothing")
	}
	r.known[id] = t[0].Name
	r.calls = append(r.calls, id+" "+t[0].Name)
}

func newReader() *reader { return &reader{known: map[string]string{}} }

// Who comes late knows as much as who was there, and both hear each change once.
func TestReadersKnowAll(t *testing.T) {
	b := findings.New()
	early := newReader()
	b.Subscribe(early.tell)
	b.Put("a", named("redis"))
	b.Put("b", named("nginx", "python"))
	late := newReader()
	b.Subscribe(late.tell)
	require.Equal(t, map[string]string{"a": "redis", "b": "nginx"}, late.known)

	b.Put("a", named("redis"))
	b.Put("a", named("valkey"))
	b.Remove("b")
	b.Remove("b")
	b.Put("c", nil)
	b.Put("c", []target.Technology{})
	require.Equal(t, []string{"a redis", "b nginx", "a valkey", "b gone", "c nothing"}, early.calls)
	require.Equal(t, map[string]string{"a": "valkey", "c": "nothing"}, late.known)
	require.Equal(t, findings.Stats{Containers: 2}, b.Stats())
}

func TestGet(t *testing.T) {
	b := findings.New()
	list := named("redis", "python")
	b.Put("a", list)
	list[0].Name = "changed by its owner"
	require.Equal(t, named("redis", "python"), b.Get("a"))
	require.Nil(t, b.Get("b"))
	b.Put("b", nil)
	require.NotNil(t, b.Get("b"))
	require.Empty(t, b.Get("b"))
	b.Remove("b")
	require.Nil(t, b.Get("b"))
	b.Put("", named("redis"))
	require.Equal(t, 1, b.Stats().Containers)
}

// The same name with more behind it is news: confidence and evidence are shown.
func TestOtherEvidenceIsAChange(t *testing.T) {
	b, r := findings.New(), newReader()
	b.Subscribe(r.tell)
	b.Put("a", []target.Technology{{Name: "redis", Confidence: target.Possible}})
	b.Put("a", []target.Technology{{Name: "redis", Confidence: target.Certain}})
	require.Len(t, r.calls, 2)
}

func TestNobodyIsToldAfterCancel(t *testing.T) {
	b, r, other := findings.New(), newReader(), newReader()
	cancel := b.Subscribe(r.tell)
	b.Subscribe(other.tell)
	b.Put("a", named("redis"))
	cancel()
	cancel()
	b.Put("b", named("redis"))
	require.Equal(t, []string{"a redis"}, r.calls)
	require.Equal(t, []string{"a redis", "b redis"}, other.calls)
}

// Two discover: what one takes back the other still says, also that it is nothing.
func TestTwoWriters(t *testing.T) {
	b, r := findings.New(), newReader()
	b.Subscribe(r.tell)
	first, second := b.Writer(), b.Writer()
	first.Put("a", nil)
	list := named("redis")
	second.Put("a", list)
	list[0].Name = "changed by its owner"
	require.Equal(t, named("redis"), b.Get("a"))
	second.Remove("a")
	require.NotNil(t, b.Get("a"))
	require.Empty(t, b.Get("a"))
	first.Remove("a")
	require.Nil(t, b.Get("a"))
	require.Equal(t, []string{"a nothing", "a redis", "a nothing", "a gone"}, r.calls)
}

// Those who are on the board stay and may change; there is room again when one
// goes.
func TestFullBoard(t *testing.T) {
	const room = 4096
	b := findings.New()
	for n := range room + 10 {
		b.Put(strconv.Itoa(n), named("redis"))
	}
	require.Equal(t, findings.Stats{Containers: room, Dropped: 10}, b.Stats())
	require.Nil(t, b.Get(strconv.Itoa(room)))
	b.Put("0", named("nginx"))
	require.Equal(t, named("nginx"), b.Get("0"))
	b.Remove("1")
	b.Put("late", named("redis"))
	require.Equal(t, findings.Stats{Containers: room, Dropped: 10}, b.Stats())
	require.NotNil(t, b.Get("late"))
}

// Writers, readers that come and go, and one that stays: it knows in the end what
// the board knows.
func TestManyGoroutines(t *testing.T) {
	b, stays := findings.New(), newReader()
	b.Subscribe(stays.tell)
	var all sync.WaitGroup
	for writer := range 4 {
		all.Go(func() {
			for n := range 500 {
				id := strconv.Itoa(writer*10 + n%7)
				b.Put(id, named("technology "+strconv.Itoa(n)))
				if n%3 == 0 {
					b.Remove(id)
				}
				b.Get(id)
			}
		})
		all.Go(func() {
			for range 100 {
				b.Subscribe(newReader().tell)()
				b.Stats()
			}
		})
	}
	all.Wait()
	last := newReader()
	b.Subscribe(last.tell)
	require.NotEmpty(t, last.known)
	require.True(t, maps.Equal(last.known, stays.known), "%v, told %v", last.known, stays.known)
	require.Equal(t, len(last.known), b.Stats().Containers)
}
