package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Errors of the parsers. They are wrapped with the offending text.
var (
	// ErrMalformed says that a kernel file did not have its documented form.
	ErrMalformed = errors.New("malformed")
	// ErrTruncated says that the content did not end in a newline: the
	// kernel ends every statistic with one, so a number may be cut.
	ErrTruncated = errors.New("truncated")
	// ErrMissingKey says that a key that every kernel writes was not there.
	ErrMissingKey = errors.New("missing key")
)

// quoteMax bounds how much foreign text an error carries.
const quoteMax = 64

func malformed(what string, b []byte) error {
	if len(b) > quoteMax {
		b = b[:quoteMax]
	}
	return fmt.Errorf("%s %q: %w", what, b, ErrMalformed)
}

// parseUint reads a whole unsigned decimal number.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || v > (math.MaxUint64-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	return v, true
}

// cutLine splits off the first line. ok is false when no newline is left.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, b, false
	}
	return b[:i], b[i+1:], true
}

// cutWord splits off what stands before the first blank.
func cutWord(b []byte) (word, rest []byte) {
	i := bytes.IndexByte(b, ' ')
	if i < 0 {
		return b, nil
	}
	return b[:i], b[i+1:]
}

// parseValue reads a file that holds one number and a newline.
func parseValue(b []byte) (uint64, error) {
	line, rest, ok := cutLine(b)
	if !ok {
		return 0, fmt.Errorf("value %q: %w", clip(b), ErrTruncated)
	}
	v, ok := parseUint(line)
	if !ok || len(rest) > 0 {
		return 0, malformed("value", b)
	}
	return v, nil
}

// parseLimit is parseValue for v2 limits, where "max" means no limit.
func parseLimit(b []byte) (uint64, error) {
	if string(b) == "max\n" {
		return Unlimited, nil
	}
	return parseValue(b)
}

func clip(b []byte) []byte { return b[:min(len(b), quoteMax)] }

// field is one wanted key of a flat keyed file.
type field struct {
	key      string
	dst      *uint64
	optional bool // older kernels do not write it
	seen     bool
}

// parseKeyed reads "key value\n" lines into the wanted fields. Keys it does
// not know are skipped: new kernels add lines. A wanted key that comes twice
// is malformed: nobody can say which number is right.
// The kernel keeps the order of keys, so the field after the last match is
// tried first.
func parseKeyed(b []byte, fields []field) error {
	next := 0
	for len(b) > 0 {
		line, rest, ok := cutLine(b)
		if !ok {
			return fmt.Errorf("line %q: %w", clip(b), ErrTruncated)
		}
		b = rest
		key, value := cutWord(line)
		i := findField(fields, key, next)
		if i < 0 {
			continue
		}
		v, ok := parseUint(value)
		if !ok || fields[i].seen {
			return malformed("line", line)
		}
		*fields[i].dst, fields[i].seen = v, true
		next = i + 1
	}
	for i := range fields {
		if !fields[i].seen && !fields[i].optional {
			// A copy: else the compiler takes it that all of fields escapes,
			// and every caller's numbers live on the heap.
			return fmt.Errorf("%s: %w", strings.Clone(fields[i].key), ErrMissingKey)
		}
	}
	return nil
}

func findField(fields []field, key []byte, next int) int {
	if next < len(fields) && string(key) == fields[next].key {
		return next
	}
	for i := range fields {
		if string(key) == fields[i].key {
			return i
		}
	}
	return -1
}
