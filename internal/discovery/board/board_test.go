package board_test

import (
	"maps"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/discovery/board"
)

func newBoard() *board.Board[*int] {
	return board.New(func(a, b *int) bool { return *a == *b })
}

// isClosed does not wait.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A writer can wait for the first reader and for the last one's end.
func TestReaders(t *testing.T) {
	b := newBoard()
	n, changed := b.Readers()
	require.Zero(t, n)
	require.False(t, isClosed(changed))

	stop := b.Subscribe(func(string, *int) {})
	require.True(t, isClosed(changed))
	n, changed = b.Readers()
	require.Equal(t, 1, n)
	one := 1
	b.Put("a", &one)
	b.Remove("a")
	require.False(t, isClosed(changed), "what is written is no change of who reads")

	stop()
	require.True(t, isClosed(changed))
	n, _ = b.Readers()
	require.Zero(t, n)
	stop()
	n, _ = b.Readers()
	require.Zero(t, n)
}

// Each change is told once, what is the same is none, and nil says that there is
// nothing any more.
func TestValues(t *testing.T) {
	b := newBoard()
	var told []string
	b.Subscribe(func(id string, value *int) {
		if value == nil {
			told = append(told, id+" gone")
			return
		}
		told = append(told, id+" "+strconv.Itoa(*value))
	})
	one, same, two := 1, 1, 2
	b.Put("a", &one)
	b.Put("a", &same)
	require.Same(t, &one, b.Get("a"))
	b.Put("a", &two)
	b.Put("", &one)
	b.Remove("b")
	b.Remove("a")
	require.Nil(t, b.Get("a"))
	require.Equal(t, []string{"a 1", "a 2", "a gone"}, told)
	require.Zero(t, b.Stats().Containers)
}

// Those who are on the board stay and may change; there is room again when one goes.
func TestFull(t *testing.T) {
	const room = 4096
	b := newBoard()
	w := b.Writer()
	one, two := 1, 2
	for n := range room + 10 {
		b.Put(strconv.Itoa(n), &one)
	}
	require.Equal(t, board.Stats{Containers: room, Dropped: 10}, b.Stats())
	b.Put("0", &two)
	require.Same(t, &two, b.Get("0"))
	b.Remove("1")
	b.Put("late", &one)
	require.Equal(t, board.Stats{Containers: room, Dropped: 10}, b.Stats())
	w.Put("later", &one)
	w.Put("late", &one) // it is there already
	require.EqualValues(t, 1, w.Dropped())
	require.Zero(t, b.Writer().Dropped())
	require.Equal(t, board.Stats{Containers: room, Dropped: 11}, b.Stats())
}

// Of what several say, what was new last counts; who takes its word back leaves the
// others' there, and nobody is told what is no news.
func TestWriters(t *testing.T) {
	b := newBoard()
	var told []int // 0 for gone
	b.Subscribe(func(_ string, value *int) {
		if value == nil {
			value = new(int)
		}
		told = append(told, *value)
	})
	first, second := b.Writer(), b.Writer()
	f := func(got, want string) {
		t.Helper()
		require.Equal(t, want, got)
	}
	state := func() string {
		s := ""
		for _, n := range told {
			s += strconv.Itoa(n) + " "
		}
		told = nil
		if value := b.Get("a"); value != nil {
			return s + "now " + strconv.Itoa(*value)
		}
		return s + "now nothing"
	}
	values := []int{0, 1, 2, 3}
	first.Put("a", &values[1])
	second.Put("a", &values[2])
	f(state(), "1 2 now 2")
	first.Put("a", &values[1])
	f(state(), "now 2") // it has not changed its mind
	first.Remove("a")
	f(state(), "now 2")
	first.Put("a", &values[2])
	second.Remove("a")
	f(state(), "now 2") // the other says the same
	second.Put("a", &values[3])
	b.Put("a", &values[1])
	f(state(), "3 1 now 1")
	b.Remove("a")
	b.Remove("a")
	f(state(), "3 now 3")
	require.Equal(t, board.Stats{Containers: 1}, b.Stats())
	first.Put("a", &values[1])
	second.Put("a", &values[2])
	second.Remove("a")
	f(state(), "1 2 1 now 1")
	second.Remove("a")
	first.Remove("a")
	f(state(), "0 now nothing")
	require.Zero(t, b.Stats().Containers)
}

// Writers, readers that come and go, one that stays and knows in the end what the
// board knows, and one that waits for readers: it misses none of their changes.
func TestManyGoroutines(t *testing.T) {
	b := newBoard()
	stays := map[string]int{}
	b.Subscribe(follow(stays))
	var all sync.WaitGroup
	for writer := range 4 {
		all.Go(func() {
			w := b.Writer()
			for n := range 500 {
				id := strconv.Itoa(writer/2*10 + n%7) // two write of each
				w.Put(id, &n)
				if n%3 == 0 {
					w.Remove(id)
				}
				b.Get(id)
			}
		})
		all.Go(func() {
			for range 100 {
				b.Subscribe(func(string, *int) {})()
				b.Stats()
			}
		})
	}
	release := make(chan struct{})
	waited := make(chan int)
	go func() {
		for n, changed := b.Readers(); ; n, changed = b.Readers() {
			if n == 2 && isClosed(release) {
				waited <- n
				return
			}
			<-changed
		}
	}()
	all.Wait()
	close(release)
	late := map[string]int{}
	b.Subscribe(follow(late))
	require.Equal(t, 2, <-waited)
	require.NotEmpty(t, late)
	require.True(t, maps.Equal(late, stays), "%v, told %v", late, stays)
	require.Equal(t, len(late), b.Stats().Containers)
}

// follow keeps what it is told. The board calls it under its lock.
func follow(known map[string]int) func(string, *int) {
	return func(id string, value *int) {
		if value == nil {
			delete(known, id)
			return
		}
		known[id] = *value
	}
}
