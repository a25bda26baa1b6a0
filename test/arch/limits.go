package arch

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
)

// The limits of STYLE.md, section 2.
const (
	maxFileLines  = 500
	maxBPFLines   = 300
	maxFuncLines  = 70
	maxParameters = 4
	maxComplexity = 15
)

func checkFileLength(tree *Tree, report report) {
	for _, file := range tree.handWritten() {
		if file.Lines > maxFileLines {
			report(file.Path, 1, "%d lines, at most %d", file.Lines, maxFileLines)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tree.BPF)) {
		if tree.BPF[name] > maxBPFLines {
			report(name, 1, "%d lines, at most %d", tree.BPF[name], maxBPFLines)
		}
	}
}

func checkFuncLength(tree *Tree, report report) {
	for _, file := range tree.handWritten() {
		for _, fn := range functions(file.ast) {
			if n := tree.lines(fn.node); n > maxFuncLines {
				report(file.Path, tree.line(fn.node), "%s has %d lines, at most %d", fn.name, n, maxFuncLines)
			}
		}
	}
}

// checkParameters looks at every parameter list: of functions, methods,
// literals, function types and interface methods.
func checkParameters(tree *Tree, report report) {
	for _, file := range tree.handWritten() {
		ast.Inspect(file.ast, func(node ast.Node) bool {
			if typ, ok := node.(*ast.FuncType); ok && typ.Params.NumFields() > maxParameters {
				report(file.Path, tree.line(typ.Params), "%d parameters, at most %d: a fifth becomes an options struct", typ.Params.NumFields(), maxParameters)
			}
			return true
		})
	}
}

func checkComplexity(tree *Tree, report report) {
	for _, file := range tree.handWritten() {
		for _, fn := range functions(file.ast) {
			if n := complexity(fn.node); n > maxComplexity {
				report(file.Path, tree.line(fn.node), "%s has a cyclomatic complexity of %d, at most %d", fn.name, n, maxComplexity)
			}
		}
	}
}

// complexity counts the ways through a function as gocyclo does: one, and one
// more for each branch, loop, case and short-circuit operator. Function
// literals count towards the function that they are written in.
func complexity(fn ast.Node) int {
	n := 1
	ast.Inspect(fn, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			n += countIf(node.List != nil)
		case *ast.CommClause:
			n += countIf(node.Comm != nil)
		case *ast.BinaryExpr:
			n += countIf(node.Op == token.LAND || node.Op == token.LOR)
		}
		return true
	})
	return n
}

func countIf(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func checkInit(tree *Tree, report report) {
	for _, file := range tree.handWritten() {
		for _, decl := range file.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				report(file.Path, tree.line(fn), "package initialisers run before anybody can see an error: make it a function that is called")
			}
		}
	}
}

// function is a declared function, or a literal at package level.
type function struct {
	name string
	node ast.Node
}

// functions returns the outermost functions of a file. Literals inside them
// are part of them.
func functions(file *ast.File) []function {
	var found []function
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.FuncDecl:
			found = append(found, function{node.Name.Name, node})
			return false
		case *ast.FuncLit:
			found = append(found, function{"function literal", node})
			return false
		}
		return true
	})
	return found
}
