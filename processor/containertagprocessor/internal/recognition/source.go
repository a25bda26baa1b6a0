package recognition

import (
	"context"

	"github.com/tallymanhq/tallyman/internal/discovery/findings"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

const sourceName = "recognition"

// Source is the [entity.Source] of recognitions.
type Source struct{ board *findings.Board }

// New returns the source of a board.
func New(board *findings.Board) *Source { return &Source{board: board} }

// Name implements [entity.Source].
func (s *Source) Name() string { return sourceName }

// Want implements [entity.Source]. Who discovers looks at all containers.
func (s *Source) Want(string, string) {}

// Run implements [entity.Source].
func (s *Source) Run(ctx context.Context, sink entity.Sink) {
	cancel := s.board.Subscribe(func(id string, t []target.Technology) {
		if t == nil {
			sink.ContainerGone(sourceName, id)
			return
		}
		sink.PutTechnology(sourceName, id, surest(t))
	})
	defer cancel()
	sink.Up(sourceName)
	<-ctx.Done()
}

// surest is the first, by the order of the list; nil if there is none.
func surest(all []target.Technology) *entity.Technology {
	if len(all) == 0 {
		return nil
	}
	t := all[0]
	return &entity.Technology{Name: t.Name, Confidence: t.Confidence.String(), SeenBy: t.By}
}
