package eventstore

import (
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// codec turns records into frames and back. It is safe for concurrent use and
// must be closed.
type codec struct {
	// live serves the frames of Append, which so never waits for a merge or a
	// cut; closed serves those.
	live, closed *zstd.Encoder
	decoder      *zstd.Decoder
}

// window bounds what the encoders remember, and with it their memory. A merged
// frame of the events in the package's benchmark has 1.1 MB.
const window = 1 << 20

func newCodec() (*codec, error) {
	// In the package's benchmark the fastest level makes 30.4 bytes of an
	// event, the next one 32.2 in a tenth more time for all: like stands beside
	// like. Without entropy coding of what matches nothing it is 31.3 bytes,
	// for a tenth less time, and a scan reads faster.
	encoder := func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithNoEntropyCompression(true),
			zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderCRC(false)) // the frame has its own checksum
	}
	live, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	closed, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	// Two at a time: a merge does not hold up a scan.
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxRaw), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return &codec{live: live, closed: closed, decoder: decoder}, nil
}

func (c *codec) Close() {
	// They write to nowhere, so that nothing can go wrong.
	_ = c.live.Close()
	_ = c.closed.Close()
	c.decoder.Close()
}

// seal appends a whole frame, header and payload, to dst. What would be more
// than a reader takes is an error, and dst as it was.
func (c *codec) seal(dst []byte, of *batch, records []record, encoder *zstd.Encoder) (header, []byte, error) {
	h := of.summarise(records)
	raw := of.encode(records)
	if len(raw) > maxRaw {
		return header{}, dst, fmt.Errorf("seal frame of %d events: %w: %d bytes, at most %d", len(records), errTooLarge, len(raw), maxRaw)
	}
	h.raw = uint32(len(raw))
	at := len(dst)
	dst = slices.Grow(dst, frameHeaderSize+len(raw)/4)[:at+frameHeaderSize]
	dst = encoder.EncodeAll(raw, dst)
	payload := dst[at+frameHeaderSize:]
	h.length = uint32(len(payload))
	h.crc = checksum(payload)
	h.append(dst[at:at])
	return h, dst, nil
}

// unseal appends the checked and decompressed payload of a frame to dst. After
// an error dst is as it was.
func (c *codec) unseal(dst []byte, h *header, payload []byte) ([]byte, error) {
	if uint32(len(payload)) != h.length || checksum(payload) != h.crc {
		return dst, fmt.Errorf("read frame: %w: checksum of the payload differs", errDamaged)
	}
	at := len(dst)
	dst = slices.Grow(dst, int(h.raw))
	// The room in dst bounds what the decoder writes.
	raw, err := c.decoder.DecodeAll(payload, dst[at:at])
	if err != nil {
		return dst, fmt.Errorf("decompress frame: %w: %w", errDamaged, err)
	}
	if len(raw) != int(h.raw) {
		return dst, fmt.Errorf("decompress frame: %w: %d bytes instead of %d", errDamaged, len(raw), h.raw)
	}
	return dst[:at+len(raw)], nil
}
