package project

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// flushAt is how much output is gathered before it is written: several times a
// socket's usual segment, and what an error can still take back.
const flushAt = 16 << 10

// keepAtMost is the largest output buffer that is kept for the next answer.
// The decoder's buffer is smaller than the longest element before projection,
// which size remembers.
const keepAtMost = 64 << 10

// pass is the work on one answer. It reads tokens, walks the table along, and
// appends to out what is kept. What turns out not to be kept is cut off again:
// out is only written between elements.
type pass struct {
	rules *Rules
	view  View
	dst   io.Writer
	src   source
	dec   *jsontext.Decoder

	out  []byte
	last byte   // last byte written, which tells whether a comma is due
	text []byte // of the string read last, if it had escapes
	key  []byte // of the map entry that is being read
	aux  []byte // scratch of the rules

	element element
	size    int64 // of the longest element, in bytes of input
	start   int64 // offset of the element's first byte
	counts  []int // by number of field
	stats   Stats
}

// element is what is remembered of the element that is being read.
type element struct {
	hidden  bool   // the client must not see it
	subject bool   // its container is known
	path    []byte // first word of Path, as it was kept
	event   event
}

func (p *pass) begin(dst io.Writer, src io.Reader, view View) {
	p.view, p.dst = view, dst
	p.src.reset(src)
	p.dec.Reset(&p.src)
	p.out, p.last, p.size, p.stats = p.out[:0], 0, 0, Stats{}
	clear(p.counts)
	p.beginElement()
}

func (p *pass) result() Stats {
	for field, n := range p.counts {
		if n == 0 {
			continue
		}
		if p.stats.Redacted == nil {
			p.stats.Redacted = map[string]int{}
		}
		p.stats.Redacted[p.rules.fields[field]] = n
	}
	return p.stats
}

// object projects the one object of an answer.
func (p *pass) object(table *node) error {
	if !table.envelope {
		if err := p.oneElement(table); err != nil {
			return err
		}
		if p.stats.Elements == 0 {
			return ErrHidden
		}
	} else if _, err := p.fields(table); err != nil {
		return err
	}
	return p.finish()
}

// list projects the elements of an array.
func (p *pass) list(table *node) error {
	switch p.dec.PeekKind() {
	case 'n':
		if err := p.skip(); err != nil {
			return err
		}
		p.out = append(p.out, '[', ']')
		return p.finish()
	case '[':
	default:
		return p.unexpected(table)
	}
	// Grown at once: on the way there it would take as much again.
	p.out = slices.Grow(p.out, flushAt+flushAt/4)
	if err := p.elements(table); err != nil {
		return err
	}
	return p.finish()
}

// stream projects objects until the answer ends between two of them.
func (p *pass) stream(table *node) error {
	for {
		p.src.allow(p.dec.InputOffset())
		if p.dec.PeekKind() == 0 {
			// Invalid, or the end: reading tells which.
			if _, err := p.dec.ReadToken(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return p.readError(err)
			}
		}
		p.last = 0
		if err := p.oneElement(table); err != nil {
			return err
		}
		if len(p.out) == 0 {
			continue
		}
		p.out = append(p.out, '\n')
		if err := p.flush(); err != nil {
			return err
		}
		if err := flush(p.dst); err != nil {
			return err
		}
	}
}

