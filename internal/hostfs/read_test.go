package hostfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

// way is one of the three ways to read a file; all have to say the same.
type way struct {
	name string
	read func(path string, buf []byte) ([]byte, error)
}

func ways() []way {
	file := func(limit int) func(string, []byte) ([]byte, error) {
		return func(path string, buf []byte) ([]byte, error) {
			f := hostfs.NewFile(path, hostfs.NewBudget(limit))
			defer f.Close()
			return f.Read(buf)
		}
	}
	return []way{{"ReadFile", hostfs.ReadFile}, {"kept File", file(1)}, {"File above the budget", file(0)}}
}

func writeFile(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// pattern returns n bytes in which no two neighbouring pages are alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func TestReadContent(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	for _, size := range []int{0, 1, 2047, 2048, 4095, 4096, 4097, 100_000, 4 << 20} {
		want := pattern(size)
		path := writeFile(t, want)
		for _, w := range ways() {
			for _, capacity := range []int{0, 1, size, size + 1, 8192} {
				got, err := w.read(path, make([]byte, 0, capacity))
				if err != nil || !bytes.Equal(want, got) {
					t.Errorf("%s of %d bytes with a buffer of %d: %d bytes, %v", w.name, size, capacity, len(got), err)
				}
			}
		}
	}
}

func TestReadTooLarge(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	path := writeFile(t, pattern(4<<20+1))
	for _, w := range ways() {
		for _, capacity := range []int{0, 4 << 20, 8 << 20} {
			for _, path := range []string{path, "/dev/zero"} {
				got, err := w.read(path, make([]byte, 0, capacity))
				if !errors.Is(err, hostfs.ErrTooLarge) || len(got) != 0 {
					t.Errorf("%s of %s with a buffer of %d: %d bytes, %v", w.name, path, capacity, len(got), err)
				}
				if err != nil && err.Error() != "read "+path+": larger than 4 MiB" {
					t.Errorf("%s: text %q", w.name, err)
				}
			}
		}
	}
}

func TestReadMissing(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	dir := t.TempDir()
	for _, w := range ways() {
		for _, path := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "none", "none")} {
			got, err := w.read(path, []byte("old"))
			if !errors.Is(err, hostfs.ErrGone) || len(got) != 0 {
				t.Errorf("%s: %q, %v", w.name, got, err)
			}
		}
	}
}

func TestReadDirectory(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	dir := t.TempDir()
	for _, w := range ways() {
		got, err := w.read(dir, []byte("old"))
		if !errors.Is(err, unix.EISDIR) || errors.Is(err, hostfs.ErrGone) || len(got) != 0 {
			t.Errorf("%s: %q, %v", w.name, got, err)
		}
		if err != nil && err.Error() != "read "+dir+": is a directory" {
			t.Errorf("%s: text %q", w.name, err)
		}
	}
}

func TestReadUnopenable(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	// A symbolic link that leads to itself cannot be opened, not even by root.
	path := filepath.Join(t.TempDir(), "loop")
	require.NoError(t, os.Symlink("loop", path))
	for _, w := range ways() {
		_, err := w.read(path, nil)
		if !errors.Is(err, unix.ELOOP) || err.Error() != "open "+path+": too many levels of symbolic links" {
			t.Errorf("%s: %v", w.name, err)
		}
	}
}

// The kernel gives out a file of many records page by page, so that a read
// which left room in the buffer is not the last.
func TestReadManyRecords(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	records := manyMappings(t, 400)
	for _, w := range ways() {
		for _, capacity := range []int{0, 4096, 1 << 20} {
			got, err := w.read("/proc/self/maps", make([]byte, 0, capacity))
			require.NoError(t, err)
			missing := 0
			for _, record := range records {
				if !bytes.Contains(got, []byte(record)) {
					missing++
				}
			}
			if missing > 0 || !bytes.HasSuffix(got, []byte("\n")) {
				t.Errorf("%s with a buffer of %d: %d bytes, %d of %d records missing", w.name, capacity, len(got), missing, len(records))
			}
		}
	}
}

// manyMappings makes n pages whose protections alternate, so that each is a
// mapping of its own, and returns their records in /proc/self/maps.
func manyMappings(t *testing.T, n int) []string {
	t.Helper()
	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, n*page, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(mem)) })
	for i := 1; i < n; i += 2 {
		require.NoError(t, unix.Mprotect(mem[i*page:(i+1)*page], unix.PROT_READ))
	}
	start := int(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
	var records []string
	for i := 1; i < n-1; i++ { // those at the ends may have merged with neighbours
		protection := "---p"
		if i%2 == 1 {
			protection = "r--p"
		}
		records = append(records, fmt.Sprintf("%08x-%08x %s ", start+i*page, start+(i+1)*page, protection))
	}
	return records
}

func TestReadUsesTheBuffer(t *testing.T) {
	path := writeFile(t, []byte("12345\n"))
	for _, w := range ways() {
		buf := make([]byte, 64)
		got, err := w.read(path, buf)
		require.NoError(t, err)
		if &got[0] != &buf[0] {
			t.Errorf("%s: content is not in the buffer", w.name)
		}
	}
}

func TestReadOfGoneProcess(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	path := fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)
	budget := hostfs.NewBudget(1)
	kept := hostfs.NewFile(path, budget)
	_, errBefore := kept.Read(nil)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.NoError(t, errBefore)

	if _, err := kept.Read(nil); !errors.Is(err, hostfs.ErrGone) {
		t.Errorf("kept descriptor: %v", err)
	}
	if open := budget.Stats().Open; open != 0 {
		t.Errorf("%d descriptors are held", open)
	}
	if _, err := hostfs.ReadFile(path, nil); !errors.Is(err, hostfs.ErrGone) {
		t.Errorf("ReadFile: %v", err)
	}
}
