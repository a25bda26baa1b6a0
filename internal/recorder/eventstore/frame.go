package eventstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	frameMagic  = "TMEF"
	fileMagic   = "TMEV"
	footerMagic = "TMEI"
	endMagic    = "TMEX"

	formatVersion = 1

	fileHeaderSize  = 16
	frameHeaderSize = 84
	trailerSize     = 20

	// frameEvents is the frame kind of events; the only one so far.
	frameEvents = 1

	// maxRaw bounds a decompressed payload, so that a forged header cannot
	// make a reader allocate more. Append keeps events below it, and seal
	// refuses what is above.
	maxRaw = 16 << 20
	// maxPayload bounds a compressed one: zstd adds less than 1 % to what it
	// cannot compress.
	maxPayload = maxRaw + maxRaw/64
)

var (
	errDamaged  = errors.New("damaged")
	errTooLarge = errors.New("too large")
	// errFormat marks files of another format or of a newer version.
	errFormat = errors.New("unknown format")
)

// header describes a frame; see the package comment.
type header struct {
	kind       uint16
	length     uint32
	crc        uint32
	raw        uint32
	events     uint32
	min, max   int64
	names      uint64
	containers bloom
}

// bloom is a set of container ids with false positives: two bits of 256 each.
// With 25 ids in a frame about 3 % of the other ids seem to be there.
type bloom [4]uint64

func (b *bloom) add(id []byte) {
	h := fnv1a(id)
	b[h>>6&3] |= 1 << (h & 63)
	h >>= 32
	b[h>>6&3] |= 1 << (h & 63)
}

func (b *bloom) has(id []byte) bool {
	h := fnv1a(id)
	g := h >> 32
	return b[h>>6&3]>>(h&63)&1 == 1 && b[g>>6&3]>>(g&63)&1 == 1
}

func nameBit(name []byte) uint64 { return 1 << (fnv1a(name) & 63) }

// fnv1a is FNV-1a with 64 bits: hash/fnv would allocate per event.
// The constants are those of http://www.isthe.com/chongo/tech/comp/fnv/.
func fnv1a(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func (h *header) append(b []byte) []byte {
	start := len(b)
	le := binary.LittleEndian
	b = append(b, frameMagic...)
	b = le.AppendUint16(b, h.kind)
	b = le.AppendUint16(b, 0)
	for _, v := range [...]uint32{h.length, h.crc, h.raw, h.events} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range [...]uint64{uint64(h.min), uint64(h.max), h.names} {
		b = le.AppendUint64(b, v)
	}
	for _, v := range h.containers {
		b = le.AppendUint64(b, v)
	}
	return le.AppendUint32(b, checksum(b[start:]))
}

func parseHeader(b []byte) (header, error) {
	if len(b) < frameHeaderSize {
		return header{}, fmt.Errorf("read frame header: %w: %d bytes of %d", errDamaged, len(b), frameHeaderSize)
	}
	b = b[:frameHeaderSize]
	le := binary.LittleEndian
	if string(b[:4]) != frameMagic {
		return header{}, fmt.Errorf("read frame header: %w: starts with %q", errDamaged, b[:4])
	}
	if le.Uint32(b[80:]) != checksum(b[:80]) {
		return header{}, fmt.Errorf("read frame header: %w: checksum differs", errDamaged)
	}
	h := header{
		kind: le.Uint16(b[4:]), length: le.Uint32(b[8:]), crc: le.Uint32(b[12:]),
		raw: le.Uint32(b[16:]), events: le.Uint32(b[20:]),
		min: int64(le.Uint64(b[24:])), max: int64(le.Uint64(b[32:])), names: le.Uint64(b[40:]),
	}
	for i := range h.containers {
		h.containers[i] = le.Uint64(b[48+8*i:])
	}
	if h.length > maxPayload || h.raw > maxRaw {
		return header{}, fmt.Errorf("read frame header: %w: %d bytes of payload, %d decompressed", errDamaged, h.length, h.raw)
	}
	return h, nil
}

func (h *header) size() int64 { return frameHeaderSize + int64(h.length) }

// frame is a frame in a file.
type frame struct {
	header
	// at is where its header starts.
	at int64
}

func appendFileHeader(b []byte, created int64) []byte {
	b = append(b, fileMagic...)
	b = binary.LittleEndian.AppendUint16(b, formatVersion)
	b = binary.LittleEndian.AppendUint16(b, 0)
	return binary.LittleEndian.AppendUint64(b, uint64(created))
}

func checkFileHeader(b []byte) error {
	if len(b) < fileHeaderSize {
		return fmt.Errorf("%w: %d bytes of file header", errDamaged, len(b))
	}
	if string(b[:4]) != fileMagic {
		return fmt.Errorf("%w: starts with %q", errFormat, b[:4])
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v != formatVersion {
		return fmt.Errorf("%w: version %d, this program knows %d", errFormat, v, formatVersion)
	}
	return nil
}

func appendFooter(b []byte, frames []frame, closed int64) []byte {
	b = append(b, footerMagic...)
	start := len(b)
	for i := range frames {
		b = frames[i].append(b)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frames)))
	b = binary.LittleEndian.AppendUint64(b, uint64(closed))
	b = binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
	return append(b, endMagic...)
}

// footerSize returns the length of the footer that ends with the trailer, or
// zero when it is none.
func footerSize(trailer []byte) int64 {
	if len(trailer) < trailerSize || string(trailer[16:20]) != endMagic {
		return 0
	}
	n := int64(binary.LittleEndian.Uint32(trailer))
	return int64(len(footerMagic)) + n*frameHeaderSize + trailerSize
}

// parseFooter reads a footer of footerSize bytes that starts at the offset at
// of its file. The frames must fill the file up to there.
func parseFooter(b []byte, at int64) (frames []frame, closed int64, err error) {
	if len(b) < len(footerMagic)+trailerSize || string(b[:4]) != footerMagic {
		return nil, 0, fmt.Errorf("read footer: %w", errDamaged)
	}
	trailer := b[len(b)-trailerSize:]
	if footerSize(trailer) != int64(len(b)) {
		return nil, 0, fmt.Errorf("read footer: %w: length differs", errDamaged)
	}
	if binary.LittleEndian.Uint32(trailer[12:]) != checksum(b[4:len(b)-8]) {
		return nil, 0, fmt.Errorf("read footer: %w: checksum differs", errDamaged)
	}
	next := int64(fileHeaderSize)
	for b := b[4 : len(b)-trailerSize]; len(b) > 0; b = b[frameHeaderSize:] {
		h, err := parseHeader(b)
		if err != nil {
			return nil, 0, fmt.Errorf("read footer: %w", err)
		}
		frames = append(frames, frame{header: h, at: next})
		next += h.size()
	}
	if next != at {
		return nil, 0, fmt.Errorf("read footer: %w: frames end at %d, it starts at %d", errDamaged, next, at)
	}
	return frames, int64(binary.LittleEndian.Uint64(trailer[4:])), nil
}
