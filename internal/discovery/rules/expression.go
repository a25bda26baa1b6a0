package rules

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

const (
	// mostNodes is some twenty times what the longest rule in receiver_creator's
	// documents has.
	mostNodes = 500
	// memoryBudget is in expr's unit, elements of what is built: lists, maps and
	// strings. A container has at most some hundreds of labels and ports.
	memoryBudget = 10_000
	// longestExpression is in bytes, so that a file given by mistake is refused
	// before it is parsed.
	longestExpression = 16 << 10
)

// compileMatch compiles a condition.
func compileMatch(text string) (*vm.Program, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("compile rule: is empty (true starts the receiver for every container)")
	}
	program, err := compile(text, expr.AsBool())
	if err != nil {
		return nil, fmt.Errorf("compile rule: %w", placed(err))
	}
	return program, nil
}

// What is wrong with an expression beside what expr says.
var (
	errLong  = fmt.Errorf("is longer than %d bytes", longestExpression)
	errRange = errors.New("has a range (..) that does not stand behind in")
)

// compile checks names and types against [target.Env]. What changes with the
// time alone is not known to rules: nobody would evaluate them again.
func compile(text string, more ...expr.Option) (*vm.Program, error) {
	if len(text) > longestExpression {
		return nil, errLong
	}
	ranges := &rangeCheck{}
	options := append([]expr.Option{
		expr.Env(&target.Env{}),
		expr.MaxNodes(mostNodes),
		expr.DisableBuiltin("now"),
		expr.Patch(ranges),
	}, more...)
	program, err := expr.Compile(text, options...)
	if err != nil {
		return nil, err
	}
	if ranges.free() {
		return nil, errRange
	}
	return program, nil
}

// rangeCheck counts ranges. Walked over, a range costs time that no budget
// counts once the compiler has made a constant of it; behind "in" it is compared.
type rangeCheck struct {
	all, behindIn []ast.Node
}

// Visit implements ast.Visitor.
func (c *rangeCheck) Visit(node *ast.Node) {
	binary, ok := (*node).(*ast.BinaryNode)
	if !ok {
		return
	}
	switch binary.Operator {
	case "..":
		c.all = append(c.all, binary)
	case "in":
		if right, ok := binary.Right.(*ast.BinaryNode); ok && right.Operator == ".." {
			c.behindIn = append(c.behindIn, right)
		}
	}
}

// free tells of a range elsewhere. A tree may be walked more than once, each
// time in whole.
func (c *rangeCheck) free() bool { return len(c.all) != len(c.behindIn) }

// placed puts an error of the compiler or the machine on one line.
func placed(err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return err
	}
	if at.Line == 0 {
		return errors.New(at.Message)
	}
	return fmt.Errorf("line %d, column %d: %s", at.Line, at.Column+1, at.Message)
}

// faults are the beginnings of what expr says that quote nothing.
var faults = []string{
	"unknown name", "unknown operator", "unexpected token", "unexpected end", "unrecognized character",
	"invalid operation", "invalid argument", "cannot use", "cannot fetch", "cannot get", "cannot slice",
	"not enough arguments", "too many arguments", "index out of range", "literal not terminated",
	"memory budget exceeded", "expression exceeds maximum allowed nodes", "has no field", "is not callable",
	"invalid syntax", "value out of range",
}

// discreet is placed without what expr quotes: what stands in a template may be a part
// of a secret that has a backtick, and what an expression was computing with is the
// container's.
func discreet(err error) error {
	if errors.Is(err, errLong) || errors.Is(err, errRange) {
		return err
	}
	what := "cannot be evaluated"
	for _, fault := range faults {
		if strings.Contains(err.Error(), fault) {
			what = fault
			break
		}
	}
	var at *file.Error
	if !errors.As(err, &at) || at.Line == 0 {
		return errors.New(what)
	}
	return fmt.Errorf("line %d, column %d: %s", at.Line, at.Column+1, what)
}

// newMachine returns what runs programs, for one goroutine.
func newMachine() *vm.VM { return &vm.VM{MemoryBudget: memoryBudget} }

func run(machine *vm.VM, program *vm.Program, env *target.Env) (any, error) {
	value, err := machine.Run(program, env)
	if err != nil {
		return nil, discreet(err)
	}
	return value, nil
}
