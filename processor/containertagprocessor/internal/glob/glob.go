package glob

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrMalformed is wrapped by the errors of Compile.
var ErrMalformed = errors.New("malformed pattern")

const (
	// longestPattern is in bytes. Names of hosts and images have up to 255, and
	// docker_filter takes patterns of up to 256.
	longestPattern = 256
	// longestText is in bytes, Linux' PATH_MAX: no name that somebody looks for
	// is longer, and a label of megabytes shall not cost a search.
	longestText = 4096
)

// Glob is a compiled pattern. The zero Glob matches nothing but the empty text.
type Glob struct {
	text string
	any  bool // it is * alone
	wild bool // it has a * or ?
}

// Compile checks a pattern: 1 to 256 bytes of printable UTF-8 without [ ] { }
// and \, which other tools give a meaning (a ? stands for them, too).
func Compile(pattern string) (Glob, error) {
	switch {
	case pattern == "":
		return Glob{}, fmt.Errorf("%w: it is empty (write * for any text)", ErrMalformed)
	case len(pattern) > longestPattern:
		return Glob{}, fmt.Errorf("%w: it is longer than %d bytes", ErrMalformed, longestPattern)
	case !utf8.ValidString(pattern):
		return Glob{}, fmt.Errorf("%w: %q is not valid UTF-8", ErrMalformed, pattern)
	case strings.ContainsAny(pattern, `[]{}\`):
		return Glob{}, fmt.Errorf("%w: %q: only * and ? are special "+
			"(write alternatives as entries of their own, and ? for a bracket)", ErrMalformed, pattern)
	}
	for _, c := range pattern {
		if c < ' ' || c == 0x7f {
			return Glob{}, fmt.Errorf("%w: %q has a control character", ErrMalformed, pattern)
		}
	}
	return Glob{text: pattern, any: pattern == "*", wild: strings.ContainsAny(pattern, "*?")}, nil
}

// String returns the pattern as it was written.
func (g Glob) String() string { return g.text }

// Match tells whether the whole text fits. Case matters. A text of more than
// 4 KiB fits * alone.
func (g Glob) Match(text string) bool {
	switch {
	case g.any:
		return true
	case !g.wild:
		return g.text == text
	case len(text) > longestText:
		return false
	}
	return match(g.text, text)
}

// match goes back to the last star only: if what is between two stars was found
// once, finding it later cannot help what follows.
func match(pattern, text string) bool {
	afterStar, restart := "", "" // what to try again when something does not fit
	starred := false
	for text != "" {
		if pattern != "" && pattern[0] == '*' {
			pattern = pattern[1:]
			if pattern == "" {
				return true
			}
			afterStar, restart, starred = pattern, text, true
			continue
		}
		if n := one(pattern, text); n > 0 {
			pattern, text = pattern[width(pattern, n):], text[n:]
			continue
		}
		if !starred {
			return false
		}
		_, n := utf8.DecodeRuneInString(restart)
		restart = restart[n:]
		pattern, text = afterStar, restart
	}
	return strings.Trim(pattern, "*") == ""
}

// one returns how many bytes of text the first character of pattern takes, 0 if
// it does not fit.
func one(pattern, text string) int {
	if pattern == "" {
		return 0
	}
	_, n := utf8.DecodeRuneInString(text)
	if pattern[0] == '?' || strings.HasPrefix(pattern, text[:n]) {
		return n
	}
	return 0
}

// width returns the length of the character at the beginning of pattern that
// has taken n bytes of text.
func width(pattern string, n int) int {
	if pattern[0] == '?' {
		return 1
	}
	return n
}

// List is a list of patterns. A nil List matches nothing.
type List []Glob

// CompileList compiles patterns. The error begins with the index of the
// malformed one: [2]: ...
func CompileList(patterns []string) (List, error) {
	var list List
	for i, pattern := range patterns {
		g, err := Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		list = append(list, g)
	}
	return list, nil
}

// Match tells whether one of the patterns matches.
func (l List) Match(text string) bool {
	for _, g := range l {
		if g.Match(text) {
			return true
		}
	}
	return false
}
