package arch

import (
	"go/ast"
	"go/token"
	"slices"
)

// stateOwners lists who in internal/ may keep mutable state at package level.
var stateOwners = []string{"hostview", testkit}

// processState lists variables, by file, of what the process itself has, and every
// reload of the configuration finds again.
var processState = map[string]string{
	// Descriptors that the service manager hands over, once.
	"receiver/udsstatsdreceiver/factory.go": "inherited",
}

// stateful lists the packages whose types are there to be changed: a value of
// them at package level is state, whether or not a function assigns to it.
// A nil list means every name of the package.
var stateful = map[string][]string{
	"sync":        nil,
	"sync/atomic": nil,
	"flag":        nil,
	"bytes":       {"Buffer", "NewBuffer", "NewBufferString"},
	"strings":     {"Builder"},
}

// checkState finds package-level variables that change after initialisation,
// or that can only be there to change.
func checkState(tree *Tree, report report) {
	for _, scope := range scopes(tree) {
		if scope.place.room == internalRoom && slices.Contains(stateOwners, scope.place.name) {
			continue
		}
		for _, v := range scope.sorted {
			if v.file.Generated || processState[v.file.Path] == v.ident.Name {
				continue
			}
			if what := scope.stateOf(v); what != "" {
				report(v.file.Path, tree.line(v.ident), "package-level %s is state: %s", v.ident.Name, what)
			}
		}
		for _, file := range scope.files {
			if !file.Generated {
				scope.checkChanges(tree, file, report)
			}
		}
	}
}

// stateOf returns why a variable is state by its declaration alone, or "".
func (s *scope) stateOf(v *variable) string {
	if isEmptyMap(v) {
		return "an empty map can only be there to be filled"
	}
	for _, expr := range []ast.Expr{v.spec.Type, v.value} {
		if what := s.holds(expr, v.file, map[string]bool{}); what != "" {
			return "holds " + what
		}
	}
	return ""
}

func isEmptyMap(v *variable) bool {
	if v.value == nil {
		return isMap(v.spec.Type)
	}
	switch value := v.value.(type) {
	case *ast.CompositeLit:
		return isMap(value.Type) && len(value.Elts) == 0
	case *ast.CallExpr:
		return isBuiltin(value.Fun, "make") && isMap(value.Args[0])
	}
	return false
}

func isMap(expr ast.Expr) bool {
	_, ok := expr.(*ast.MapType)
	return ok
}

// holds returns the first stateful thing in an expression or, followed
// through the types and constructors of the package, in the type it builds.
func (s *scope) holds(expr ast.Expr, file *File, seen map[string]bool) string {
	if expr == nil {
		return ""
	}
	var what string
	ast.Inspect(expr, func(node ast.Node) bool {
		if what != "" {
			return false
		}
		switch node := node.(type) {
		case *ast.FuncType, *ast.FuncLit, *ast.InterfaceType:
			return false // mentions types, holds no value of them
		case *ast.ChanType:
			what = "a channel"
		case *ast.KeyValueExpr:
			what = s.holds(node.Value, file, seen)
			return false // a key may be spelled like a type
		case *ast.Field:
			what = s.holds(node.Type, file, seen)
			return false // and so may the name of a field
		case *ast.SelectorExpr:
			what = statefulName(node, file)
			return false
		case *ast.CallExpr:
			what = s.holdsResult(node, seen)
		case *ast.Ident:
			what = s.holdsNamed(node, seen)
		}
		return true
	})
	return what
}

func (s *scope) holdsNamed(ident *ast.Ident, seen map[string]bool) string {
	if seen[ident.Name] {
		return ""
	}
	seen[ident.Name] = true
	if def, ok := s.types[ident.Name]; ok {
		return s.holds(def.spec.Type, def.file, seen)
	}
	return ""
}

// holdsResult looks into what a function of the package returns.
func (s *scope) holdsResult(call *ast.CallExpr, seen map[string]bool) string {
	def, ok := s.funcs[typeName(call.Fun)]
	if !ok || def.fn.Type.Results.NumFields() == 0 {
		return ""
	}
	return s.holds(def.fn.Type.Results.List[0].Type, def.file, seen)
}

func statefulName(sel *ast.SelectorExpr, file *File) string {
	pkg, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	for importPath, names := range stateful {
		if file.importName(importPath) == pkg.Name && (names == nil || slices.Contains(names, sel.Sel.Name)) {
			return pkg.Name + "." + sel.Sel.Name
		}
	}
	return ""
}

// checkChanges reports what the functions of a file do to variables.
func (s *scope) checkChanges(tree *Tree, file *File, report report) {
	for _, fn := range functions(file.ast) {
		changes(fn.node, func(target ast.Expr, how string) {
			ident := rootOf(target)
			switch {
			case ident == nil:
			case s.variableOf(ident) != nil:
				report(file.Path, tree.line(target), "%s %s package-level %s", fn.name, how, ident.Name)
			case isForeignVariable(tree, file, target):
				report(file.Path, tree.line(target), "%s %s a variable of package %s", fn.name, how, ident.Name)
			}
		})
		s.eachMethodCall(fn.node, func(v *variable, method *ast.Ident) {
			if s.changing[methodKey{s.typeOf(v), method.Name}] {
				report(file.Path, tree.line(method), "%s changes package-level %s through %s", fn.name, v.ident.Name, method.Name)
			}
		})
	}
}

// isForeignVariable tells whether target is, or lies in, a variable of another
// package of the module.
func isForeignVariable(tree *Tree, file *File, target ast.Expr) bool {
	ident := rootOf(target)
	if ident == target || resolvedLocally(ident) {
		return false
	}
	return slices.ContainsFunc(file.ast.Imports, func(spec *ast.ImportSpec) bool {
		importPath := importedPath(spec)
		return within(importPath, tree.Module) && file.importName(importPath) == ident.Name
	})
}

// changes calls yield for every expression that a function body changes, with
// a verb: by assignment, by a built-in function, or by giving away its address.
func changes(fn ast.Node, yield func(target ast.Expr, how string)) {
	ast.Inspect(fn, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.AssignStmt:
			// What := declares is resolved as local, so it needs no exception.
			for _, target := range node.Lhs {
				yield(target, "assigns to")
			}
		case *ast.IncDecStmt:
			yield(node.X, "assigns to")
		case *ast.RangeStmt:
			if node.Tok == token.ASSIGN {
				yield(node.Key, "assigns to")
				yield(node.Value, "assigns to")
			}
		case *ast.CallExpr:
			if len(node.Args) > 0 && isBuiltin(node.Fun, "delete", "clear", "copy") {
				yield(node.Args[0], "changes")
			}
		case *ast.UnaryExpr:
			if node.Op == token.AND {
				yield(node.X, takesAddress)
			}
		}
		return true
	})
}

const takesAddress = "takes the address of"

func isBuiltin(fun ast.Expr, names ...string) bool {
	ident, ok := fun.(*ast.Ident)
	return ok && !resolvedLocally(ident) && slices.Contains(names, ident.Name)
}
