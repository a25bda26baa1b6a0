//go:build vm

package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// These tests boot real machines that go wrong, because what a dying kernel leaves on the console is not ours to
// invent. They run on the host: go test -tags vm ./test/vm

func TestRealPanicIsReported(t *testing.T) {
	rep, err := bootScript(t, "busybox mount -t proc proc /proc\nprintf 'half a line'\necho c >/proc/sysrq-trigger\n")
	require.NoError(t, err, "the machine itself ends in order")
	require.ErrorIs(t, rep.verdict([]string{"a"}), errPanic)
}

func TestRealLossOfInitIsReported(t *testing.T) {
	rep, err := bootScript(t, "exit 1\n")
	require.NoError(t, err)
	require.ErrorIs(t, rep.verdict([]string{"a"}), errPanic)
}

func TestRealPowerOffWithoutEndLine(t *testing.T) {
	rep, err := bootScript(t, "busybox poweroff -f\n")
	require.NoError(t, err)
	require.ErrorIs(t, rep.verdict([]string{"a"}), errNoEnd)
}

// bootScript boots every test's machine with a first process that begins the package a, lets one test pass, and goes
// on with script.
func bootScript(t *testing.T, script string) (report, error) {
	t.Helper()
	root, err := repositoryRoot(t.Context())
	require.NoError(t, err)
	img, err := fetchKernel(t.Context(), kernels()[0], cacheFolder(root))
	require.NoError(t, err)

	m := machine{dir: t.TempDir(), vmlinuz: img.vmlinuz}
	tree := guestTree{root: root, dir: filepath.Join(m.dir, "tree")}
	require.NoError(t, tree.build(t.Context(), suite{}))
	head := "#!/bin/busybox sh\nexport PATH=/bin\nprintf '\\nTALLYMAN-VM: begin a 1\\n--- PASS: TestA (0.00s)\\n'\n"
	require.NoError(t, os.WriteFile(filepath.Join(tree.dir, "init"), []byte(head+script), 0o755))
	require.NoError(t, tree.pack(t.Context(), img, m.initramfs()))
	return m.boot(t.Context(), 2*time.Minute, io.Discard)
}
