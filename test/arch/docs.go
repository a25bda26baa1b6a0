package arch

import (
	"go/ast"
	"maps"
	"slices"
	"strings"
)

// minSentence is the number of words below which a package comment says no
// more than the name of the package: "Package x reads y." has four.
const minSentence = 4

func checkPackageDoc(tree *Tree, report report) {
	docs := map[string]*File{}
	for _, file := range tree.handWritten() {
		dir := file.dir()
		switch _, known := docs[dir]; {
		case file.base() == "doc.go":
			docs[dir] = file
		case !known:
			docs[dir] = nil
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(docs)) {
		file := docs[dir]
		if file == nil {
			report(dir+"/doc.go", 1, "the package has no doc.go")
			continue
		}
		if want := packageDocStart(file.ast.Name.Name); !opensWithSentence(file.ast.Doc, want) {
			report(file.Path, tree.line(file.ast.Name), "the package comment is not a full sentence that begins with %q", want)
		}
	}
}

func packageDocStart(name string) string {
	if name == "main" {
		return "Command "
	}
	return "Package " + name + " "
}

// opensWithSentence looks at the text up to the first full stop that ends a
// word, which is where go doc cuts too.
func opensWithSentence(doc *ast.CommentGroup, start string) bool {
	text := strings.Join(strings.Fields(doc.Text()), " ") + " "
	sentence, _, ended := strings.Cut(text, ". ")
	return ended && strings.HasPrefix(sentence, start) && len(strings.Fields(sentence)) >= minSentence
}

// checkExportedDoc asks for a comment on what other packages can name:
// declarations at package level and methods of exported types.
func checkExportedDoc(tree *Tree, report report) {
	for _, file := range tree.handWritten() {
		room := file.place().room
		if file.isTest() || room != internalRoom && room != componentRoom {
			continue
		}
		for _, name := range undocumented(file.ast) {
			report(file.Path, tree.line(name), "exported %s has no doc comment", name.Name)
		}
	}
}

func undocumented(file *ast.File) []*ast.Ident {
	var names []*ast.Ident
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if isReachable(decl) && decl.Doc.Text() == "" {
				names = append(names, decl.Name)
			}
		case *ast.GenDecl:
			names = append(names, undocumentedSpecs(decl)...)
		}
	}
	return names
}

// isReachable tells whether go doc lists the function or method.
func isReachable(fn *ast.FuncDecl) bool {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.IsExported()
	}
	return fn.Name.IsExported() && ast.IsExported(typeName(fn.Recv.List[0].Type))
}

// undocumentedSpecs accepts one comment for a whole block of constants or
// variables, and a comment at the end of the line; a type has its own.
func undocumentedSpecs(decl *ast.GenDecl) []*ast.Ident {
	var names []*ast.Ident
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			shared := len(decl.Specs) == 1 && decl.Doc.Text() != ""
			if spec.Name.IsExported() && !shared && spec.Doc.Text() == "" && spec.Comment.Text() == "" {
				names = append(names, spec.Name)
			}
		case *ast.ValueSpec:
			if decl.Doc.Text() != "" || spec.Doc.Text() != "" || spec.Comment.Text() != "" {
				continue
			}
			names = append(names, exportedOf(spec)...)
		}
	}
	return names
}

func exportedOf(spec *ast.ValueSpec) []*ast.Ident {
	return slices.DeleteFunc(slices.Clone(spec.Names), func(name *ast.Ident) bool { return !name.IsExported() })
}

// typeName returns the name of a defined type behind pointers, parentheses
// and type arguments, or "" if there is none.
func typeName(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.Ident:
		return expr.Name
	case *ast.StarExpr:
		return typeName(expr.X)
	case *ast.ParenExpr:
		return typeName(expr.X)
	case *ast.IndexExpr:
		return typeName(expr.X)
	case *ast.IndexListExpr:
		return typeName(expr.X)
	}
	return ""
}
