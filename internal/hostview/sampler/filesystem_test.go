package sampler

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseUpperDir(t *testing.T) {
	f := func(mountinfo, want string) {
		t.Helper()
		require.Equal(t, want, parseUpperDir(mountinfo))
	}
	const overlay = "701 561 0:93 / %s rw,relatime - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/var/lib/docker/overlay2/x/diff,workdir=/w\n"
	f(fmt.Sprintf(overlay, "/"), "/var/lib/docker/overlay2/x/diff")
	f(fmt.Sprintf(overlay, "/mnt"), "")
	f("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "")
	f("", "")
	f(" - overlay upperdir=/x", "")
}

func FuzzParseUpperDir(f *testing.F) {
	f.Add("701 561 0:93 / / rw,relatime - overlay overlay rw,upperdir=/a,workdir=/w\n")
	f.Add("a b c d / - overlay upperdir=")
	f.Fuzz(func(t *testing.T, text string) {
		dir := parseUpperDir(text)
		if !strings.Contains(text, "upperdir="+dir) && dir != "" {
			t.Fatalf("%q is not an option of %q", dir, text)
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
	for i := range 100 {
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
