package project

import "io"

// source reads the engine's answer up to an offset that moves on with every
// element, so that the decoder's buffer, which grows with its longest token, is
// bounded by the size of an element.
type source struct {
	reader io.Reader
	offset int64 // of the next byte
	limit  int64 // first offset that may not be read
	err    error // sticky: the decoder forgets an error that comes with bytes
}

func (s *source) reset(reader io.Reader) {
	*s = source{reader: reader, limit: MaxElement}
}

// allow lets the element that begins at offset be read.
func (s *source) allow(offset int64) { s.limit = offset + MaxElement }

// Read implements io.Reader. It asks for no byte beyond the limit.
func (s *source) Read(buf []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	room := s.limit - s.offset
	if room <= 0 {
		return 0, ErrTooLarge // not kept: the next element may read on
	}
	if int64(len(buf)) > room {
		buf = buf[:room]
	}
	n, err := s.reader.Read(buf)
	s.offset += int64(n)
	s.err = err
	return n, err
}
