package container

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

// TestLinkCount verifies what lets a walk skip leaves: the link count of a
// cgroup directory is 2 plus its children, at once.
func TestLinkCount(t *testing.T) {
	testkit.NeedRoot(t)
	tested := 0
	for _, h := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if !countsSubdirs(h) {
			continue
		}
		tested++
		dir, err := os.MkdirTemp(h, "tallyman-container-test-")
		require.NoError(t, err)
		child := filepath.Join(dir, "child")
		t.Cleanup(func() { _, _ = os.Remove(child), os.Remove(dir) })
		links := func(want uint64) {
			t.Helper()
			st, err := statAt(unix.AT_FDCWD, dir)
			require.NoError(t, err)
			require.Equal(t, want, uint64(st.Nlink))
		}
		links(2)
		require.NoError(t, os.Mkdir(child, 0o755))
		links(3)
		require.NoError(t, os.Remove(child))
		links(2)
	}
	require.NotZero(t, tested, "no cgroup file system below /sys/fs/cgroup")
	require.False(t, countsSubdirs(t.TempDir()))
}

func TestNoInotify(t *testing.T) {
	dir := t.TempDir()
	d := NewDiscovery(DiscoveryOptions{Dir: dir})
	require.NoError(t, d.tree.open())
	d.tree.notify.close()
	d.tree.notify = nil
	d.walk()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "x"), 0o755))
	d.reconcile()
	d.drain(nil)
	_, ok := d.opts.Index.ByPath("/x")
	require.True(t, ok)
	require.EqualValues(t, 2, d.Stats().WatchFailures)
	require.EqualValues(t, 1, d.Stats().Reconciled)
}

func appendEvent(buf []byte, wd int32, mask uint32, name string) []byte {
	padded := make([]byte, (len(name)+16)/16*16)
	copy(padded, name)
	if name == "" {
		padded = nil
	}
	for _, v := range []uint32{uint32(wd), mask, 0, uint32(len(padded))} {
		buf = binary.NativeEndian.AppendUint32(buf, v)
	}
	return append(buf, padded...)
}

func FuzzParseEvent(f *testing.F) {
	f.Add(appendEvent(appendEvent(nil, 1, unix.IN_CREATE|unix.IN_ISDIR, "docker"), -1, unix.IN_Q_OVERFLOW, ""))
	f.Add(appendEvent(nil, 7, unix.IN_DELETE, "a name of sixteen+")[:30])
	f.Fuzz(func(t *testing.T, buf []byte) {
		for e, rest, ok := parseEvent(buf); ok; e, rest, ok = parseEvent(rest) {
			if len(rest) > len(buf)-unix.SizeofInotifyEvent || bytes.IndexByte(e.name, 0) >= 0 {
				t.Fatalf("%d bytes gave %+v and leave %d", len(buf), e, len(rest))
			}
			buf = rest
		}
	})
}

func TestParseEvent(t *testing.T) {
	buf := appendEvent(nil, 3, unix.IN_CREATE|unix.IN_ISDIR, "docker")
	buf = appendEvent(buf, -1, unix.IN_Q_OVERFLOW, "")
	e, rest, ok := parseEvent(buf)
	require.True(t, ok)
	require.Equal(t, event{wd: 3, mask: unix.IN_CREATE | unix.IN_ISDIR, name: []byte("docker")}, e)
	e, rest, ok = parseEvent(rest)
	require.True(t, ok)
	require.EqualValues(t, -1, e.wd)
	require.EqualValues(t, unix.IN_Q_OVERFLOW, e.mask)
	require.Empty(t, e.name)
	_, _, ok = parseEvent(rest)
	require.False(t, ok)
	_, _, ok = parseEvent(buf[:20])
	require.False(t, ok)
}

func appendDirent(buf []byte, kind byte, name string) []byte {
	size := (direntHeader + len(name) + 8) / 8 * 8
	d := make([]byte, size)
	binary.NativeEndian.PutUint16(d[16:], uint16(size))
	d[18] = kind
	copy(d[direntHeader:], name)
	return append(buf, d...)
}

func TestParseDirent(t *testing.T) {
	f := func(kind byte, name string, wantDir bool) {
		t.Helper()
		e, rest, ok := parseDirent(append(appendDirent(nil, kind, name), 1, 2, 3))
		if !ok || len(rest) != 3 || string(e.name) != name || e.dir != wantDir {
			t.Errorf("%d %q: %+v %v, %d left", kind, name, e, ok, len(rest))
		}
	}
	f(unix.DT_DIR, "docker", true)
	f(unix.DT_UNKNOWN, "docker", true)
	f(unix.DT_REG, "tasks", false)
	f(unix.DT_LNK, "link", false)
	f(unix.DT_DIR, ".", false)
	f(unix.DT_DIR, "..", false)
	f(unix.DT_DIR, "...", true)
}

func FuzzParseDirent(f *testing.F) {
	f.Add(appendDirent(appendDirent(nil, unix.DT_DIR, "docker"), unix.DT_REG, "tasks"))
	f.Add(appendDirent(nil, unix.DT_DIR, "cut")[:21])
	f.Fuzz(func(t *testing.T, buf []byte) {
		for e, rest, ok := parseDirent(buf); ok; e, rest, ok = parseDirent(rest) {
			if len(rest) > len(buf)-direntHeader || bytes.IndexByte(e.name, 0) >= 0 || e.dir && len(e.name) == 0 {
				t.Fatalf("%d bytes gave %+v and leave %d", len(buf), e, len(rest))
			}
			buf = rest
		}
	})
}
