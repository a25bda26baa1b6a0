package programpages

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const kilobyte = 1024

var errFormat = errors.New("unknown format")

// mapping is a part of the address space, from start up to end.
type mapping struct {
	start, end uintptr
	mode, file string
	// rss is what is resident; anonymous is what of it is no longer the file's, because
	// somebody has written there, and swapped what of that is not resident. In bytes.
	rss, anonymous, swapped int64
	// counted are the lines of these that were there.
	counted int
}

// releasable tells whether the file has every byte of it.
func (m mapping) releasable(program string) bool {
	return m.file == program && len(m.mode) == 4 && m.mode[1] == '-' && m.mode[3] == 'p' &&
		m.counted == 3 && m.anonymous == 0 && m.swapped == 0
}

// parseMappings returns those of smaps that can be released. A mapping is a line with its
// addresses, access rights and file, followed by lines with what there is to count:
//
//	00400000-0316b000 r-xp 00000000 fe:00 10560586                    /usr/bin/tallyman
//	Rss:               38572 kB
//	Anonymous:             0 kB
//	Swap:                  0 kB
//
// (https://docs.kernel.org/filesystems/proc.html)
func parseMappings(text []byte, program string) ([]mapping, error) {
	var found []mapping
	var last mapping
	keep := func() {
		if last.releasable(program) {
			found = append(found, last)
		}
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		first, rest, _ := strings.Cut(line, " ")
		name, counts := strings.CutSuffix(first, ":")
		var err error
		switch {
		case !counts:
			keep()
			last, err = parseHead(first, rest)
		case name == "Rss":
			err = last.count(&last.rss, rest)
		case name == "Anonymous":
			err = last.count(&last.anonymous, rest)
		case name == "Swap":
			err = last.count(&last.swapped, rest)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	keep()
	return found, nil
}

// parseHead reads a mapping's first line, whose addresses are cut off already.
func parseHead(addresses, rest string) (mapping, error) {
	from, to, ok := strings.Cut(addresses, "-")
	start, errStart := strconv.ParseUint(from, 16, strconv.IntSize)
	end, errEnd := strconv.ParseUint(to, 16, strconv.IntSize)
	if err := errors.Join(errStart, errEnd); !ok || err != nil || end < start {
		return mapping{}, errFormat
	}
	m := mapping{start: uintptr(start), end: uintptr(end)}
	// Access rights, offset, device and inode, then blanks up to the file's name, which
	// may have some of its own.
	for i := range 4 {
		var field string
		if field, rest, ok = strings.Cut(rest, " "); !ok {
			return mapping{}, errFormat
		}
		if i == 0 {
			m.mode = field
		}
	}
	m.file = strings.TrimLeft(rest, " ")
	return m, nil
}

// count reads one of the sizes.
func (m *mapping) count(size *int64, text string) (err error) {
	*size, err = parseSize(text)
	m.counted++
	return err
}

func parseSize(text string) (int64, error) {
	number, ok := strings.CutSuffix(strings.TrimLeft(text, " "), " kB")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n < 0 || n > (1<<63-1)/kilobyte {
		return 0, errFormat
	}
	return n * kilobyte, nil
}
