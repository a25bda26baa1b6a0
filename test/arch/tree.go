package arch

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Tree is a parsed module.
type Tree struct {
	// Module is the module path of the root go.mod.
	Module string
	// Files are all Go files, generated ones included, ordered by path.
	Files []*File
	// BPF maps the path of each .bpf.c file to its number of lines.
	BPF map[string]int
	// Markdown are the paths of all .md files, ordered.
	Markdown []string

	root string
	fset *token.FileSet
}

// File is one Go file.
type File struct {
	// Path is the path below the root of the module, with slashes.
	Path string
	// Generated is set by the header line of the Go convention.
	Generated bool
	// Lines is the number of lines of the file.
	Lines int

	ast      *ast.File
	parseErr error
}

// Load parses the module whose go.mod is in root. A Go file that does not
// parse is no error but a finding of the rule "parse".
func Load(root string) (*Tree, error) {
	module, err := readModulePath(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	tree := &Tree{Module: module, BPF: map[string]int{}, root: root, fset: token.NewFileSet()}
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipDir(root, name)
		}
		return tree.add(name)
	})
	if err != nil {
		return nil, fmt.Errorf("walk %s: %w", root, err)
	}
	return tree, nil
}

// FindRoot returns the closest folder at or above dir that has a go.mod.
func FindRoot(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for up := dir; ; up = filepath.Dir(up) {
		if hasFile(filepath.Join(up, "go.mod")) {
			return up, nil
		}
		if up == filepath.Dir(up) {
			return "", fmt.Errorf("find go.mod at or above %s: %w", dir, fs.ErrNotExist)
		}
	}
}

func readModulePath(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read module path: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "module" {
			return strings.Trim(fields[1], `"`), nil
		}
	}
	return "", fmt.Errorf("read module path of %s: no module line", name)
}

// skipDir names the folders that the go command leaves out too, and nested
// modules, which have rules of their own.
func skipDir(root, name string) error {
	if name == root {
		return nil
	}
	base := filepath.Base(name)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "vendor" {
		return filepath.SkipDir
	}
	if hasFile(filepath.Join(name, "go.mod")) {
		return filepath.SkipDir
	}
	return nil
}

func (t *Tree) add(name string) error {
	if strings.HasSuffix(name, ".md") {
		rel, err := filepath.Rel(t.root, name)
		t.Markdown = append(t.Markdown, filepath.ToSlash(rel))
		return err
	}
	isGo := strings.HasSuffix(name, ".go") && !strings.HasPrefix(filepath.Base(name), ".") && !strings.HasPrefix(filepath.Base(name), "_")
	if !isGo && !strings.HasSuffix(name, ".bpf.c") {
		return nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(t.root, name)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	if !isGo {
		t.BPF[rel] = countLines(text)
		return nil
	}
	file := &File{Path: rel, Lines: countLines(text)}
	file.ast, file.parseErr = parser.ParseFile(t.fset, rel, text, parser.ParseComments)
	file.Generated = ast.IsGenerated(file.ast)
	t.Files = append(t.Files, file)
	return nil
}

// handWritten returns the files that the rules are about.
func (t *Tree) handWritten() []*File {
	var files []*File
	for _, file := range t.Files {
		if !file.Generated {
			files = append(files, file)
		}
	}
	return files
}

// line returns the line of a node, counted from 1.
func (t *Tree) line(node ast.Node) int {
	return t.fset.Position(node.Pos()).Line
}

// lines returns how many lines a node covers.
func (t *Tree) lines(node ast.Node) int {
	return t.fset.Position(node.End()).Line - t.line(node) + 1
}

// dir returns the folder below the root, "." for the root itself.
func (f *File) dir() string { return path.Dir(f.Path) }

// base returns the name of the file without its folder.
func (f *File) base() string { return path.Base(f.Path) }

// isTest tells whether only `go test` compiles the file.
func (f *File) isTest() bool { return strings.HasSuffix(f.Path, "_test.go") }

// importName returns the name under which the file knows the package, or ""
// if it does not import it. Guessing the name from the last element is right
// for the standard library and the module's own packages, the only ones asked for.
func (f *File) importName(importPath string) string {
	for _, spec := range f.ast.Imports {
		if importedPath(spec) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

func importedPath(spec *ast.ImportSpec) string {
	// The parser has already refused what does not unquote.
	unquoted, _ := strconv.Unquote(spec.Path.Value)
	return unquoted
}

func checkParse(tree *Tree, report report) {
	for _, file := range tree.Files {
		var list scanner.ErrorList
		switch {
		case errors.As(file.parseErr, &list):
			report(file.Path, list[0].Pos.Line, "%s", list[0].Msg)
		case file.parseErr != nil:
			report(file.Path, 1, "%v", file.parseErr)
		}
	}
}

func countLines(text []byte) int {
	n := bytes.Count(text, []byte{'\n'})
	if len(text) > 0 && text[len(text)-1] != '\n' {
		n++
	}
	return n
}

func hasFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
