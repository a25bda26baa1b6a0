package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/vm"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// Templates. Within a string, what stands between two backticks is an expression
// and is replaced by its value; \` is a backtick. A string that is one expression
// and nothing else takes the value with its type:
//
//	endpoint: 'http://`endpoint`/status'    -> "http://10.0.0.2:80/status"
//	port: '`port`'                          -> 80
//
// Keys of maps are taken as they are. Errors say where an expression begins and what
// is wrong, and quote nothing of the value: it may be a secret, by ${env:...}.

// deepest bounds the nesting of a configuration, far above what receivers have.
const deepest = 50

// node is one value of a configuration, compiled.
type node interface {
	fill(*vm.VM, *target.Env) (any, error)
}

// constant is a value without templates.
type constant struct{ value any }

func (c constant) fill(*vm.VM, *target.Env) (any, error) { return c.value, nil }

// mapNode is in the order of the keys, so that errors come in the same one.
type mapNode []member

type member struct {
	key   string
	value node
}

func (m mapNode) fill(machine *vm.VM, env *target.Env) (any, error) {
	filled := make(map[string]any, len(m))
	for _, one := range m {
		value, err := one.value.fill(machine, env)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.key, err)
		}
		filled[one.key] = value
	}
	return filled, nil
}

type listNode []node

func (l listNode) fill(machine *vm.VM, env *target.Env) (any, error) {
	filled := make([]any, 0, len(l))
	for i, one := range l {
		value, err := one.fill(machine, env)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", i, err)
		}
		filled = append(filled, value)
	}
	return filled, nil
}

// template is a string with expressions.
type template []part

// part is literal text, or an expression if program is set.
type part struct {
	text    string
	program *vm.Program
	at      int // the expression's first byte in the string, counted from 1
}

func (t template) fill(machine *vm.VM, env *target.Env) (any, error) {
	if len(t) == 1 {
		return t[0].value(machine, env)
	}
	var b strings.Builder
	for _, p := range t {
		value, err := p.value(machine, env)
		if err != nil {
			return nil, err
		}
		fmt.Fprint(&b, value)
	}
	return b.String(), nil
}

func (p part) value(machine *vm.VM, env *target.Env) (any, error) {
	if p.program == nil {
		return p.text, nil
	}
	value, err := run(machine, p.program, env)
	if err == nil {
		value, err = plain(value)
	}
	if err != nil {
		return nil, fmt.Errorf("expression at byte %d: %w", p.at, err)
	}
	return value, nil
}

// plain brings a value into the types that configurations have.
func plain(value any) (any, error) {
	switch v := value.(type) {
	case string, bool, int, int64, float64:
		return v, nil
	case []string:
		return list(v), nil
	case []int:
		return list(v), nil
	case map[string]string:
		return asAny(v), nil
	case []any:
		filled := make([]any, 0, len(v))
		for _, one := range v {
			p, err := plain(one)
			if err != nil {
				return nil, err
			}
			filled = append(filled, p)
		}
		return filled, nil
	case nil:
		return nil, errors.New("gives nothing")
	}
	return nil, fmt.Errorf("gives a %T, which no setting can be", value)
}

func list[T any](values []T) []any {
	all := make([]any, 0, len(values))
	for _, v := range values {
		all = append(all, v)
	}
	return all
}

// compileMap compiles a configuration; path is where it stands, for errors.
func compileMap(config map[string]any, path string) (mapNode, error) {
	n, err := compileNode(config, path, 0)
	if err != nil {
		return nil, err
	}
	return n.(mapNode), nil
}

func compileNode(value any, path string, depth int) (node, error) {
	if depth > deepest {
		return nil, fmt.Errorf("compile %s: is nested more than %d deep", path, deepest)
	}
	switch v := value.(type) {
	case string:
		t, err := compileTemplate(v)
		if err != nil {
			return nil, fmt.Errorf("compile %s: %w", path, err)
		}
		return t, nil
	case map[string]any:
		return compileMembers(v, path, depth)
	case []any:
		return compileList(v, path, depth)
	case []string:
		return compileList(list(v), path, depth)
	}
	return constant{value}, nil
}

func compileMembers(config map[string]any, path string, depth int) (node, error) {
	m := make(mapNode, 0, len(config))
	var errs []error
	for key, value := range config {
		n, err := compileNode(value, path+"::"+key, depth+1)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m = append(m, member{key, n})
	}
	slices.SortFunc(m, func(a, b member) int { return strings.Compare(a.key, b.key) })
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return m, errors.Join(errs...)
}

func compileList(values []any, path string, depth int) (node, error) {
	l := make(listNode, 0, len(values))
	for i, value := range values {
		n, err := compileNode(value, fmt.Sprintf("%s::%d", path, i), depth+1)
		if err != nil {
			return nil, err
		}
		l = append(l, n)
	}
	return l, nil
}

// compileTemplate takes a string apart. Literal parts are never empty, so that
// one part is the whole string.
func compileTemplate(text string) (template, error) {
	var parts template
	var literal strings.Builder
	for rest := text; rest != ""; {
		if strings.HasPrefix(rest, "\\`") {
			literal.WriteByte('`')
			rest = rest[2:]
			continue
		}
		if rest[0] != '`' {
			literal.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		source, after, closed := strings.Cut(rest[1:], "`")
		if !closed {
			return nil, fmt.Errorf("backtick at byte %d is not closed (\\` is a literal one)", len(text)-len(rest)+1)
		}
		at := len(text) - len(rest) + 2 // behind the backtick
		p, err := compilePart(source, at)
		if err != nil {
			return nil, err
		}
		parts = append(appendLiteral(parts, &literal), p)
		rest = after
	}
	parts = appendLiteral(parts, &literal)
	if len(parts) == 0 {
		return template{{}}, nil // the empty string
	}
	return parts, nil
}

func compilePart(source string, at int) (part, error) {
	if strings.TrimSpace(source) == "" {
		return part{}, errors.New("expression between backticks is empty")
	}
	program, err := compile(source)
	if err != nil {
		return part{}, fmt.Errorf("expression at byte %d: %w", at, discreet(err))
	}
	return part{program: program, at: at}, nil
}

func appendLiteral(parts template, literal *strings.Builder) template {
	if literal.Len() == 0 {
		return parts
	}
	parts = append(parts, part{text: literal.String()})
	literal.Reset()
	return parts
}
