package hostview

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// In a container the host's root is mounted somewhere else; the kernel is the
// same. A copied tree has none.
func TestWhoseRoot(t *testing.T) {
	require.True(t, ofThisKernel(hostfs.NewRoots("/")))
	require.True(t, ofThisKernel(hostfs.NewRoots("/proc/self/root")))
	require.False(t, ofThisKernel(hostfs.NewRoots(t.TempDir())))
}
