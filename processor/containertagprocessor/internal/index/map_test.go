package index_test

import (
	"hash/maphash"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/index"
)

func newMap() *index.Map[string, int] {
	seed := maphash.MakeSeed()
	return index.New[string, int](func(s string) uint64 { return maphash.String(seed, s) })
}

func TestMap(t *testing.T) {
	m := newMap()
	_, ok := m.Load("a")
	require.False(t, ok)
	for i := range 1000 {
		m.Store(strconv.Itoa(i), i)
	}
	m.Store("7", 70)
	require.Equal(t, 1000, m.Len())
	v, ok := m.Load("7")
	require.True(t, ok)
	require.Equal(t, 70, v)
	m.Delete("7")
	m.Delete("nobody")
	_, ok = m.Load("7")
	require.False(t, ok)
	require.Equal(t, 999, m.Len())
}

// Writers do not lose each other's changes, and readers see whole maps.
func TestMapConcurrently(t *testing.T) {
	m := newMap()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				key := strconv.Itoa(w*500 + i)
				m.Store(key, i)
				if v, ok := m.Load(key); !ok || v != i {
					t.Errorf("%s: %d %v", key, v, ok)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 2000, m.Len())
}

func BenchmarkLoad(b *testing.B) {
	m := newMap()
	for i := range 2000 {
		m.Store(strconv.Itoa(i), i)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := m.Load("1234"); !ok {
			b.Fatal("lost")
		}
	}
}

func BenchmarkStore(b *testing.B) {
	m := newMap()
	for i := range 2000 {
		m.Store(strconv.Itoa(i), i)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Store("1234", 1)
	}
}
