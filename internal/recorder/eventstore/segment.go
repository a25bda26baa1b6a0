package eventstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	closedSuffix = ".tev"
	openSuffix   = ".tev.open"
	mergeSuffix  = ".tev.tmp"
)

// segment is a file of frames that grows no more, or what was written so far
// of the one that does.
type segment struct {
	number uint64
	path   string
	frames []frame
	size   int64
	// closed is when it was closed, Unix nanoseconds.
	closed int64
	// merged tells whether it has the final form, with a footer.
	merged bool
	// unknown is set for a file of another format: it takes space, and that
	// is all this program knows about it.
	unknown error

	// readers counts who may still open the file; doomed says that the last
	// of them removes it; told, that it is damaged. Store.mu guards all.
	readers int
	doomed  bool
	told    bool
}

func (s *segment) events() (n uint64) {
	for i := range s.frames {
		if s.frames[i].kind == frameEvents {
			n += uint64(s.frames[i].events)
		}
	}
	return n
}

// span returns the times of the earliest and latest event.
func (s *segment) span() (first, last int64) {
	first, last = math.MaxInt64, math.MinInt64
	for i := range s.frames {
		if s.frames[i].kind == frameEvents {
			first = min(first, s.frames[i].min)
			last = max(last, s.frames[i].max)
		}
	}
	return first, last
}

// damage tells what is behind the last good frame of a segment.
type damage struct {
	bytes  int64
	reason error
}

// listSegments returns paths and numbers of the segments in a folder, oldest
// first. Of a segment that was being merged when the process ended both forms
// can be there: the closed one is complete then, and the other is left over.
func listSegments(dir string) (found []segment, leftOver []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list segments: %w", err)
	}
	byNumber := map[uint64]segment{}
	for _, e := range entries { // sorted: N.tev comes before N.tev.open
		path := filepath.Join(dir, e.Name())
		if strings.HasSuffix(e.Name(), mergeSuffix) {
			leftOver = append(leftOver, path)
			continue
		}
		text, isClosed := strings.CutSuffix(e.Name(), closedSuffix)
		text, isOpen := strings.CutSuffix(text, openSuffix)
		number, err := strconv.ParseUint(text, 10, 64)
		if err != nil || !isClosed && !isOpen || !e.Type().IsRegular() {
			continue
		}
		if _, twice := byNumber[number]; twice {
			leftOver = append(leftOver, path)
			continue
		}
		byNumber[number] = segment{number: number, path: path, merged: isClosed}
	}
	for _, s := range byNumber {
		found = append(found, s)
	}
	slices.SortFunc(found, func(a, b segment) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	return found, leftOver, nil
}

// load reads the headers of the segment's frames, from the footer or by
// walking. Only a file that cannot be read at all is an error.
func (s *segment) load() (damage, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return damage{}, fmt.Errorf("open segment: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return damage{}, fmt.Errorf("open segment: %w", err)
	}
	s.size, s.closed = info.Size(), info.ModTime().UnixNano()
	d, err := s.parse(f)
	if err != nil {
		return damage{}, fmt.Errorf("read %s: %w", s.path, err)
	}
	return d, nil
}

// parse reads the headers of s.size bytes. The time of the footer, if there is
// one, replaces s.closed.
func (s *segment) parse(f io.ReaderAt) (damage, error) {
	start := make([]byte, min(s.size, fileHeaderSize))
	n, err := f.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return damage{}, err
	}
	err = checkFileHeader(start[:n])
	if errors.Is(err, errFormat) {
		s.unknown = err
		return damage{}, nil
	}
	if err != nil {
		return damage{bytes: s.size, reason: err}, nil
	}
	if s.merged {
		var closed int64
		if s.frames, closed, err = readFooter(f, s.size); err == nil {
			s.closed = closed
			return damage{}, nil
		}
	}
	end, reason := s.walk(f)
	if err != nil {
		reason = errors.Join(err, reason)
	}
	return damage{bytes: s.size - end, reason: reason}, nil
}

func readFooter(f io.ReaderAt, size int64) ([]frame, int64, error) {
	trailer := make([]byte, trailerSize)
	if _, err := f.ReadAt(trailer, size-trailerSize); err != nil {
		return nil, 0, fmt.Errorf("read footer: %w", err)
	}
	length := footerSize(trailer)
	if length == 0 || length > size-fileHeaderSize {
		return nil, 0, fmt.Errorf("read footer: %w: none at the end", errDamaged)
	}
	b := make([]byte, length)
	if _, err := f.ReadAt(b, size-length); err != nil {
		return nil, 0, fmt.Errorf("read footer: %w", err)
	}
	return parseFooter(b, size-length)
}

// walk finds the frames one after the other. It returns where they end, and
// why there if that is not the end of the file.
func (s *segment) walk(f io.ReaderAt) (end int64, reason error) {
	s.frames = nil
	head := make([]byte, frameHeaderSize)
	var payload []byte
	for end = fileHeaderSize; end < s.size; {
		n, err := f.ReadAt(head, end)
		if err != nil && !errors.Is(err, io.EOF) {
			return end, fmt.Errorf("read frame: %w", err)
		}
		if n >= len(footerMagic) && string(head[:len(footerMagic)]) == footerMagic {
			return end, nil
		}
		h, err := parseHeader(head[:n])
		if err != nil {
			return end, err
		}
		if end+h.size() > s.size {
			return end, fmt.Errorf("read frame: %w: %d bytes of %d", errDamaged, s.size-end, h.size())
		}
		payload = slices.Grow(payload[:0], int(h.length))[:h.length]
		if _, err := f.ReadAt(payload, end+frameHeaderSize); err != nil {
			return end, fmt.Errorf("read frame: %w", err)
		}
		if checksum(payload) != h.crc {
			return end, fmt.Errorf("read frame: %w: checksum of the payload differs", errDamaged)
		}
		s.frames = append(s.frames, frame{header: h, at: end})
		end += h.size()
	}
	return end, nil
}

// read appends a frame, header included, to b.
func (s *segment) read(b []byte, at *frame) ([]byte, error) {
	// Opening costs microseconds and decompressing milliseconds: no
	// descriptor is worth keeping.
	f, err := os.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	start := len(b)
	b = slices.Grow(b, int(at.size()))[:start+int(at.size())]
	if _, err := f.ReadAt(b[start:], at.at); err != nil {
		return nil, fmt.Errorf("read frame of %s: %w", s.path, err)
	}
	return b, nil
}

// remove deletes the file. One that is gone already is removed.
func (s *segment) remove() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove segment: %w", err)
	}
	return nil
}

func segmentPath(dir string, number uint64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%08d%s", number, suffix))
}
