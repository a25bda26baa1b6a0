package main

import (
	"debug/elf"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestParseLibraries(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, parseLibraries(text)); diff != "" {
			t.Errorf("parseLibraries(%q) (-want +got):\n%s", text, diff)
		}
	}
	f("\tlinux-vdso.so.1 (0x00007fa6b3af7000)\n\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007fa6b38c4000)\n"+
		"\t/lib64/ld-linux-x86-64.so.2 (0x00007fa6b3af9000)\n", "/lib/x86_64-linux-gnu/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2")
	f("\tlibgone.so => not found\n")
	f("")
}

// Everything that a program of the host says it is linked with gets into the tree.
func TestAddProgram(t *testing.T) {
	testkit.NeedCommand(t, "ip", "ldd")
	tree := guestTree{dir: t.TempDir()}
	require.NoError(t, tree.addProgram(t.Context(), "ip"))
	require.NoError(t, tree.addProgram(t.Context(), "ip"), "again does nothing")
	f, err := elf.Open(filepath.Join(tree.dir, programFolder, "ip"))
	require.NoError(t, err)
	defer f.Close()
	libraries, err := f.ImportedLibraries()
	require.NoError(t, err)
	names, err := treeNames(tree.dir)
	require.NoError(t, err)
	require.NotEmpty(t, libraries)
	for _, library := range libraries {
		require.True(t, strings.Contains(names, "/"+library+"\n"), "%s in %s", library, names)
	}
	require.ErrorContains(t, tree.addProgram(t.Context(), "no-such-program"), "no-such-program")
}
