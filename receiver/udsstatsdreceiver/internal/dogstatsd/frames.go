package dogstatsd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// MaxFrame is in bytes, without the length before it. No packet on any other
	// transport is larger than what fits into UDP, and neither need these be.
	MaxFrame = 64 << 10
	// frameHeader is the size of the length before a frame.
	frameHeader = 4
	// firstFrames is the size of the buffer of a connection that has not been
	// busy: a packet of MaxLine bytes, the default of clients, fits.
	firstFrames = frameHeader + MaxLine
	// maxEmptyReads is how often in a row a reader may return nothing at all,
	// as in package bufio.
	maxEmptyReads = 100
)

// What a peer can do wrong.
var (
	// ErrFrameEmpty is a frame of length 0. A peer that sends one counts
	// differently from us, so that nothing behind it can be trusted.
	ErrFrameEmpty = errors.New("read frame: the length is 0")
	// ErrFrameTooLong is a frame longer than MaxFrame.
	ErrFrameTooLong = fmt.Errorf("read frame: the length is above %d bytes", MaxFrame)
)

// Frames cuts a stream into packets. It is for one goroutine at a time.
type Frames struct {
	r      io.Reader
	counts *Counts
	// buf[start:end] has been read and not handed out.
	buf        []byte
	start, end int
	// err is why there will be no other frame.
	err error
}

// NewFrames reads from r, and counts in counts why a stream ended early.
func NewFrames(r io.Reader, counts *Counts) *Frames {
	return &Frames{r: r, counts: counts, buf: make([]byte, firstFrames)}
}

// Next returns the next packet, valid until the next call. It waits as r does.
//
// The error is [io.EOF] at the end of the stream, [io.ErrUnexpectedEOF] if that
// is inside a frame, [ErrFrameEmpty] or [ErrFrameTooLong], or that of r. All are
// final except a deadline of r ([os.ErrDeadlineExceeded]), after which Next may
// be called again and loses nothing.
func (f *Frames) Next() ([]byte, error) {
	for f.err == nil {
		frame, err := f.take()
		if frame != nil {
			return frame, nil
		}
		if err == nil {
			err = f.fill()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		f.err = err
	}
	return nil, f.err
}

// Pending is how many bytes of an unfinished frame have arrived. Who gives a
// connection up after a deadline can tell by it whether a frame was lost.
func (f *Frames) Pending() int { return f.end - f.start }

// take cuts a frame off what has been read; it is nil if that is not enough.
func (f *Frames) take() ([]byte, error) {
	pending := f.buf[f.start:f.end]
	if len(pending) < frameHeader {
		return nil, nil
	}
	size := binary.LittleEndian.Uint32(pending)
	switch {
	case size == 0:
		f.counts.Add(FrameEmpty, 1)
		return nil, ErrFrameEmpty
	case size > MaxFrame:
		f.counts.Add(FrameTooLong, 1)
		return nil, ErrFrameTooLong
	case len(pending)-frameHeader < int(size):
		return nil, nil
	}
	f.start += frameHeader + int(size)
	return pending[frameHeader : frameHeader+size], nil
}

// fill reads more. There is room for it: the frame that take waits for is not
// all there, and either the buffer holds the largest or it grows.
func (f *Frames) fill() error {
	f.makeRoom()
	for range maxEmptyReads {
		n, err := f.r.Read(f.buf[f.end:])
		f.end += n
		switch {
		case n > 0:
			return nil // a reader repeats its error
		case err != nil:
			return f.ended(err)
		}
	}
	return io.ErrNoProgress
}

// makeRoom moves what is pending to the front. A buffer that was filled to its
// end is too small, for the frame or for the traffic: the next has the full size.
func (f *Frames) makeRoom() {
	pending := f.buf[f.start:f.end]
	if f.end == len(f.buf) && len(f.buf) < frameHeader+MaxFrame {
		f.buf = make([]byte, frameHeader+MaxFrame)
	}
	f.start, f.end = 0, copy(f.buf, pending)
}

// ended turns the error of a reader into ours.
func (f *Frames) ended(err error) error {
	isDeadline := errors.Is(err, os.ErrDeadlineExceeded)
	if f.Pending() > 0 && !isDeadline {
		f.counts.Add(FramePartial, 1)
	}
	switch {
	case err == io.EOF && f.Pending() > 0:
		return io.ErrUnexpectedEOF
	case err == io.EOF:
		return io.EOF
	}
	return fmt.Errorf("read frame: %w", err)
}
