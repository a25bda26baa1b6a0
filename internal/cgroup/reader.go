package cgroup

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// ErrGone says that the cgroup was removed.
var ErrGone = hostfs.ErrGone

// Reader reads one cgroup again and again through kept descriptors. It is not
// safe for concurrent use. Close gives its descriptors back.
type Reader struct {
	host  *Host
	files []readerFile
	want  Part
	// gone is what the last pass that tried any file found.
	gone bool
}

// readerFile is one source of one cgroup.
type readerFile struct {
	hostfs.File
	source int // index into host.sources
	// absent: the last read said that this kernel, or this cgroup, does not
	// have the file. It is tried again with the slow files only.
	absent bool
}

// NewReader returns a reader of the given parts of a cgroup. Descriptors are
// taken from budget with the first Read.
func (h *Host) NewReader(cgroupPath string, budget *hostfs.Budget, parts Part) *Reader {
	r := &Reader{host: h, files: make([]readerFile, 0, len(h.sources)), want: parts, gone: true}
	for i := range h.sources {
		src := &h.sources[i]
		if h.needs(i)&parts == 0 {
			continue
		}
		name := src.mount.file(cgroupPath, src.file)
		if name == "" {
			continue
		}
		r.files = append(r.files, readerFile{File: hostfs.NewFile(name, budget), source: i})
	}
	return r
}

// needs is what source i is read for: its own parts, and those of the source
// that cannot be understood without it.
func (h *Host) needs(i int) Part {
	p := h.sources[i].part
	if i+1 < len(h.sources) && h.sources[i+1].second {
		p |= h.sources[i+1].part
	}
	return p
}

// Read fills s: the fast files always, the slow ones (memory.stat and limits)
// if slow is set; without it their last values stay in s. The first Read of a
// Sample must be slow. buf is scratch space and is returned, grown if needed.
//
// The only error is [ErrGone]: not one file of the cgroup is left. Whatever
// else goes wrong leaves its part out of s.Have and is counted, see
// [Host.Problems].
func (r *Reader) Read(s *Sample, buf []byte, slow bool) ([]byte, error) {
	s.Have &^= r.parts(slow)
	tried, found, previous := false, false, false
	for i := range r.files {
		f := &r.files[i]
		src := &r.host.sources[f.source]
		if (src.slow || f.absent) && !slow {
			previous = false
			continue
		}
		if (src.fallback && s.Have&src.part != 0) || (src.second && !previous) {
			continue
		}
		var present bool
		previous, present, buf = r.readFile(f, s, buf)
		tried, found = true, found || present
		if previous {
			s.Have |= src.delivers(buf) & r.want
		}
	}
	s.Known |= s.Have
	if tried {
		r.gone = !found
	}
	if r.gone {
		r.Close() // also what this pass had no reason to try
		return buf, ErrGone
	}
	return buf, nil
}

// parts is what a pass is about to renew.
func (r *Reader) parts(slow bool) Part {
	var p Part
	for i := range r.files {
		src := &r.host.sources[r.files[i].source]
		if slow || !src.slow {
			p |= src.part
		}
	}
	return p & r.want
}

// readFile reports whether the file was read and parsed, and whether it was
// there at all.
func (r *Reader) readFile(f *readerFile, s *Sample, buf []byte) (ok, present bool, _ []byte) {
	buf, err := f.Read(buf)
	if err != nil {
		f.absent = true
		if errors.Is(err, ErrGone) {
			return false, false, buf
		}
		// EOPNOTSUPP: pressure files with PSI switched off (psi_disabled).
		if !errors.Is(err, unix.EOPNOTSUPP) {
			r.host.stats.readError(f.source, err)
		}
		return false, true, buf
	}
	f.absent = false
	if err := r.host.sources[f.source].parse(buf, s); err != nil {
		r.host.stats.parseError(f.source, fmt.Errorf("parse %s: %w", f.Path(), err))
		return false, true, buf
	}
	return true, true, buf
}

// Close gives the descriptors back. It is safe to call twice.
func (r *Reader) Close() {
	for i := range r.files {
		r.files[i].Close()
	}
}
