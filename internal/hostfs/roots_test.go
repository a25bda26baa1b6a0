package hostfs_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

func TestNewRoots(t *testing.T) {
	f := func(root string, want hostfs.Roots) {
		t.Helper()
		if diff := cmp.Diff(want, hostfs.NewRoots(root)); diff != "" {
			t.Errorf("NewRoots(%q) (-want +got):\n%s", root, diff)
		}
	}
	host := hostfs.Roots{Root: "/", Proc: "/proc", Sys: "/sys"}
	f("", host)
	f("/", host)
	f("//", host)
	f("/..", host)
	inContainer := hostfs.Roots{Root: "/hostfs", Proc: "/hostfs/proc", Sys: "/hostfs/sys"}
	f("/hostfs", inContainer)
	f("/hostfs/", inContainer)
	f("hostfs", inContainer)
	f("/x/../hostfs/.", inContainer)
}

func TestIsHost(t *testing.T) {
	if !hostfs.NewRoots("/").IsHost() {
		t.Error("/ is not the host")
	}
	if hostfs.NewRoots("/hostfs").IsHost() {
		t.Error("/hostfs is the host")
	}
}

func TestCheckRoot(t *testing.T) {
	file := writeFile(t, nil)
	require.NoError(t, hostfs.CheckRoot(t.TempDir()))
	require.ErrorContains(t, hostfs.CheckRoot("hostfs"), "not an absolute path")
	require.ErrorIs(t, hostfs.CheckRoot(file+"-missing"), os.ErrNotExist)
	require.ErrorContains(t, hostfs.CheckRoot(file), "not a directory")
}
