package eventstore

import (
	"encoding/binary"
	"errors"
)

// The frames are rearranged and filtered in their encoded form: decoding an
// event into pdata costs some 1.3 us and a kilobyte, walking over it a tenth.
//
// The messages and their field numbers are those of OTLP
// (https://github.com/open-telemetry/opentelemetry-proto, logs/v1/logs.proto
// and common/v1/common.proto). Fields that are not named here are left out of
// the outer messages and kept within log records, resources and scopes.
const (
	fieldResourceLogs = 1 // ExportLogsServiceRequest.resource_logs

	fieldResource    = 1 // ResourceLogs.resource, ScopeLogs.scope
	fieldInner       = 2 // ResourceLogs.scope_logs, ScopeLogs.log_records
	fieldSchema      = 3 // schema_url of both
	fieldAttributes  = 1 // Resource.attributes
	fieldKey         = 1 // KeyValue.key
	fieldValue       = 2 // KeyValue.value
	fieldString      = 1 // AnyValue.string_value
	fieldTime        = 1 // LogRecord.time_unix_nano
	fieldObservedAt  = 11
	fieldEventName   = 12
	wireVarint       = 0
	wireFixed64      = 1
	wireBytes        = 2
	wireFixed32      = 5
	containerIDField = "container.id"
)

var errWire = errors.New("malformed protobuf")

// part is a piece of encoded bytes. It has no pointer, so that the garbage
// collector need not look at the records of a batch.
type part struct{ at, size uint32 }

func (p part) of(raw []byte) []byte { return raw[p.at:][:p.size] }

// cursor walks over the fields of the message raw[at:]. Positions count from
// the start of raw.
type cursor struct {
	raw []byte
	at  int
	err error

	// The present field: bytes is set for wireBytes, value for the others.
	number uint64
	wire   uint8
	bytes  part
	value  uint64
}

// message returns a cursor over a part of raw.
func message(raw []byte, p part) cursor {
	return cursor{raw: raw[:p.at+p.size], at: int(p.at)}
}

// next goes to the next field. At the end, after an error and at what is no
// field it returns false; err tells which.
func (c *cursor) next() bool {
	if c.at >= len(c.raw) || c.err != nil {
		return false
	}
	if tag := c.raw[c.at]; tag&0x87 == wireBytes && tag > 7 && c.short() {
		c.number, c.wire = uint64(tag>>3), wireBytes
		return true
	}
	tag := c.uvarint()
	c.number, c.wire = tag>>3, uint8(tag&7)
	left := len(c.raw) - c.at
	switch {
	case c.err != nil:
	case c.wire == wireBytes:
		size := c.uvarint()
		if size > uint64(len(c.raw)-c.at) {
			c.err, size = errWire, 0
		}
		c.bytes = part{uint32(c.at), uint32(size)}
		c.at += int(size)
	case c.wire == wireVarint:
		c.value = c.uvarint()
	case c.wire == wireFixed64 && left >= 8:
		c.value = binary.LittleEndian.Uint64(c.raw[c.at:])
		c.at += 8
	case c.wire == wireFixed32 && left >= 4:
		c.value = uint64(binary.LittleEndian.Uint32(c.raw[c.at:]))
		c.at += 4
	default:
		c.err = errWire
	}
	if c.number == 0 {
		c.err = errWire
	}
	return c.err == nil
}

// short takes a field of bytes whose tag and length have one byte each, as
// nearly all have. It is a quarter of the time of decoding.
func (c *cursor) short() bool {
	b := c.raw[c.at:]
	if len(b) < 2 || b[1] >= 0x80 || int(b[1]) > len(b)-2 {
		return false
	}
	c.bytes = part{uint32(c.at + 2), uint32(b[1])}
	c.at += 2 + int(b[1])
	return true
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.raw[c.at:])
	if n <= 0 {
		c.err = errWire
		return 0
	}
	c.at += n
	return v
}

// outer walks over a ResourceLogs or ScopeLogs and returns what stands beside
// the inner messages.
func outer(raw []byte, p part) (shared, schema part, err error) {
	c := message(raw, p)
	for c.next() {
		switch {
		case c.wire != wireBytes:
		case c.number == fieldResource:
			shared = c.bytes
		case c.number == fieldSchema:
			schema = c.bytes
		}
	}
	return shared, schema, c.err
}

// describe returns the time and the event name of an encoded log record.
func describe(raw []byte, p part) (at int64, name part, err error) {
	var own, observed uint64
	c := message(raw, p)
	for c.next() {
		switch {
		case c.number == fieldTime && c.wire == wireFixed64:
			own = c.value
		case c.number == fieldObservedAt && c.wire == wireFixed64:
			observed = c.value
		case c.number == fieldEventName && c.wire == wireBytes:
			name = c.bytes
		}
	}
	return timeOf(own, observed), name, c.err
}

// containerOf returns the container id of an encoded resource, or nothing.
func containerOf(raw []byte, resource part) (part, error) {
	c := message(raw, resource)
	for c.next() {
		if c.number != fieldAttributes || c.wire != wireBytes {
			continue
		}
		id, found, err := stringOf(raw, c.bytes, containerIDField)
		if found || err != nil {
			return id, err
		}
	}
	return part{}, c.err
}

// stringOf returns the string value of a KeyValue if it has the key.
func stringOf(raw []byte, p part, key string) (text part, found bool, err error) {
	var value part
	c := message(raw, p)
	for c.next() {
		switch {
		case c.wire != wireBytes:
		case c.number == fieldKey:
			found = string(c.bytes.of(raw)) == key
		case c.number == fieldValue:
			value = c.bytes
		}
	}
	if c.err != nil || !found {
		return part{}, false, c.err
	}
	c = message(raw, value)
	for c.next() {
		if c.number == fieldString && c.wire == wireBytes {
			return c.bytes, true, nil
		}
	}
	return part{}, true, c.err
}

func appendTag(b []byte, number, size int) []byte {
	b = append(b, byte(number<<3|wireBytes)) // all numbers are below 16
	return binary.AppendUvarint(b, uint64(size))
}

func appendPart(b []byte, number int, bytes []byte) []byte {
	if len(bytes) == 0 {
		return b
	}
	return append(appendTag(b, number, len(bytes)), bytes...)
}

// sizeOf is the length of a field with that many bytes: tag, length, bytes.
func sizeOf(size int) int {
	n := 2 + size
	for v := size >> 7; v > 0; v >>= 7 {
		n++
	}
	return n
}

func sizeOfPart(p part) int {
	if p.size == 0 {
		return 0
	}
	return sizeOf(int(p.size))
}
