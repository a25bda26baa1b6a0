package bundle

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Limits bound what a capture may be, against files made to fill a disk or the
// memory of who opens them.
type Limits struct {
	// Members is how many there may be, the manifest too.
	Members int
	// Total is of all members, Deflated of one that is compressed, Manifest of
	// the manifest, in bytes when unpacked.
	Total, Deflated, Manifest int64
}

// DefaultLimits are far above real captures. A whole host of 200 containers for
// 20 minutes measured 31 MB, in a few dozen members; the manifest is a few KB.
// The largest compressed member is the index of its block, about 3 MB.
func DefaultLimits() Limits {
	return Limits{Members: 10_000, Total: 1 << 30, Deflated: 128 << 20, Manifest: 4 << 20}
}

// Reader reads one capture. Its methods are safe for concurrent use.
type Reader struct {
	// Manifest is not to be changed.
	Manifest *Manifest

	zip     *zip.ReadCloser
	members map[string]*zip.File
	files   map[string]File
}

// Open opens a capture within the default limits. Close it.
func Open(path string) (*Reader, error) { return OpenLimited(path, DefaultLimits()) }

// OpenLimited opens a capture. Members are checked against the manifest when
// they are read, so that opening a large one is quick.
func OpenLimited(path string, limits Limits) (*Reader, error) {
	archive, err := zip.OpenReader(path)
	if errors.Is(err, zip.ErrFormat) || errors.Is(err, zip.ErrAlgorithm) {
		return nil, fmt.Errorf("open capture %s: %w: %w", path, ErrMalformed, err)
	}
	if err != nil {
		if archive != nil {
			err = errors.Join(err, archive.Close())
		}
		return nil, fmt.Errorf("open capture %s: %w", path, err)
	}
	r := &Reader{zip: archive, members: map[string]*zip.File{}, files: map[string]File{}}
	if err := r.load(limits); err != nil {
		return nil, errors.Join(fmt.Errorf("open capture %s: %w", path, err), archive.Close())
	}
	return r, nil
}

// Close gives the file back.
func (r *Reader) Close() error { return r.zip.Close() }

func (r *Reader) load(limits Limits) error {
	if n := len(r.zip.File); n > limits.Members {
		return fmt.Errorf("%w: %d members, at most %d", ErrMalformed, n, limits.Members)
	}
	left := uint64(limits.Total)
	for _, f := range r.zip.File {
		if err := checkMember(f, limits); err != nil {
			return err
		}
		if r.members[f.Name] != nil {
			return fmt.Errorf("%w: member %.80q comes twice", ErrMalformed, f.Name)
		}
		if f.UncompressedSize64 > left {
			return fmt.Errorf("%w: more than %d bytes when unpacked", ErrMalformed, limits.Total)
		}
		left -= f.UncompressedSize64
		r.members[f.Name] = f
	}
	text, err := r.raw(ManifestName, limits.Manifest)
	if err != nil {
		return err
	}
	if r.Manifest, err = ParseManifest(text); err != nil {
		return err
	}
	return r.match()
}

func checkMember(f *zip.File, limits Limits) error {
	if !validName(f.Name) {
		return fmt.Errorf("%w: member %.80q would be unpacked elsewhere", ErrMalformed, f.Name)
	}
	if !f.Mode().IsRegular() {
		return fmt.Errorf("%w: member %.80q is no regular file", ErrMalformed, f.Name)
	}
	stored := f.Method == zip.Store
	if !stored && f.Method != zip.Deflate || stored && f.CompressedSize64 != f.UncompressedSize64 {
		return fmt.Errorf("%w: member %.80q is neither stored nor deflated", ErrMalformed, f.Name)
	}
	if !stored && f.UncompressedSize64 > uint64(limits.Deflated) {
		return fmt.Errorf("%w: member %.80q unpacks to %d bytes, at most %d", ErrMalformed, f.Name, f.UncompressedSize64, limits.Deflated)
	}
	return nil
}

