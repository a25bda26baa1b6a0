package cloud

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// machine unpacks one machine of testdata/dmi.txtar as the sysfs of a root.
func machine(t testing.TB, name string) hostfs.Roots {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/dmi.txtar")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	found := false
	for _, file := range archive.Files {
		rest, err := filepath.Rel(name, file.Name)
		if err != nil || !filepath.IsLocal(rest) {
			continue
		}
		found = true
		path := filepath.Join(root, "sys", rest)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !found {
		t.Fatalf("no machine %s", name)
	}
	return hostfs.NewRoots(root)
}

func fixture(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
