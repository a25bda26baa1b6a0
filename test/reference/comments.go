package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// comments finds what the sources say of the fields of structs.
type comments struct {
	root    string
	folders map[string]map[string]declaration // by package, by name of the type
}

// declaration is a struct type and what is said of it.
type declaration struct {
	doc    string
	fields *ast.FieldList
}

func newComments(root string) *comments {
	return &comments{root: root, folders: map[string]map[string]declaration{}}
}

// of returns the text of each field of a struct type, by the field's Go name.
func (c *comments) of(t reflect.Type) (map[string]string, error) {
	types, err := c.types(t.PkgPath())
	if err != nil {
		return nil, err
	}
	declared, found := types[t.Name()]
	if !found {
		return nil, fmt.Errorf("no type %s in the sources", t)
	}
	keys := map[string]string{}
	for _, field := range declared.fields.List {
		for _, name := range field.Names {
			keys[name.Name] = key(field)
		}
	}
	texts := map[string]string{}
	last := ""
	for _, field := range declared.fields.List {
		doc := field.Doc.Text()
		if doc == "" {
			doc = field.Comment.Text()
		}
		for _, name := range field.Names {
			// One comment may be for several fields, which it names.
			if doc == "" && word(name.Name).MatchString(last) {
				doc = last
			}
			texts[name.Name] = sentence(doc, name.Name, keys)
		}
		last = doc
	}
	return texts, nil
}

// block returns what is said of a struct type itself.
func (c *comments) block(t reflect.Type) (string, error) {
	types, err := c.types(t.PkgPath())
	if err != nil {
		return "", err
	}
	return sentence(types[t.Name()].doc, t.Name(), nil), nil
}

// types are the structs that a package declares.
func (c *comments) types(pkg string) (map[string]declaration, error) {
	if types, known := c.folders[pkg]; known {
		return types, nil
	}
	dir := filepath.Join(c.root, strings.TrimPrefix(pkg, module))
	if !strings.HasPrefix(pkg, module) {
		list := exec.Command("go", "list", "-f", "{{.Dir}}", pkg)
		list.Dir = c.root
		found, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("go list %s: %w", pkg, err)
		}
		dir = strings.TrimSpace(string(found))
	}
	files, err := parse(dir)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", pkg, err)
	}
	types := map[string]declaration{}
	for _, file := range files {
		for _, decl := range file.Decls {
			if group, isGroup := decl.(*ast.GenDecl); isGroup && group.Tok == token.TYPE {
				declareTypes(group, types)
			}
		}
	}
	c.folders[pkg] = types
	return types, nil
}

// parse reads the sources of one folder without regard to build constraints.
func parse(dir string) ([]*ast.File, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func declareTypes(group *ast.GenDecl, types map[string]declaration) {
	for _, one := range group.Specs {
		spec := one.(*ast.TypeSpec)
		if declared, isStruct := spec.Type.(*ast.StructType); isStruct {
			types[spec.Name.Name] = declaration{group.Doc.Text(), declared.Fields}
		}
	}
}

// key is what a field is called in YAML.
func key(field *ast.Field) string {
	if field.Tag == nil {
		return ""
	}
	tag, err := strconv.Unquote(field.Tag.Value)
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(reflect.StructTag(tag).Get("mapstructure"), ",")
	return name
}

func word(name string) *regexp.Regexp { return regexp.MustCompile(`\b` + name + `\b`) }

// links are references to Go names in comments.
var links = regexp.MustCompile(`\[([A-Za-z.]+)\]`)

// sentence turns a Go comment into a cell of a table: without the field's name in
// front, with YAML's names of all other fields.
func sentence(doc, name string, keys map[string]string) string {
	text := strings.Join(strings.Fields(doc), " ")
	for _, verb := range []string{" is ", " are ", " "} {
		rest, found := strings.CutPrefix(text, name+verb)
		if found && !strings.HasPrefix(rest, "and ") {
			text = rest
			break
		}
	}
	for field, key := range keys {
		if key != "" {
			text = word(field).ReplaceAllString(text, "`"+key+"`")
		}
	}
	text = links.ReplaceAllString(text, "$1")
	return strings.ReplaceAll(text, "|", "\\|")
}
