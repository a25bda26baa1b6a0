package project

import (
	"bytes"
	"fmt"

	"github.com/tallymanhq/tallyman/internal/command"
)

// first keeps the first word of a command line.
func (p *pass) first(n *node) (bool, error) {
	if p.dec.PeekKind() == 'n' {
		return true, p.copyNull()
	}
	_, text, err := p.string(n)
	if err != nil {
		return false, err
	}
	word, rest := firstWord(text)
	if rest {
		p.count(n)
	}
	p.out = appendQuoted(p.out, word)
	return true, nil
}

// path is first for what the container runs, which command compares with.
func (p *pass) path(n *node) (bool, error) {
	_, text, err := p.string(n)
	if err != nil {
		return false, err
	}
	word, rest := firstWord(text)
	if rest {
		p.count(n)
	}
	p.element.path = append(p.element.path[:0], word...)
	p.out = appendQuoted(p.out, word)
	return true, nil
}

// arguments keeps none of them.
func (p *pass) arguments(n *node) (bool, error) {
	return p.words(n, func([]byte) ([]byte, bool) { return nil, false })
}

// command keeps the first word of a list if it is the program. It need not be:
// with an entry point, Cmd are arguments from the first one on.
func (p *pass) command(n *node) (bool, error) {
	return p.words(n, func(text []byte) ([]byte, bool) {
		word, _ := firstWord(text)
		return word, len(word) > 0 && bytes.Equal(word, p.element.path)
	})
}

// commandFirst keeps the first word of a list that begins with the program.
func (p *pass) commandFirst(n *node) (bool, error) {
	return p.words(n, func(text []byte) ([]byte, bool) {
		word, _ := firstWord(text)
		return word, true
	})
}

// words reads a list of strings and keeps at most something of the first.
func (p *pass) words(n *node, choose func([]byte) ([]byte, bool)) (bool, error) {
	switch p.dec.PeekKind() {
	case 'n':
		return true, p.copyNull()
	case '[':
	default:
		return false, p.unexpected(n)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return false, p.readError(err)
	}
	p.out = append(p.out, '[')
	lost := false
	for i := 0; p.dec.PeekKind() != ']'; i++ {
		_, text, err := p.string(n)
		if err != nil {
			return false, err
		}
		word, ok := choose(text)
		if i > 0 || !ok {
			lost = true
			continue
		}
		lost = len(word) != len(text)
		p.out = appendQuoted(p.out, word)
	}
	if lost {
		p.count(n)
	}
	_, err := p.dec.ReadToken()
	p.out = append(p.out, ']')
	return true, p.readError(err)
}

// firstWord returns the program of a command line, and whether that is not all
// of it. What can be no program is masked.
func firstWord(text []byte) (word []byte, rest bool) {
	word, ok := command.First(text)
	if !ok {
		return []byte(mask), true
	}
	return word, len(word) != len(text)
}

// process is a row of ps -eo pid,ppid,uid,comm, which is what we ask for. Any
// other number of columns may hold anything.
func (p *pass) process(n *node) (bool, error) {
	if p.dec.PeekKind() != '[' {
		return false, p.unexpected(n)
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return false, p.readError(err)
	}
	const columns, name = 4, 3
	p.out = append(p.out, '[')
	for i := range columns {
		_, text, err := p.string(n)
		if err != nil {
			return false, err
		}
		if i < name && !consists(text, func(c byte) bool { return '0' <= c && c <= '9' }) {
			return false, fmt.Errorf("read %s: %w (column %d is no number)", n.path, ErrShape, i)
		}
		if i == name {
			if word, rest := firstWord(text); rest {
				p.count(n)
				text = word
			}
			text = text[:min(len(text), longestComm)]
		}
		p.comma()
		p.out = appendQuoted(p.out, text)
	}
	if p.dec.PeekKind() != ']' {
		return false, p.unexpected(n)
	}
	_, err := p.dec.ReadToken()
	p.out = append(p.out, ']')
	return true, p.readError(err)
}

// longestComm is TASK_COMM_LEN of the kernel without the final zero.
const longestComm = 15
