package eventstore

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"
)

func FuzzHeader(f *testing.F) {
	h := header{kind: frameEvents, length: 3, crc: 4, raw: 5, events: 6, min: -7, max: 8, names: 9, containers: bloom{1, 2, 3, 4}}
	f.Add(h.append(nil))
	f.Add([]byte(frameMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clone(b) // a fuzz test must not change its input
		// Most inputs have no good checksum: give them one.
		if len(b) >= frameHeaderSize {
			copy(b, frameMagic)
			binary.LittleEndian.PutUint16(b[6:], 0)
			binary.LittleEndian.PutUint32(b[80:], checksum(b[:80]))
		}
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		if again := h.append(nil); string(again) != string(b[:frameHeaderSize]) {
			t.Errorf("%x becomes %x", b[:frameHeaderSize], again)
		}
	})
}

func FuzzFooter(f *testing.F) {
	two := []frame{{header: header{kind: frameEvents, length: 10}}, {header: header{kind: 2, length: 20}}}
	f.Add(appendFooter(nil, two, 5), int64(fileHeaderSize+2*frameHeaderSize+30))
	f.Add(appendFooter(nil, nil, 0), int64(fileHeaderSize))
	f.Fuzz(func(t *testing.T, b []byte, at int64) {
		b = slices.Clone(b)
		if len(b) >= len(footerMagic)+trailerSize {
			binary.LittleEndian.PutUint32(b[len(b)-8:], checksum(b[4:len(b)-8]))
		}
		frames, closed, err := parseFooter(b, at)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Errorf("another error: %v", err)
			}
			return
		}
		next := int64(fileHeaderSize)
		for _, each := range frames {
			if each.at != next {
				t.Errorf("a frame at %d, want %d", each.at, next)
			}
			next += each.size()
		}
		if next != at {
			t.Errorf("frames end at %d, want %d", next, at)
		}
		again, _, err := parseFooter(appendFooter(nil, frames, closed), at)
		if err != nil || len(again) != len(frames) {
			t.Errorf("not the same when written again: %v", err)
		}
	})
}

// FuzzSegment opens any bytes as a segment and reads what it finds.
func FuzzSegment(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	defer c.Close()
	seed := appendFileHeader(nil, 1)
	var batch batch
	if raw, err := marshal(newMix().batch(3)); err != nil || batch.add(raw) != nil {
		f.Fatal(err)
	}
	h, b, err := c.seal(nil, &batch, batch.records, c.live)
	if err != nil {
		f.Fatal(err)
	}
	seed = append(seed, b...)
	f.Add(seed, false)
	f.Add(appendFooter(seed, []frame{{header: h}}, 2), true)
	f.Add([]byte(fileMagic), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, merged bool) {
		b = mend(b)
		s := segment{size: int64(len(b)), merged: merged}
		lost, err := s.parse(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("not readable: %v", err)
		}
		if lost.bytes < 0 || lost.bytes > int64(len(b)) {
			t.Errorf("%d of %d bytes lost", lost.bytes, len(b))
		}
		end := int64(fileHeaderSize)
		for _, each := range s.frames {
			if each.at != end || end+each.size() > int64(len(b)) {
				t.Fatalf("a frame of %d bytes at %d, want it at %d of %d", each.size(), each.at, end, len(b))
			}
			end += each.size()
		}
	})
}

// mend returns the bytes with good checksums in the frames: most inputs have
// none.
func mend(b []byte) []byte {
	b = slices.Clone(b) // a fuzz test must not change its input
	for at := fileHeaderSize; at+frameHeaderSize <= len(b); {
		head := b[at : at+frameHeaderSize]
		if string(head[:4]) != frameMagic {
			break
		}
		length := int(binary.LittleEndian.Uint32(head[8:]))
		at += frameHeaderSize
		if length <= len(b)-at {
			binary.LittleEndian.PutUint32(head[12:], checksum(b[at:at+length]))
		}
		binary.LittleEndian.PutUint32(head[80:], checksum(head[:80]))
		at += length
	}
	return b
}

// FuzzPayload puts any bytes into a frame whose checksums are good, as they are
// or compressed, then scans and merges it.
func FuzzPayload(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	defer c.Close()
	raw, err := marshal(newMix().batch(3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, uint32(len(raw)), true)
	f.Add(c.live.EncodeAll(raw, nil), uint32(len(raw)), false)
	f.Add([]byte{}, uint32(0), false)
	f.Fuzz(func(t *testing.T, payload []byte, raw uint32, compress bool) {
		h := header{kind: frameEvents, raw: raw % (maxRaw + 1), events: raw, max: math.MaxInt64, names: math.MaxUint64}
		h.containers = bloom{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}
		if compress {
			h.raw = uint32(len(payload))
			payload = c.closed.EncodeAll(payload, nil)
		}
		h.length, h.crc = uint32(len(payload)), checksum(payload)
		sealed := source{header: h, sealed: append(h.append(nil), payload...)}
		sc := newScan(c, Query{Kinds: []string{"process.exec"}, Containers: []string{"c1", ""}})
		err := sc.run(t.Context(), []source{sealed}, func(e Event) bool {
			if e.Name != "process.exec" || e.Container != "c1" && e.Container != "" {
				t.Errorf("an event that was not asked for: %+v", e)
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
		w := writer{codec: c, batch: &batch{}, out: bufio.NewWriter(io.Discard)}
		w.prepare([]frame{{header: h}})
		if err := w.addSealed(&h, payload); err != nil && !errors.Is(err, errDamaged) {
			t.Errorf("another error: %v", err)
		}
		if err := w.endRun(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzRequest checks that rearranging an encoded request is stable: what was
// encoded decodes to the same records.
func FuzzRequest(f *testing.F) {
	for _, logs := range []int{0, 1, 7} {
		raw, err := marshal(newMix().batch(logs))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var first, again batch
		if first.add(raw) != nil {
			if len(first.raw)+len(first.records)+len(first.groups)+len(first.resources)+len(first.groupOf)+len(first.resourceOf) > 0 {
				t.Error("something is left of a malformed request")
			}
			return
		}
		records := first.arrange(true)
		if encoded := first.encode(records); len(encoded) > len(raw) {
			t.Errorf("%d bytes become %d", len(raw), len(encoded))
		}
		if err := again.add(first.encode(records)); err != nil || len(again.records) != len(records) {
			t.Fatalf("%d records become %d: %v", len(records), len(again.records), err)
		}
		for i := range records {
			if describeAll(&first, records[i]) != describeAll(&again, again.records[i]) {
				t.Errorf("record %d differs", i)
			}
		}
	})
}

func describeAll(b *batch, r record) string {
	g := b.groups[r.group]
	of := b.resources[g.resource]
	all := fmt.Sprint(r.time)
	for _, p := range []part{r.name, r.bytes, of.bytes, of.schema, g.scope, g.schema, of.container} {
		all += fmt.Sprintf(" %q", p.of(b.raw))
	}
	return all
}
