package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// errName says that a member cannot have that name.
var errName = errors.New("no name for a member, or one that is taken")

// PartSuffix is how the names of files end that are not complete.
const PartSuffix = ".part"

// Writer writes one capture. End it with [Writer.Finish] or [Writer.Discard].
type Writer struct {
	path  string
	file  *os.File
	zip   *zip.Writer
	files []File
	names map[string]bool
	at    time.Time
}

// Create begins a capture that will be at the path; what is there is replaced
// when it is complete. At is the time that its members get.
func Create(path string, at time.Time) (*Writer, error) {
	// 0600: arguments and logs of other people's processes are in it.
	file, err := os.OpenFile(path+PartSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create capture: %w", err)
	}
	return &Writer{path: path, file: file, zip: zip.NewWriter(file), names: map[string]bool{}, at: at}, nil
}

// Add writes one member.
func (w *Writer) Add(name string, content []byte) error {
	return w.Copy(name, bytes.NewReader(content))
}

// AddJSON writes one member as JSON.
func (w *Writer) AddJSON(name string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return w.Add(name, append(text, '\n'))
}

// AddTree writes all regular files below the directory, with the prefix before
// their names. A directory that is not there has no files.
func (w *Writer) AddTree(prefix, dir string) error {
	root := os.DirFS(dir)
	return fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == "." {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", filepath.Join(dir, name), err)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		file, err := root.Open(name)
		if err != nil {
			return fmt.Errorf("read %s: %w", filepath.Join(dir, name), err)
		}
		return errors.Join(w.Copy(path.Join(prefix, name), file), file.Close())
	})
}

// Copy writes one member from a reader.
func (w *Writer) Copy(name string, from io.Reader) error {
	if !validName(name) || w.names[name] || name == ManifestName {
		return fmt.Errorf("write %.80q: %w", name, errName)
	}
	w.names[name] = true
	to, err := w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: method(name), Modified: w.at})
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), from)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w.files = append(w.files, File{Name: name, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// method is how a member is kept: what is compressed already is stored.
func method(name string) uint16 {
	if strings.HasSuffix(name, ".tev") || strings.HasPrefix(name, MetricsDir+"/") && path.Base(path.Dir(name)) == "chunks" {
		return zip.Store
	}
	return zip.Deflate
}

// Finish writes the manifest, whose Format and Files it sets, and puts the
// capture in its place. It returns the size of the file in bytes.
func (w *Writer) Finish(m *Manifest) (int64, error) {
	m.Format, m.Files = Format, w.files
	size, err := w.finish(m)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("finish capture: %w", err), w.Discard())
	}
	return size, nil
}

func (w *Writer) finish(m *Manifest) (int64, error) {
	if err := m.check(); err != nil {
		return 0, err
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return 0, err
	}
	to, err := w.zip.CreateHeader(&zip.FileHeader{Name: ManifestName, Method: zip.Deflate, Modified: w.at})
	if err != nil {
		return 0, err
	}
	if _, err := to.Write(append(text, '\n')); err != nil {
		return 0, err
	}
	if err := w.zip.Close(); err != nil {
		return 0, err
	}
	if err := w.file.Sync(); err != nil {
		return 0, err
	}
	info, err := w.file.Stat()
	if err != nil {
		return 0, err
	}
	if err := w.file.Close(); err != nil {
		return 0, err
	}
	if err := os.Rename(w.path+PartSuffix, w.path); err != nil {
		return 0, err
	}
	return info.Size(), syncDir(filepath.Dir(w.path))
}

// syncDir makes the new name last over a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Discard gives the capture up. It is safe to call after an error of Finish.
func (w *Writer) Discard() error {
	err := w.file.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	if gone := os.Remove(w.path + PartSuffix); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