// match sees to it that the manifest and the zip name the same members.
func (r *Reader) match() error {
	for _, f := range r.Manifest.Files {
		member := r.members[f.Name]
		if member == nil {
			return fmt.Errorf("%w: member %s is missing", ErrMalformed, f.Name)
		}
		if member.UncompressedSize64 != uint64(f.Size) {
			return fmt.Errorf("%w: member %s has %d bytes, the manifest says %d", ErrMalformed, f.Name, member.UncompressedSize64, f.Size)
		}
		r.files[f.Name] = f
	}
	for name := range r.members {
		if _, ok := r.files[name]; !ok && name != ManifestName {
			return fmt.Errorf("%w: member %s is not in the manifest", ErrMalformed, name)
		}
	}
	return nil
}

// Names are those of the members but the manifest, sorted.
func (r *Reader) Names() []string {
	names := make([]string, 0, len(r.files))
	for name := range r.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Has tells whether there is a member of that name.
func (r *Reader) Has(name string) bool {
	_, ok := r.files[name]
	return ok
}

// ReadFile returns a whole member, checked. It is held in memory: of metrics
// and events take [Reader.Extract].
func (r *Reader) ReadFile(name string) ([]byte, error) {
	f, ok := r.files[name]
	if !ok {
		return nil, fmt.Errorf("read %.80q of the capture: %w", name, os.ErrNotExist)
	}
	content, err := r.raw(name, f.Size)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	return content, checkSum(f, sum[:])
}

// Verify reads every member and compares it with the manifest.
func (r *Reader) Verify() error {
	for _, name := range r.Names() {
		if err := r.copy(name, io.Discard); err != nil {
			return err
		}
	}
	return nil
}

// Extract unpacks the members that keep wants (all if it is nil) below the
// directory, which must be there. What is there already is an error.
func (r *Reader) Extract(dir string, keep func(name string) bool) error {
	// A root, so that no link below the directory leads out of it.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack capture: %w", err)
	}
	for _, name := range r.Names() {
		if keep == nil || keep(name) {
			err = errors.Join(err, r.extract(root, name))
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, root.Close())
}

func (r *Reader) extract(root *os.Root, name string) error {
	local := filepath.FromSlash(name)
	if err := root.MkdirAll(filepath.Dir(local), 0o700); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	to, err := root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	return errors.Join(r.copy(name, to), to.Close())
}

// copy writes a member and compares it with the manifest.
func (r *Reader) copy(name string, to io.Writer) error {
	sum := sha256.New()
	if err := r.pipe(name, r.files[name].Size, io.MultiWriter(to, sum)); err != nil {
		return err
	}
	return checkSum(r.files[name], sum.Sum(nil))
}

func checkSum(f File, sum []byte) error {
	if hex.EncodeToString(sum) != f.SHA256 {
		return fmt.Errorf("read %s: %w: its SHA-256 is not the manifest's", f.Name, ErrMalformed)
	}
	return nil
}

// raw reads a member of at most so many bytes.
func (r *Reader) raw(name string, limit int64) ([]byte, error) {
	var content limited
	content.left = limit
	if err := r.pipe(name, limit, &content); err != nil {
		return nil, err
	}
	return content.text, nil
}

// limited keeps what is written, up to a bound. Sizes that a file claims are not
// taken to allocate memory.
type limited struct {
	text []byte
	left int64
}

// Write implements [io.Writer].
func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		return 0, io.ErrShortBuffer
	}
	l.left -= int64(len(p))
	l.text = append(l.text, p...)
	return len(p), nil
}

func (r *Reader) pipe(name string, limit int64, to io.Writer) error {
	member := r.members[name]
	if member == nil {
		return fmt.Errorf("read %s: %w: it is missing", name, ErrMalformed)
	}
	from, err := member.Open()
	if err != nil {
		return fmt.Errorf("read %s: %w: %w", name, ErrMalformed, err)
	}
	// One byte more shows that there is more.
	n, err := io.Copy(to, io.LimitReader(from, limit+1))
	err = errors.Join(err, from.Close())
	if err == nil && n > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w: %w", name, ErrMalformed, err)
	}
	return nil
}
