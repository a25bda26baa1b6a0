package sampler

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseRootMount(t *testing.T) {
	f := func(mountinfo, kind, upper string) {
		t.Helper()
		gotKind, gotUpper := parseRootMount(mountinfo)
		require.Equal(t, kind, gotKind)
		require.Equal(t, upper, gotUpper)
	}
	const overlay = "701 561 0:93 / %s rw,relatime - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/var/lib/docker/overlay2/x/diff,workdir=/w\n"
	const disk = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
	f(fmt.Sprintf(overlay, "/"), "overlay", "/var/lib/docker/overlay2/x/diff")
	f(fmt.Sprintf(overlay, "/mnt"), "", "")
	f(disk, "ext4", "")
	f(disk+fmt.Sprintf(overlay, "/"), "overlay", "/var/lib/docker/overlay2/x/diff")
	f(fmt.Sprintf(overlay, "/")+disk, "ext4", "")
	f("30 1 0:50 / / rw - fuse.fuse-overlayfs fuse-overlayfs rw,user_id=0\n", "fuse.fuse-overlayfs", "")
	f("", "", "")
	f(" - overlay upperdir=/x", "", "")
}

// Asking a file system that somebody serves may wait for ever.
func TestServedFileSystemsAreNotAsked(t *testing.T) {
	for _, kind := range []string{"nfs4", "cifs", "fuse.fuse-overlayfs", "9p", "ceph", ""} {
		require.False(t, isLocal(kind), kind)
	}
	require.True(t, isLocal("overlay"))
}

func FuzzParseRootMount(f *testing.F) {
	f.Add("701 561 0:93 / / rw,relatime - overlay overlay rw,upperdir=/a,workdir=/w\n")
	f.Add("a b c d / - overlay upperdir=")
	f.Fuzz(func(t *testing.T, text string) {
		kind, upper := parseRootMount(text)
		if !strings.Contains(text, kind) || (upper != "" && !strings.Contains(text, "upperdir="+upper)) {
			t.Fatalf("%q, %q are not in %q", kind, upper, text)
		}
	})
}

// Blocks count once per file, however many names it has; a layer beyond the
// bound has no usage rather than a wrong one.
func TestLayerUsage(t *testing.T) {
	dir := t.TempDir()
	empty, ok := layerUsage(dir, 100)
	require.True(t, ok)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, make([]byte, 1<<20), 0o600))
	one, ok := layerUsage(dir, 100)
	require.True(t, ok)
	require.GreaterOrEqual(t, one-empty, uint64(1<<20))
	require.NoError(t, os.Link(file, filepath.Join(dir, "again")))
	two, ok := layerUsage(dir, 100)
	require.True(t, ok)
	require.Equal(t, one, two)
	_, ok = layerUsage(filepath.Join(dir, "missing"), 100)
	require.False(t, ok)
}

func TestLayerUsageIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 101 {
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprint(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	_, ok := layerUsage(dir, 100)
	require.False(t, ok)
}

func BenchmarkLayerUsage(b *testing.B) {
	dir := b.TempDir()
	for i := range 1000 {
		require.NoError(b, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := layerUsage(dir, layerEntries); !ok {
			b.Fatal("not walked")
		}
	}
}
