package bundle_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/tallymanhq/tallyman/internal/recorder/capture/bundle"
)

// FuzzOpen opens what may be no capture. Whatever is in it stays in its folder,
// within the limits, and is what the manifest says.
func FuzzOpen(f *testing.F) {
	golden, err := os.ReadFile("testdata/v1.tmcap")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte("PK\x05\x06" + string(make([]byte, 18))))
	limits := bundle.Limits{Members: 50, Total: 1 << 20, Deflated: 256 << 10, Manifest: 64 << 10}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.tmcap")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := bundle.OpenLimited(path, limits)
		if err != nil {
			return
		}
		defer func() { _ = r.Close() }()
		verified := r.Verify()
		into := filepath.Join(dir, "into")
		if err := os.Mkdir(into, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := r.Extract(into, nil); (err == nil) != (verified == nil) {
			t.Errorf("verify says %v, extract says %v", verified, err)
		}
		if total := unpacked(t, dir) - int64(len(content)); total > limits.Total+1 {
			t.Errorf("%d bytes were unpacked", total)
		}
		if verified == nil {
			compare(t, r, into)
			redacted(t, path, filepath.Join(dir, "y.tmcap"))
		}
	})
}

// unpacked is the size of all files below a folder.
func unpacked(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return total
}

// compare looks at each member twice.
func compare(t *testing.T, r *bundle.Reader, into string) {
	t.Helper()
	for _, name := range r.Names() {
		text, err := r.ReadFile(name)
		if err != nil {
			t.Errorf("%s was verified and cannot be read: %v", name, err)
		}
		unpacked, err := os.ReadFile(filepath.Join(into, filepath.FromSlash(name)))
		if err != nil || !bytes.Equal(text, unpacked) {
			t.Errorf("%s is %d bytes in the capture and %d unpacked: %v", name, len(text), len(unpacked), err)
		}
	}
}

// redacted writes the capture anew and looks at that, if it can be written: a
// member may be no JSON.
func redacted(t *testing.T, from, to string) {
	t.Helper()
	if _, err := bundle.Redact(bundle.RedactOptions{From: from, To: to}); err != nil {
		return
	}
	again, err := bundle.Open(to)
	if err != nil {
		t.Fatalf("what was redacted cannot be opened: %v", err)
	}
	if err := errors.Join(again.Verify(), again.Close()); err != nil {
		t.Error(err)
	}
}
