package hints

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
)

const (
	// longestRegex is in bytes.
	longestRegex = 512
	// mostInstructions bounds the regular expressions of all operators of one label
	// together, by the programs that they become: each byte of a log may cost as many
	// steps, once. One for nginx' combined log has 64 and took 60 ns a byte, the worst of
	// 420 that was found 5 us: at 300 a container that writes 300 kB a second may keep a
	// core at work as long as it writes (2026-11, one core of a small virtual machine).
	mostInstructions = 300
	// mostOfBorder bounds those of multiline, which is paid for the same bytes again at
	// each poll. The start of a line by date and time has 21 and took 50 ns a byte, the
	// worst of 64 that was found 0.6 us.
	mostOfBorder = 64
	// deepestGroup bounds how often the same byte of a log is copied.
	deepestGroup = 3
)

// regexes holds the regular expressions of one configuration against what they
// cost.
type regexes struct {
	left, most int    // instructions
	of         string // whose they are together
}

// expression is one that looks for something in a log.
func (r *regexes) expression(value any) (any, error) {
	_, err := r.parse(value)
	return value, err
}

// border is one that cuts a log into records. If it could match nothing, there
// would be no end of them. If it had no longest match, x(.*y)? would look for a y
// through all that was read, for each x again: 3 kB of x a second took a core.
func (r *regexes) border(value any) (any, error) {
	tree, err := r.parse(value)
	switch {
	case err != nil:
		return nil, err
	case width(tree) == 0:
		return nil, errors.New("the regular expression may match nothing at all, which is no border of a record")
	case isEndless(tree):
		return nil, errors.New("the regular expression has no longest match, which a border of a record needs (in place of + and * write {1,20})")
	}
	return value, nil
}

func (r *regexes) parse(value any) (*syntax.Regexp, error) {
	s, err := text(longestRegex)(value)
	if err != nil {
		return nil, err
	}
	tree, err := syntax.Parse(s.(string), syntax.Perl)
	if err != nil {
		return nil, errors.New("is no regular expression")
	}
	if groups(tree) > deepestGroup {
		return nil, fmt.Errorf("has groups nested more than %d deep", deepestGroup)
	}
	// Repeats are counted before they are written out.
	tooLarge := fmt.Errorf("the regular expression is too large: all of %s may have %d instructions", r.of, r.most)
	if weight(tree) > r.left {
		return nil, tooLarge
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, errors.New("is no regular expression")
	}
	if r.left -= len(program.Inst); r.left < 0 {
		return nil, tooLarge
	}
	return tree, nil
}

// weight is about how many instructions a tree becomes, and hardly more, cut off above
// what any label may have.
func weight(tree *syntax.Regexp) int {
	sum := 1
	switch tree.Op {
	case syntax.OpLiteral:
		sum = len(tree.Rune)
	case syntax.OpConcat, syntax.OpRepeat: // what is in them counts
		sum = 0
	}
	for _, sub := range tree.Sub {
		sum = min(sum+weight(sub), mostInstructions+1)
	}
	if tree.Op == syntax.OpRepeat {
		times := max(tree.Max, tree.Min+1)
		sum = min(sum*times, mostInstructions+1)
	}
	return sum
}

// width is the least number of characters that a tree matches.
func width(tree *syntax.Regexp) int {
	switch tree.Op {
	case syntax.OpLiteral:
		return len(tree.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1
	case syntax.OpCapture, syntax.OpPlus:
		return width(tree.Sub[0])
	case syntax.OpRepeat:
		return min(tree.Min, 1) * width(tree.Sub[0])
	case syntax.OpConcat:
		sum := 0
		for _, sub := range tree.Sub {
			sum += width(sub)
		}
		return sum
	case syntax.OpAlternate:
		least := width(tree.Sub[0])
		for _, sub := range tree.Sub[1:] {
			least = min(least, width(sub))
		}
		return least
	}
	return 0
}

// isEndless tells of a repeat that has no most.
func isEndless(tree *syntax.Regexp) bool {
	switch tree.Op {
	case syntax.OpStar, syntax.OpPlus:
		return true
	case syntax.OpRepeat:
		if tree.Max < 0 {
			return true
		}
	}
	return slices.ContainsFunc(tree.Sub, isEndless)
}

// groups is how deep captures are nested.
func groups(tree *syntax.Regexp) int {
	deepest := 0
	for _, sub := range tree.Sub {
		deepest = max(deepest, groups(sub))
	}
	if tree.Op == syntax.OpCapture {
		deepest++
	}
	return deepest
}
