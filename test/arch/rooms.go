package arch

import (
	"os"
	"path"
	"path/filepath"
)

// checkComponentRooms asks every component folder for the files of
// ARCHITECTURE.md, so that who knows one component knows all.
func checkComponentRooms(tree *Tree, report report) {
	for _, kind := range componentKinds() {
		// An absent kind has no components, which is not for this rule to judge.
		entries, _ := os.ReadDir(filepath.Join(tree.root, kind))
		for _, entry := range entries {
			dir := path.Join(kind, entry.Name())
			full := filepath.Join(tree.root, kind, entry.Name())
			if !entry.IsDir() || skipDir(tree.root, full) != nil || isEmptyDir(full) {
				continue
			}
			for _, name := range []string{"doc.go", "factory.go", "config.go", "metadata.yaml", kind + ".go", "emit.go", "README.md"} {
				if !hasFile(filepath.Join(full, name)) {
					report(path.Join(dir, name), 1, "the component has no %s", name)
				}
			}
			if info, err := os.Stat(filepath.Join(full, "testdata")); err != nil || !info.IsDir() {
				report(path.Join(dir, "testdata"), 1, "the component has no testdata folder")
			}
		}
	}
}

// isEmptyDir is true for what a change of branch leaves behind.
func isEmptyDir(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}
