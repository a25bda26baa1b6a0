//go:build vm

package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/test/vm/machine"
)

// These tests boot real machines that go wrong, because what a dying kernel leaves on the console is not ours to
// invent. They run on the host: go test -tags vm ./test/vm

func TestRealPanicIsReported(t *testing.T) {
	rep, err := bootScript(t, "busybox mount -t proc proc /proc\nprintf 'half a line'\necho c >/proc/sysrq-trigger\n")
	require.NoError(t, err, "the machine itself ends in order")
	require.ErrorIs(t, rep.Verdict([]string{"a"}), machine.ErrPanic)
}

func TestRealLossOfInitIsReported(t *testing.T) {
	rep, err := bootScript(t, "exit 1\n")
	require.NoError(t, err)
	require.ErrorIs(t, rep.Verdict([]string{"a"}), machine.ErrPanic)
}

func TestRealPowerOffWithoutEndLine(t *testing.T) {
	rep, err := bootScript(t, "busybox poweroff -f\n")
	require.NoError(t, err)
	require.ErrorIs(t, rep.Verdict([]string{"a"}), machine.ErrNoEnd)
}

// bootScript boots every test's machine with a first process that begins the package a, lets one test pass, and goes
// on with script.
func bootScript(t *testing.T, script string) (machine.Report, error) {
	t.Helper()
	root, err := machine.RepositoryRoot(t.Context())
	require.NoError(t, err)
	img, err := machine.FetchKernel(t.Context(), machine.Kernels()[0], machine.CacheFolder(root))
	require.NoError(t, err)

	work := t.TempDir()
	tree := guestTree{root: root, dir: filepath.Join(work, "tree")}
	require.NoError(t, tree.build(t.Context(), suite{}))
	head := "#!/bin/busybox sh\nexport PATH=/bin\nprintf '\\nTALLYMAN-VM: begin a 1\\n--- PASS: TestA (0.00s)\\n'\n"
	require.NoError(t, os.WriteFile(filepath.Join(tree.dir, "init"), []byte(head+script), 0o755))
	m, err := tree.machine(t.Context(), img, work)
	require.NoError(t, err)
	return m.Boot(t.Context(), 2*time.Minute, io.Discard)
}