// elements reads an array whose elements are judged one by one and leave as
// soon as enough of them are there.
func (p *pass) elements(table *node) error {
	if _, err := p.dec.ReadToken(); err != nil {
		return p.readError(err)
	}
	p.out = append(p.out, '[')
	for p.dec.PeekKind() != ']' {
		if err := p.oneElement(table); err != nil {
			return err
		}
		if len(p.out) >= flushAt {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return p.readError(err)
	}
	p.out = append(p.out, ']')
	return nil
}

// oneElement reads one object and appends it to out unless it is hidden.
func (p *pass) oneElement(table *node) error {
	p.beginElement()
	mark := len(p.out)
	p.comma()
	if _, err := p.fields(table); err != nil {
		return err
	}
	p.size = max(p.size, p.dec.InputOffset()-p.start)
	if table.subject && !p.element.subject {
		return fmt.Errorf("find the id of an element: %w", ErrShape)
	}
	if p.view.Kind == Event && !p.showEvent() {
		p.element.hidden = true
	}
	if p.element.hidden {
		p.out = p.out[:mark]
		p.element.hidden = false
		p.stats.Hidden++
		return nil
	}
	p.stats.Elements++
	return nil
}

func (p *pass) beginElement() {
	p.start = p.dec.InputOffset()
	p.src.allow(p.start)
	p.element = element{path: p.element.path[:0], event: p.element.event.reset()}
}

// value reads one value by its node of the table. It reports whether the value
// was appended to out; what it appended otherwise the caller takes back.
func (p *pass) value(n *node) (bool, error) {
	switch {
	case n.rule.read != nil:
		return n.rule.read(p, n)
	case p.dec.PeekKind() == 'n':
		return true, p.copyNull()
	case n.each != nil && n.class == nil:
		return p.array(n)
	case n.each != nil:
		return p.mapping(n)
	}
	return p.fields(n)
}

// fields reads an object with known fields.
func (p *pass) fields(n *node) (bool, error) {
	if p.dec.PeekKind() != '{' {
		return false, p.unexpected(n)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return false, p.readError(err)
	}
	p.out = append(p.out, '{')
	for p.dec.PeekKind() != '}' {
		_, name, err := p.string(n)
		if err != nil {
			return false, err
		}
		field := n.fields[string(name)]
		if field == nil || p.element.hidden {
			err = p.skip()
		} else {
			err = p.field(field)
		}
		if err != nil {
			return false, err
		}
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return false, p.readError(err)
	}
	p.out = append(p.out, '}')
	if len(p.out) > MaxElement+flushAt {
		return false, ErrTooLarge
	}
	return true, nil
}

func (p *pass) field(n *node) error {
	mark := len(p.out)
	p.comma()
	p.out = append(p.out, n.quoted...)
	keep, err := p.value(n)
	if err == nil && !keep {
		p.out = p.out[:mark]
	}
	return err
}

func (p *pass) array(n *node) (bool, error) {
	if p.dec.PeekKind() != '[' {
		return false, p.unexpected(n)
	}
	if n.envelope {
		return true, p.elements(n.each)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return false, p.readError(err)
	}
	p.out = append(p.out, '[')
	for p.dec.PeekKind() != ']' {
		mark := len(p.out)
		p.comma()
		keep, err := p.value(n.each)
		if err != nil {
			return false, err
		}
		if !keep {
			p.out = p.out[:mark]
		}
	}
	_, err := p.dec.ReadToken()
	p.out = append(p.out, ']')
	return true, p.readError(err)
}

// mapping reads an object whose keys are not known, but of a known class.
func (p *pass) mapping(n *node) (bool, error) {
	if p.dec.PeekKind() != '{' {
		return false, p.unexpected(n)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return false, p.readError(err)
	}
	p.out = append(p.out, '{')
	for p.dec.PeekKind() != '}' {
		if err := p.entry(n); err != nil {
			return false, err
		}
	}
	_, err := p.dec.ReadToken()
	p.out = append(p.out, '}')
	return true, p.readError(err)
}

func (p *pass) entry(n *node) error {
	raw, name, err := p.string(n)
	if err != nil {
		return err
	}
	if !n.class(p, name) {
		p.count(n)
		return p.skip()
	}
	mark := len(p.out)
	p.comma()
	p.out = append(p.out, raw...)
	p.out = append(p.out, ':')
	keep, err := p.value(n.each)
	if err == nil && !keep {
		p.out = p.out[:mark]
	}
	return err
}

// string reads a string: raw is as it was written, text what it says. Both are
// valid until the next read.
func (p *pass) string(n *node) (raw, text []byte, err error) {
	if p.dec.PeekKind() != '"' {
		return nil, nil, p.unexpected(n)
	}
	raw, err = p.dec.ReadValue()
	if err != nil {
		return nil, nil, p.readError(err)
	}
	text = raw[1 : len(raw)-1]
	if bytes.IndexByte(text, '\\') < 0 {
		return raw, text, nil
	}
	p.text, err = jsontext.AppendUnquote(p.text[:0], raw)
	return raw, p.text, p.readError(err)
}

func (p *pass) copyNull() error {
	p.out = append(p.out, "null"...)
	return p.skip()
}

// skip passes over a value of any size: only its longest token is bounded.
func (p *pass) skip() error {
	depth := p.dec.StackDepth()
	for {
		if err := p.skipToken(); err != nil {
			return err
		}
		if p.dec.StackDepth() <= depth {
			return nil
		}
	}
}

func (p *pass) skipToken() error {
	if _, err := p.dec.ReadToken(); err != nil {
		return p.readError(err)
	}
	p.src.allow(p.dec.InputOffset())
	if len(p.out) > MaxElement+flushAt {
		return ErrTooLarge
	}
	return nil
}

// comma appends one unless a value can follow what was appended last.
func (p *pass) comma() {
	last := p.last
	if len(p.out) > 0 {
		last = p.out[len(p.out)-1]
	}
	switch last {
	case 0, '{', '[':
	default:
		p.out = append(p.out, ',')
	}
}

func (p *pass) count(n *node) { p.counts[n.field]++ }

// finish makes sure that the answer is over before its last part is written.
func (p *pass) finish() error {
	p.src.allow(p.dec.InputOffset())
	switch _, err := p.dec.ReadToken(); {
	case err == nil:
		return fmt.Errorf("find the end: %w", ErrShape)
	case !errors.Is(err, io.EOF):
		return p.readError(err)
	}
	p.out = append(p.out, '\n')
	return p.flush()
}

func (p *pass) flush() error {
	if len(p.out) == 0 {
		return nil
	}
	n, err := p.dst.Write(p.out)
	p.stats.Written += int64(n)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	p.last = p.out[len(p.out)-1]
	p.out = p.out[:0]
	return nil
}

// flush makes dst pass on what it holds, if it can.
func flush(dst io.Writer) error {
	switch dst := dst.(type) {
	case interface{ FlushError() error }:
		if err := dst.FlushError(); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	case interface{ Flush() }:
		dst.Flush()
	}
	return nil
}

// unexpected is the error for a value of another JSON type than n asks for. If
// the value cannot even be read, that is the error.
func (p *pass) unexpected(n *node) error {
	kind := p.dec.PeekKind()
	if kind == 0 {
		_, err := p.dec.ReadToken()
		return p.readError(err)
	}
	return fmt.Errorf("read %s: %w (found %s)", n.path, ErrShape, kind)
}

// readError tells what went wrong below, in words of our own: the decoder's
// would hold text of the answer.
func (p *pass) readError(err error) error {
	if err == nil {
		return nil
	}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, ErrTooLarge):
		return fmt.Errorf("read from byte %d: %w", p.start, ErrTooLarge)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("read from byte %d: %w", p.start, io.ErrUnexpectedEOF)
	case errors.As(err, &syntax):
		return fmt.Errorf("parse JSON at byte %d: %w", syntax.ByteOffset, ErrShape)
	}
	return fmt.Errorf("read from byte %d: %w", p.start, err)
}
