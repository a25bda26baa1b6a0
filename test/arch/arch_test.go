package arch_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/tallymanhq/tallyman/test/arch"
)

// TestRepository runs every rule on the module that this file is part of.
func TestRepository(t *testing.T) {
	root, err := arch.FindRoot(".")
	require.NoError(t, err)
	tree, err := arch.Load(root)
	require.NoError(t, err)
	isSelf := func(file *arch.File) bool { return file.Path == "test/arch/arch_test.go" }
	require.True(t, slices.ContainsFunc(tree.Files, isSelf), "%s is not the module of this test", root)

	for _, rule := range arch.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			for _, violation := range rule.Check(tree) {
				t.Error(violation)
			}
		})
	}
}

// TestRules runs one rule on each small module below testdata. The folder
// names the rule; the text before the first file lists what the rule must
// report as `want file:line: rule: detail`, and it must report nothing else.
func TestRules(t *testing.T) {
	for _, rule := range arch.Rules() {
		fixtures, err := filepath.Glob(filepath.Join("testdata", rule.Name, "*.txtar"))
		require.NoError(t, err)
		caught := false
		for _, fixture := range fixtures {
			archive, err := txtar.ParseFile(fixture)
			require.NoError(t, err)
			want := wanted(archive)
			caught = caught || len(want) > 0
			t.Run(rule.Name+"/"+strings.TrimSuffix(filepath.Base(fixture), ".txtar"), func(t *testing.T) {
				got := findings(t, rule, archive)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: -want +got\n%s\nall of got:\n%s", fixture, diff, strings.Join(got, "\n"))
				}
			})
		}
		if !caught {
			t.Errorf("no fixture shows that the rule %s can fail", rule.Name)
		}
	}
}

// TestFixtureFolders catches a fixture that no rule picks up.
func TestFixtureFolders(t *testing.T) {
	folders, err := os.ReadDir("testdata")
	require.NoError(t, err)
	for _, folder := range folders {
		isNamed := func(rule arch.Rule) bool { return rule.Name == folder.Name() }
		if !slices.ContainsFunc(arch.Rules(), isNamed) {
			t.Errorf("testdata/%s is named after no rule", folder.Name())
		}
	}
}

// TestEmptyComponentFolder is no fixture because an archive, like git, has no
// empty folders.
func TestEmptyComponentFolder(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "go.mod"), []byte("module m\n"))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "receiver", "left"), 0o755))
	tree, err := arch.Load(root)
	require.NoError(t, err)
	for _, rule := range arch.Rules() {
		if found := rule.Check(tree); len(found) > 0 {
			t.Errorf("an empty folder breaks %s: %v", rule.Name, found)
		}
	}
}

func TestFindRoot(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b")
	require.NoError(t, os.MkdirAll(deep, 0o755))
	if root, err := arch.FindRoot(deep); err == nil {
		t.Fatalf("found go.mod in %s above an empty folder", root)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module m\n"), 0o644))
	root, err := arch.FindRoot(deep)
	require.NoError(t, err)
	if root != dir {
		t.Errorf("root is %s, want %s", root, dir)
	}
}

func TestLoadNeedsModule(t *testing.T) {
	dir := t.TempDir()
	if _, err := arch.Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load without go.mod: %v", err)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("go 1.26\n"), 0o644))
	if _, err := arch.Load(dir); err == nil {
		t.Error("a go.mod without a module line was taken")
	}
}

func wanted(archive *txtar.Archive) []string {
	var want []string
	lines := bufio.NewScanner(bytes.NewReader(archive.Comment))
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "want "); ok {
			want = append(want, text)
		}
	}
	return want
}

// findings unpacks the archive as a module of its own and runs the rule on it.
func findings(t *testing.T, rule arch.Rule, archive *txtar.Archive) []string {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "go.mod"), []byte("module example.com/m\n"))
	for _, file := range archive.Files {
		write(t, filepath.Join(root, filepath.FromSlash(file.Name)), expand(t, file.Data))
	}
	tree, err := arch.Load(root)
	require.NoError(t, err)
	var got []string
	for _, violation := range rule.Check(tree) {
		got = append(got, violation.String())
	}
	return got
}

// expand replaces each line `//lines N` by N lines, which keeps fixtures about
// length short.
func expand(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		if count, ok := bytes.CutPrefix(line, []byte("//lines ")); ok {
			var n int
			_, err := fmt.Sscan(string(count), &n)
			require.NoError(t, err)
			line = bytes.Repeat([]byte("//\n"), n)
		}
		out.Write(line)
	}
	return out.Bytes()
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, text, 0o644))
}
