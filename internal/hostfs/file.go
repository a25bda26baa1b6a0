package hostfs

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Budget bounds the descriptors that kept files hold together.
// The zero value keeps none. It is safe for concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64
	// refused counts reads that had to open and close because the budget was
	// spent; reopened counts descriptors that refused a positioned read.
	refused, reopened atomic.Uint64
}

// NewBudget returns a budget of limit descriptors; limit <= 0 keeps none.
func NewBudget(limit int) *Budget { return &Budget{limit: int64(limit)} }

// BudgetStats is what a [Budget] has seen so far.
type BudgetStats struct {
	// Open is the number of descriptors held now.
	Open int64
	// Refused counts reads by open, read and close because the budget was
	// spent; Reopened counts descriptors replaced after ESPIPE or EINVAL.
	Refused, Reopened uint64
}

// Stats returns the current figures.
func (b *Budget) Stats() BudgetStats {
	return BudgetStats{Open: b.used.Load(), Refused: b.refused.Load(), Reopened: b.reopened.Load()}
}

// take never lets used exceed the limit, not even for a moment: Stats shows it.
func (b *Budget) take() bool {
	for {
		used := b.used.Load()
		if used >= b.limit {
			b.refused.Add(1)
			return false
		}
		if b.used.CompareAndSwap(used, used+1) {
			return true
		}
	}
}

func (b *Budget) give() { b.used.Add(-1) }

// File is one kernel file that is read again and again. It keeps its
// descriptor while the budget allows and the file system supports positioned
// reads. Made for statistics: a file of records longer than 2 KiB each (the
// mount table of a process) is for [ReadFile]. It is not safe for concurrent
// use.
type File struct {
	path   string
	budget *Budget
	fd     int
	// noPread remembers that this file refuses positioned reads even when
	// freshly opened, so that it is not kept again.
	noPread bool
}

// NewFile returns a file that will be opened by its first Read. The budget
// must not be nil.
func NewFile(path string, budget *Budget) File {
	return File{path: path, budget: budget, fd: -1}
}

// Path is the file's absolute path.
func (f *File) Path() string { return f.path }

// Read returns the whole content, read into buf (grown as needed); see
// [ReadFile]. After [ErrGone] the descriptor is closed; a later Read tries the
// path again.
func (f *File) Read(buf []byte) ([]byte, error) {
	if f.fd < 0 {
		if f.noPread || !f.budget.take() {
			return ReadFile(f.path, buf)
		}
		fd, err := openRead(f.path)
		if err != nil {
			f.budget.give()
			return buf[:0], classify("open", f.path, err)
		}
		f.fd = fd
	}
	out, err := f.pread(buf)
	if err == nil {
		return out, nil
	}
	if errors.Is(err, unix.ESPIPE) || errors.Is(err, unix.EINVAL) {
		// Some kernels (Ubuntu's 6.14) make procfs files non-seekable:
		// netdata met it in the field. Reading from the start still works.
		f.Close()
		f.noPread = true
		f.budget.reopened.Add(1)
		return ReadFile(f.path, buf)
	}
	f.Close()
	return out, err
}

// oneReadMax is the content below which a single read has seen all of it. It
// is half of the smallest page: a kernel file of many records hands out a page
// per call less the record that no longer fitted, and no record of a kept file
// comes near half a page. Asking again at the end costs 0.3 µs, half of the
// first read of a one-number file.
const oneReadMax = 2048

func (f *File) pread(buf []byte) ([]byte, error) {
	// The common case, written out: one call, no closure, no allocation.
	n, err := unix.Pread(f.fd, buf[:cap(buf)], 0)
	if err == nil && n < min(cap(buf), oneReadMax) {
		return buf[:n], nil
	}
	fd := f.fd
	return readAll(f.path, buf[:max(n, 0)], func(p []byte, off int64) (int, error) { return unix.Pread(fd, p, off) })
}

// Close gives the descriptor back. It is safe to call twice; a closed file
// reopens on its next Read.
func (f *File) Close() {
	if f.fd < 0 {
		return
	}
	_ = unix.Close(f.fd)
	f.fd = -1
	f.budget.give()
}
