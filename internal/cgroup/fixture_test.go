package cgroup

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// containerID is the container of the trees in testdata.
const containerID = "4f6c2b1d9e8a7c5f3b2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b"

// fixtureFile is the text of the only file of a tree whose name ends so.
func fixtureFile(t testing.TB, tree, suffix string) string {
	t.Helper()
	a, err := txtar.ParseFile("testdata/" + tree + ".txtar")
	require.NoError(t, err)
	var found []string
	for _, f := range a.Files {
		if strings.HasSuffix(f.Name, suffix) {
			found = append(found, string(f.Data))
		}
	}
	require.Len(t, found, 1, "files of %s that end in %s", tree, suffix)
	return found[0]
}
