package identities

import (
	"github.com/tallymanhq/tallyman/internal/discovery/board"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// Board is what is said about containers. Make it with [New].
type Board = board.Board[*target.Identity]

// Writer is one of several that write on a board. Make it with its method Writer.
type Writer = board.Writer[*target.Identity]

// New returns an empty board. A hostview has one already.
func New() *Board { return board.New((*target.Identity).Equal) }
