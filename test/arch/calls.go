package arch

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// emptyStart matches the openings that tell a reader only that the text is an
// error.
var emptyStart = regexp.MustCompile(`(?i)^(failed|unable|could ?n[o']t|can ?not|can't)\b`)

func checkErrorText(tree *Tree, report report) {
	for _, file := range tree.handWritten() {
		ast.Inspect(file.ast, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 || !makesError(file, call.Fun) {
				return true
			}
			text := messageText(call.Args[0])
			if emptyStart.MatchString(text) || strings.Contains(strings.ToLower(text), "failed to") {
				report(file.Path, tree.line(call.Args[0]), "%q: say `verb object: %%w`, that it is an error is known", text)
			}
			return true
		})
	}
}

func makesError(file *File, fun ast.Expr) bool {
	return isMember(file, fun, member{"errors", "New"}) || isMember(file, fun, member{"fmt", "Errorf"})
}

// messageText returns the text of a string expression, with a verb in place
// of every part that is not a literal.
func messageText(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.BasicLit:
		if expr.Kind == token.STRING {
			text, _ := strconv.Unquote(expr.Value) // the parser has checked it
			return text
		}
	case *ast.BinaryExpr:
		if expr.Op == token.ADD {
			return messageText(expr.X) + messageText(expr.Y)
		}
	case *ast.ParenExpr:
		return messageText(expr.X)
	}
	return "%v"
}

func checkSleep(tree *Tree, report report) {
	eachSelector(tree, func(file *File, sel *ast.SelectorExpr) {
		if isMember(file, sel, member{"time", "Sleep"}) {
			report(file.Path, tree.line(sel), "time.Sleep: wait on the condition with a deadline, or on a timer that Close ends")
		}
	})
}

// checkSkip makes every skip go through the test kit, which refuses to skip
// where the kernel has the feature.
func checkSkip(tree *Tree, report report) {
	eachSelector(tree, func(file *File, sel *ast.SelectorExpr) {
		isSkip := slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name)
		if isSkip && file.place() != (place{internalRoom, testkit}) && isTestHandle(file, sel.X) {
			report(file.Path, tree.line(sel), "%s: call one of testkit.Need*, which knows when a skip is a defect", sel.Sel.Name)
		}
	})
}

// isTestHandle tells whether an expression is a *testing.T and the like: by
// its declaration where that is in sight, else by the usual name of a field.
func isTestHandle(file *File, expr ast.Expr) bool {
	testing := file.importName("testing")
	if testing == "" {
		return false
	}
	switch expr := expr.(type) {
	case *ast.Ident:
		typ := declaredType(declOf(expr))
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		sel, ok := typ.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		pkg := rootOf(sel)
		return pkg != nil && pkg.Name == testing
	case *ast.SelectorExpr:
		return slices.Contains([]string{"t", "tb", "T", "B", "F", "TB"}, expr.Sel.Name)
	}
	return false
}

// declaredType returns the written type of a parameter or variable, or nil.
func declaredType(decl any) ast.Expr {
	switch decl := decl.(type) {
	case *ast.Field:
		return decl.Type
	case *ast.ValueSpec:
		return decl.Type
	}
	return nil
}

// setters lists what changes the runtime for every component in the process.
var setters = []member{
	{"runtime/debug", "SetGCPercent"},
	{"runtime/debug", "SetMemoryLimit"},
	{"runtime", "GOMAXPROCS"},
}

// checkRuntimeSetter finds uses of the setters except the calls that only ask.
func checkRuntimeSetter(tree *Tree, report report) {
	for _, file := range tree.handWritten() {
		queries := map[ast.Expr]bool{}
		ast.Inspect(file.ast, func(node ast.Node) bool {
			if call, ok := node.(*ast.CallExpr); ok && asksOnly(file, call) {
				queries[call.Fun] = true
			}
			sel, ok := node.(*ast.SelectorExpr)
			isSetter := func(m member) bool { return isMember(file, sel, m) }
			if ok && !queries[sel] && slices.ContainsFunc(setters, isSetter) {
				report(file.Path, tree.line(sel), "%s is process-wide: unit files, images and make run set it", sel.Sel.Name)
			}
			return true
		})
	}
}

// asksOnly knows the two documented queries: GOMAXPROCS with a number below
// one and SetMemoryLimit with a negative number. SetGCPercent has none.
func asksOnly(file *File, call *ast.CallExpr) bool {
	if len(call.Args) != 1 {
		return false
	}
	negative, isNegative := call.Args[0].(*ast.UnaryExpr)
	isNegative = isNegative && negative.Op == token.SUB
	zero, isZero := call.Args[0].(*ast.BasicLit)
	isZero = isZero && zero.Value == "0"
	return isMember(file, call.Fun, member{"runtime", "GOMAXPROCS"}) && (isZero || isNegative) ||
		isMember(file, call.Fun, member{"runtime/debug", "SetMemoryLimit"}) && isNegative
}

// member is an exported name of another package.
type member struct{ importPath, name string }

// isMember tells whether an expression is that name as the file knows it.
func isMember(file *File, expr ast.Expr, m member) bool {
	sel, ok := expr.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != m.name {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && !resolvedLocally(pkg) && pkg.Name == file.importName(m.importPath)
}

func eachSelector(tree *Tree, yield func(*File, *ast.SelectorExpr)) {
	for _, file := range tree.handWritten() {
		ast.Inspect(file.ast, func(node ast.Node) bool {
			if sel, ok := node.(*ast.SelectorExpr); ok {
				yield(file, sel)
			}
			return true
		})
	}
}
