package project

import (
	"errors"
	"fmt"
	"io"
)

// ErrShape says that an answer is not what the tables expect: another JSON type,
// a missing id, no valid JSON at all, or more after its end. The client must
// then get an error, or, if something was already written, a broken connection.
var ErrShape = errors.New("unexpected shape of the engine's answer")

// ErrTooLarge says that one element of an answer takes more than MaxElement.
var ErrTooLarge = errors.New("element of the engine's answer is too large")

// ErrHidden says that the one object of an answer concerns a container, or is a
// volume, that the client must not see. Nothing was written. The client gets
// what it gets for an object that does not exist.
var ErrHidden = errors.New("object is hidden from the client")

// MaxElement bounds what one element of a list, one line of a stream, or an
// object may take, in bytes, before and after the projection. The largest real
// one is the inspection of a container with a long configuration, some 100 KB. But
// one container with absurd labels (10 MB was tried) must not hide all others.
const MaxElement = 16 << 20

// Visible decides which containers a client sees. The id is what the engine
// said: 64 hex digits. It is asked while an answer is read, so it must not
// block, and by several goroutines at once.
type Visible interface {
	Container(id string) bool
}

// Counters are the numbers of containers that [Info] shows.
type Counters struct {
	Containers, Running, Paused, Stopped int
}

// View says what an answer is and who is to see it.
type View struct {
	Kind  Kind
	Rules *Rules
	// Visible decides about containers; nil means all.
	Visible Visible
	// Volume decides about volumes by name; nil means all, whatever Visible says.
	Volume func(name string) bool
	// Counters replaces the numbers of containers in Info. Without it they are
	// left out if Visible is set, and kept if not.
	Counters func() Counters
}

// Stats tells what a projection did, also when it ended with an error.
type Stats struct {
	// Redacted counts what was rewritten or left out, by field. Fields are named
	// in tables.txt, so there is a bounded number of them. What no table
	// mentions is not counted. Nil if nothing was.
	Redacted map[string]int
	// Elements counts the elements written: of the list, of the lists within an
	// envelope, lines of a stream, or 1 for an object.
	Elements int
	// Hidden counts the elements left out because the client must not see them.
	Hidden int
	// Written counts bytes. While it is 0 the client can still get an error.
	Written int64
}

// Object projects an answer that is one JSON object. An envelope (volume.list,
// system.df) leaves piece by piece; of everything else nothing is written before
// the whole of it was read and found good. Errors are ErrShape, ErrTooLarge,
// ErrHidden, those of src (io.ErrUnexpectedEOF for a body that is cut off) and
// those of dst.
func Object(dst io.Writer, src io.Reader, view View) (Stats, error) {
	return run(dst, src, view, (*pass).object)
}

// List projects an answer that is a JSON array of objects. The first bytes are
// written once 16 KiB are ready, so an error that is found before can still be
// told to the client. Errors are those of Object but ErrHidden: hidden elements
// are left out. An answer of null is an empty list.
func List(dst io.Writer, src io.Reader, view View) (Stats, error) {
	return run(dst, src, view, (*pass).list)
}

// Stream projects a sequence of JSON objects, one line for each. A line is
// written, and flushed if dst has a method Flush() or FlushError() error, as soon
// as its object has ended; hidden ones are left out. It returns nil when src ends
// between two objects, else the errors of List.
func Stream(dst io.Writer, src io.Reader, view View) (Stats, error) {
	return run(dst, src, view, (*pass).stream)
}

func run(dst io.Writer, src io.Reader, view View, project func(*pass, *node) error) (Stats, error) {
	if view.Rules == nil {
		return Stats{}, fmt.Errorf("project %s: %w", view.Kind, errNoRules)
	}
	table, ok := view.Rules.tables[view.Kind]
	if !ok {
		return Stats{}, fmt.Errorf("project %q: %w", view.Kind, errNoTable)
	}
	p := view.Rules.borrow()
	defer view.Rules.giveBack(p)
	p.begin(dst, src, view)
	err := project(p, table)
	stats := p.result()
	if err != nil {
		return stats, fmt.Errorf("project %s: %w", view.Kind, err)
	}
	return stats, nil
}

var (
	errNoRules = errors.New("no rules")
	errNoTable = errors.New("no table of that name")
)
