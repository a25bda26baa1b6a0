package api

import (
	"fmt"
	"regexp/syntax"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"
)

// What one expression may be. The engine bounds what a query reads, but not what its
// text costs: the parser takes time with the square of the nesting (7 s for 64 KiB of
// minus signs, which nothing can interrupt) and stack in proportion, whose end is that
// of the process; and 16 KiB of counted repetitions make a regular expression of 200 MB.
const (
	// maxExpression is in bytes, for all selectors of a request together: the ids of
	// 200 containers twice over, which is what a dashboard's variable can become.
	maxExpression = 32 << 10
	// maxParts counts operators and brackets, which is how deep it can be: such a text
	// is parsed in 10 ms.
	maxParts = 1000
	// maxRegexp is how many instructions all regular expressions have, repetitions
	// multiplied out: each takes about 70 bytes.
	maxRegexp = 64 << 10
	// maxSelectors is how many match[] a request may have.
	maxSelectors = 100
)

// checkExpressions bounds what it costs to parse the texts, before that is done. What
// is no expression at all passes: the parser says it better.
func checkExpressions(texts ...string) error {
	var size, parts, instructions int
	for _, text := range texts {
		if size += len(text); size > maxExpression {
			return fmt.Errorf("it is longer than %d bytes", maxExpression)
		}
		lexer := parser.Lex(text)
		for item := (parser.Item{}); ; {
			lexer.NextItem(&item)
			if item.Typ == parser.EOF || item.Typ == parser.ERROR {
				break
			}
			parts += weight(item)
			instructions += regexpSize(item)
		}
	}
	if parts > maxParts {
		return fmt.Errorf("it has %d operators and brackets, at most %d are allowed", parts, maxParts)
	}
	if instructions > maxRegexp {
		return fmt.Errorf("its regular expressions repeat too much: they have %d instructions, at most %d are allowed", instructions, maxRegexp)
	}
	return nil
}

func weight(item parser.Item) int {
	if item.Typ.IsOperator() || item.Typ == parser.LEFT_PAREN || item.Typ == parser.LEFT_BRACKET {
		return 1
	}
	return 0
}

// regexpSize returns about how many instructions a text has as a regular expression,
// whether it is meant for one or not.
func regexpSize(item parser.Item) int {
	if item.Typ != parser.STRING {
		return 0
	}
	text, err := strutil.Unquote(item.Val)
	if err != nil {
		return 0 // the parser stops here, too
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0 // what cannot be parsed is not compiled
	}
	return instructions(parsed)
}

// instructions multiplies repetitions out, as the compiler does. Its depth is bounded
// by the package: 1000.
func instructions(r *syntax.Regexp) int {
	sum := max(1, len(r.Rune))
	if r.Op == syntax.OpCharClass {
		sum = 1 + len(r.Rune)/8 // a table beside the instruction
	}
	for _, sub := range r.Sub {
		sum += instructions(sub)
	}
	if r.Op == syntax.OpRepeat {
		sum *= max(1, r.Min, r.Max)
	}
	return min(sum, maxRegexp+1) // beyond, it does not matter how far
}
