package board

import (
	"slices"
	"sync"
)

// maxContainers is how many directories of containers a hostview watches
// (container.DiscoveryOptions): of more, nobody could say when they end.
const maxContainers = 4096

// Board is what is told of containers, by id. T is a type whose zero value says
// nothing: nil. Values on the board are shared and must not be changed. Make it
// with [New].
type Board[T any] struct {
	isSame func(a, b T) bool

	mu      sync.Mutex // guards all below, and the writers
	known   map[string][]word[T]
	readers []*reader[T]
	turned  chan struct{} // closed when readers becomes longer or shorter
	refused uint64
}

// word is what one writer says of a container. Of several, the last counts.
type word[T any] struct {
	by    *Writer[T] // nil for the board's own methods
	value T
}

type reader[T any] struct {
	tell func(id string, value T)
}

// Writer is one of several that write on a board. Make it with [Board.Writer].
type Writer[T any] struct {
	board   *Board[T]
	refused uint64
}

// Stats are the size of a board and its losses so far.
type Stats struct {
	// Containers is how many are on the board now.
	Containers int
	// Dropped counts what was not taken because the board was full.
	Dropped uint64
}

// New returns an empty board. isSame tells whether a value is no news after another.
func New[T any](isSame func(before, after T) bool) *Board[T] {
	return &Board[T]{isSame: isSame, known: map[string][]word[T]{}, turned: make(chan struct{})}
}

// Writer returns a new writer. Two of them do not take back each other's words.
func (b *Board[T]) Writer() *Writer[T] { return &Writer[T]{board: b} }

// Put replaces what the writer tells of a container; of what several tell, what was
// new last counts. The value belongs to the board from now on, and is not T's zero
// value. An empty id is nobody's.
func (w *Writer[T]) Put(id string, value T) { w.board.put(id, word[T]{w, value}) }

// Remove takes the writer's word about a container back: it has ended, or the writer
// looks no more. What another tells of it counts again.
func (w *Writer[T]) Remove(id string) { w.board.remove(id, w) }

// Dropped counts what was not taken from this writer because the board was full.
func (w *Writer[T]) Dropped() uint64 {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	return w.refused
}

// Put is [Writer.Put] for who is alone, or one of those who use no writer of their own.
func (b *Board[T]) Put(id string, value T) { b.put(id, word[T]{nil, value}) }

// Remove takes back what [Board.Put] has put there.
func (b *Board[T]) Remove(id string) { b.remove(id, nil) }

// Get returns what is told of a container, T's zero value if nothing is.
func (b *Board[T]) Get(id string) T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last(id)
}

// Subscribe calls tell for each container that is there, and then for each change,
// with T's zero value for one that was taken away. When cancel returns, tell is
// called no more.
func (b *Board[T]) Subscribe(tell func(id string, value T)) (cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &reader[T]{tell: tell}
	b.readers = append(b.readers, r)
	b.turn()
	for id := range b.known {
		tell(id, b.last(id))
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.readers = slices.DeleteFunc(b.readers, func(o *reader[T]) bool { return o == r })
		b.turn()
	}
}

// Readers returns how many subscribers there are now, and a channel that is closed
// when that has changed.
func (b *Board[T]) Readers() (n int, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.readers), b.turned
}

// Stats returns the figures by now.
func (b *Board[T]) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{Containers: len(b.known), Dropped: b.refused}
}

func (b *Board[T]) put(id string, said word[T]) {
	if id == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	words, isKnown := b.known[id]
	if !isKnown && len(b.known) >= maxContainers {
		b.refused++
		if said.by != nil {
			said.by.refused++
		}
		return
	}
	others := words
	if at := placeOf(words, said.by); at >= 0 {
		if b.isSame(words[at].value, said.value) {
			return // its word is no newer than before
		}
		others = without(words, at)
	}
	b.replace(id, words, append(slices.Clip(others), said))
}

func (b *Board[T]) remove(id string, by *Writer[T]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	words := b.known[id]
	if at := placeOf(words, by); at >= 0 {
		b.replace(id, words, without(words, at))
	}
}

// replace lets words be what is said of a container, and tells readers if what counts
// is news. before is what was said until now.
func (b *Board[T]) replace(id string, before, words []word[T]) {
	if len(words) == 0 {
		var nothing T
		delete(b.known, id)
		b.tell(id, nothing)
		return
	}
	b.known[id] = words
	value := words[len(words)-1].value
	if len(before) == 0 || !b.isSame(before[len(before)-1].value, value) {
		b.tell(id, value)
	}
}

// without is a copy of words with one left out.
func without[T any](words []word[T], at int) []word[T] {
	return slices.Concat(words[:at], words[at+1:])
}

// last is the word that counts.
func (b *Board[T]) last(id string) (value T) {
	if words := b.known[id]; len(words) > 0 {
		return words[len(words)-1].value
	}
	return value
}

func placeOf[T any](words []word[T], by *Writer[T]) int {
	return slices.IndexFunc(words, func(w word[T]) bool { return w.by == by })
}

func (b *Board[T]) tell(id string, value T) {
	for _, r := range b.readers {
		r.tell(id, value)
	}
}

func (b *Board[T]) turn() {
	close(b.turned)
	b.turned = make(chan struct{})
}
