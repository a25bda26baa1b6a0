package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// Phase is how far an unfinished capture is.
type Phase string

// The phases: its window is open, it is being written, it could not be written
// (and is tried once more at the next start).
const (
	Recording Phase = "recording"
	Cutting   Phase = "cutting"
	Broken    Phase = "failed"
)

// Unfinished is a capture that is not on the shelf.
type Unfinished struct {
	ID       string
	Phase    Phase
	Window   bundle.Window
	Triggers []bundle.Trigger
	Verdict  string
	// Err is why it is Broken.
	Err error
}

// maxBroken bounds the memory of those that could not be written.
const maxBroken = 20

// board shows unfinished captures to others. It is safe for concurrent use.
type board struct {
	mu    sync.Mutex
	shown []Unfinished
}

func (b *board) show(p *pending, phase Phase, err error) { b.put(p.unfinished(phase, err)) }

// unfinished is how the capture is shown.
func (p *pending) unfinished(phase Phase, err error) Unfinished {
	return Unfinished{
		ID: p.id, Phase: phase, Window: p.window, Triggers: slices.Clone(p.triggers), Verdict: verdict(p.triggers), Err: err,
	}
}

func (b *board) put(u Unfinished) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(u.ID)
	b.shown = append(b.shown, u)
	broken := 0
	for _, u := range b.shown {
		if u.Phase == Broken {
			broken++
		}
	}
	if i := slices.IndexFunc(b.shown, func(u Unfinished) bool { return u.Phase == Broken }); broken > maxBroken {
		b.shown = slices.Delete(b.shown, i, i+1)
	}
}

func (b *board) finished(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(id)
}

func (b *board) drop(id string) {
	b.shown = slices.DeleteFunc(b.shown, func(u Unfinished) bool { return u.ID == id })
}

// phase is how far a capture is; false if it is not on the board.
func (b *board) phase(id string) (Phase, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.shown, func(u Unfinished) bool { return u.ID == id })
	if i < 0 {
		return "", false
	}
	return b.shown[i].Phase, true
}

// Unfinished returns the captures that are not on the shelf, by id.
func (e *Engine) Unfinished() []Unfinished {
	e.board.mu.Lock()
	defer e.board.mu.Unlock()
	list := slices.Clone(e.board.shown)
	slices.SortFunc(list, func(a, b Unfinished) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// ErrUnfinished says that a capture is being made.
var ErrUnfinished = errors.New("it is being made")

// drop asks for a capture that could not be written to be given up.
type drop struct {
	id     string
	answer chan<- error
}

// Drop gives up a capture that could not be written: it is not tried again, and what
// was kept for it goes. Errors wrap [ErrNoCapture], [ErrUnfinished] and [ErrClosed].
func (e *Engine) Drop(ctx context.Context, id string) error {
	answers := make(chan error, 1)
	select {
	case e.drops <- drop{id, answers}:
	case <-ctx.Done():
		return fmt.Errorf("delete capture: %w", ctx.Err())
	case <-e.ctx.Done():
		return fmt.Errorf("delete capture: %w", ErrClosed)
	}
	select {
	case err := <-answers:
		return err
	case <-e.ctx.Done():
		return fmt.Errorf("delete capture: %w", ErrClosed)
	}
}

// dropped is of the goroutine that keeps the journal.
func (e *Engine) dropped(id string) error {
	phase, ok := e.board.phase(id)
	switch {
	case !ok:
		return fmt.Errorf("delete capture %.80q: %w", id, ErrNoCapture)
	case phase != Broken:
		return fmt.Errorf("delete capture %s: %w", id, ErrUnfinished)
	}
	e.takeBack()
	if i := slices.IndexFunc(e.open, func(p *pending) bool { return p.id == id }); i >= 0 {
		e.open[i].free()
		e.open = slices.Delete(e.open, i, i+1)
		e.openCount.Add(-1)
		e.failed.Add(1)
	}
	// Its id is one that was made here: nobody else writes the board.
	if err := os.RemoveAll(filepath.Join(openDir(e.o.Dir), id)); err != nil {
		return fmt.Errorf("delete capture %s: %w", id, err)
	}
	e.board.finished(id)
	return nil
}

// takeBack takes what the other goroutine has given back, without waiting.
func (e *Engine) takeBack() {
	for {
		select {
		case p := <-e.again:
			e.open = append(e.open, p)
		default:
			return
		}
	}
}
