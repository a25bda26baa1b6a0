package findings

import (
	"slices"

	"github.com/tallymanhq/tallyman/internal/discovery/board"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// Board is what containers were recognised as. Make it with [New].
type Board struct {
	*board.Board[[]target.Technology]
}

// Writer is one of several that write on a board. Make it with [Board.Writer].
type Writer struct {
	*board.Writer[[]target.Technology]
}

// Stats are the size of a board and its losses so far.
type Stats = board.Stats

// New returns an empty board. A hostview has one already.
func New() *Board {
	return &Board{board.New(slices.Equal[[]target.Technology])}
}

// Put replaces what a container was recognised as, the surest first; an empty list,
// or nil, says that it runs and is nothing that anybody knows, for which readers are
// told an empty list that is not nil. An empty id is nobody's.
func (b *Board) Put(id string, t []target.Technology) { b.Board.Put(id, copied(t)) }

// Writer returns a new writer. Two of them do not take back each other's words.
func (b *Board) Writer() *Writer { return &Writer{b.Board.Writer()} }

// Put is [Board.Put] for this writer.
func (w *Writer) Put(id string, t []target.Technology) { w.Writer.Put(id, copied(t)) }

// copied is never nil, which would say that nothing is known.
func copied(t []target.Technology) []target.Technology { return append([]target.Technology{}, t...) }
