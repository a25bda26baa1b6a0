package project

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

var errPattern = errors.New("malformed pattern")

// maxPattern bounds a pattern; label keys and variable names are shorter.
const maxPattern = 256

// patterns is a list of names in which * stands for anything.
type patterns struct {
	exact map[string]struct{}
	globs [][]string // the parts between the stars
	fold  bool       // all is lower case, and what is looked for must be, too
}

func compilePatterns(list []string, fold bool) (patterns, error) {
	p := patterns{exact: map[string]struct{}{}, fold: fold}
	for i, text := range list {
		if err := checkPattern(text); err != nil {
			return p, fmt.Errorf("[%d] %q: %w", i, text, err)
		}
		if fold {
			text = strings.ToLower(text)
		}
		if parts := strings.Split(text, "*"); len(parts) > 1 {
			p.globs = append(p.globs, parts)
		} else {
			p.exact[text] = struct{}{}
		}
	}
	return p, nil
}

func checkPattern(text string) error {
	switch {
	case text == "":
		return fmt.Errorf("%w: it is empty", errPattern)
	case len(text) > maxPattern:
		return fmt.Errorf("%w: it is longer than %d bytes", errPattern, maxPattern)
	case strings.ContainsAny(text, "{}[]?=, \t"):
		return fmt.Errorf("%w: only * is special (write alternatives as entries of their own)", errPattern)
	}
	for _, c := range []byte(text) {
		if c < 0x21 || c > 0x7e {
			return fmt.Errorf("%w: byte %#02x cannot be part of a name", errPattern, c)
		}
	}
	return nil
}

// match tells whether one of the patterns is the name. With fold the name must
// be in lower case.
func (p *patterns) match(name []byte) bool {
	if _, ok := p.exact[string(name)]; ok {
		return true
	}
	for _, parts := range p.globs {
		if matchGlob(parts, name) {
			return true
		}
	}
	return false
}

// matchGlob takes each part at its first place, which finds a match if there
// is one: the last part alone is bound to the end.
func matchGlob(parts []string, name []byte) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || string(name[:len(first)]) != first ||
		string(name[len(name)-len(last):]) != last {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		at := bytes.Index(name, []byte(part))
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return true
}

// appendLower appends text with its ASCII letters in lower case.
func appendLower(dst, text []byte) []byte {
	for _, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}
