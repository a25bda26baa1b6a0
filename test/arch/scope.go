package arch

import (
	"cmp"
	"go/ast"
	"go/token"
	"maps"
	"slices"
)

// scope is what one package declares at package level. The files of an
// external test package form a scope of their own.
type scope struct {
	place    place
	files    []*File
	sorted   []*variable
	vars     map[string]*variable
	types    map[string]typeDefinition
	funcs    map[string]funcDefinition
	changing map[methodKey]bool
}

// variable is one name of a package-level var declaration.
type variable struct {
	ident *ast.Ident
	spec  *ast.ValueSpec
	value ast.Expr // nil without an initialiser
	file  *File
}

// typeDefinition is a package-level type and where it stands, because the
// names in it mean what that file imports.
type typeDefinition struct {
	spec *ast.TypeSpec
	file *File
}

// funcDefinition is a function that is no method, and where it stands.
type funcDefinition struct {
	fn   *ast.FuncDecl
	file *File
}

type methodKey struct{ typ, method string }

func scopes(tree *Tree) []*scope {
	type key struct{ dir, name string }
	found := map[key]*scope{}
	for _, file := range tree.Files {
		k := key{file.dir(), file.ast.Name.Name}
		if found[k] == nil {
			found[k] = &scope{
				place:    file.place(),
				vars:     map[string]*variable{},
				types:    map[string]typeDefinition{},
				funcs:    map[string]funcDefinition{},
				changing: map[methodKey]bool{},
			}
		}
		found[k].add(file)
	}
	byDir := func(a, b key) int { return cmp.Or(cmp.Compare(a.dir, b.dir), cmp.Compare(a.name, b.name)) }
	var list []*scope
	for _, k := range slices.SortedFunc(maps.Keys(found), byDir) {
		found[k].findChangingMethods()
		list = append(list, found[k])
	}
	return list
}

func (s *scope) add(file *File) {
	s.files = append(s.files, file)
	for _, decl := range file.ast.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				s.funcs[decl.Name.Name] = funcDefinition{decl, file}
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				s.addSpec(decl.Tok, spec, file)
			}
		}
	}
}

func (s *scope) addSpec(tok token.Token, spec ast.Spec, file *File) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		s.types[spec.Name.Name] = typeDefinition{spec, file}
	case *ast.ValueSpec:
		for i, ident := range spec.Names {
			if tok != token.VAR || ident.Name == "_" {
				continue
			}
			v := &variable{ident: ident, spec: spec, file: file}
			if len(spec.Values) > 0 {
				v.value = spec.Values[min(i, len(spec.Values)-1)]
			}
			s.vars[ident.Name] = v
			s.sorted = append(s.sorted, v)
		}
	}
}

// variableOf returns the package-level variable that ident means, or nil.
func (s *scope) variableOf(ident *ast.Ident) *variable {
	v := s.vars[ident.Name]
	if v == nil || declOf(ident) != nil && declOf(ident) != v.spec {
		return nil
	}
	return v
}

// typeOf returns the package's type that a variable has or points to, or "".
func (s *scope) typeOf(v *variable) string {
	if v.spec.Type != nil {
		return typeName(v.spec.Type)
	}
	value := v.value
	if address, ok := value.(*ast.UnaryExpr); ok {
		value = address.X
	}
	switch value := value.(type) {
	case *ast.CompositeLit:
		return typeName(value.Type)
	case *ast.CallExpr:
		def, ok := s.funcs[typeName(value.Fun)]
		if ok && def.fn.Type.Results.NumFields() > 0 {
			return typeName(def.fn.Type.Results.List[0].Type)
		}
	}
	return ""
}

// findChangingMethods notes which methods change their receiver, directly or
// by calling one that does.
func (s *scope) findChangingMethods() {
	for grown := true; grown; {
		grown = false
		for _, file := range s.files {
			for _, decl := range file.ast.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || fn.Recv == nil || len(fn.Recv.List) == 0 || len(fn.Recv.List[0].Names) == 0 {
					continue
				}
				key := methodKey{typeName(fn.Recv.List[0].Type), fn.Name.Name}
				if !s.changing[key] && s.changesReceiver(fn, key.typ) {
					s.changing[key], grown = true, true
				}
			}
		}
	}
}

func (s *scope) changesReceiver(fn *ast.FuncDecl, typ string) bool {
	receiver := fn.Recv.List[0]
	_, byPointer := receiver.Type.(*ast.StarExpr)
	found := false
	changes(fn, func(target ast.Expr, how string) {
		ident := rootOf(target)
		isReceiver := ident != nil && target != ident && declOf(ident) == receiver
		// Through a copy only what a map or slice in it refers to is changed.
		if isReceiver && how != takesAddress && (byPointer || isIndexed(target)) {
			found = true
		}
	})
	eachCall(fn, func(x, method *ast.Ident) {
		found = found || byPointer && declOf(x) == receiver && s.changing[methodKey{typ, method.Name}]
	})
	return found
}

// eachMethodCall calls yield for each call `v.method(...)` in fn where v is a
// package-level variable.
func (s *scope) eachMethodCall(fn ast.Node, yield func(v *variable, method *ast.Ident)) {
	eachCall(fn, func(x, method *ast.Ident) {
		if v := s.variableOf(x); v != nil {
			yield(v, method)
		}
	})
}

// eachCall calls yield for each call of the form `x.method(...)`.
func eachCall(fn ast.Node, yield func(x, method *ast.Ident)) {
	ast.Inspect(fn, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok {
					yield(x, sel.Sel)
				}
			}
		}
		return true
	})
}

// rootOf returns the name that an expression like (*a.b)[i].c begins with, or
// nil if it begins with something else.
func rootOf(expr ast.Expr) *ast.Ident {
	switch expr := expr.(type) {
	case *ast.Ident:
		return expr
	case *ast.SelectorExpr:
		return rootOf(expr.X)
	case *ast.IndexExpr:
		return rootOf(expr.X)
	case *ast.SliceExpr:
		return rootOf(expr.X)
	case *ast.StarExpr:
		return rootOf(expr.X)
	case *ast.ParenExpr:
		return rootOf(expr.X)
	}
	return nil
}

func isIndexed(expr ast.Expr) bool {
	found := false
	ast.Inspect(expr, func(node ast.Node) bool {
		_, isIndex := node.(*ast.IndexExpr)
		found = found || isIndex
		return !found
	})
	return found
}

// declOf returns the declaration in the same file that a name means, or nil
// for an imported package, a built-in, and what another file declares.
func declOf(ident *ast.Ident) any {
	// Within a file the parser's resolution is exact for everything but keys
	// of composite literals, and it needs no type information.
	if object := ident.Obj; object != nil {
		return object.Decl
	}
	return nil
}

func resolvedLocally(ident *ast.Ident) bool { return declOf(ident) != nil }
