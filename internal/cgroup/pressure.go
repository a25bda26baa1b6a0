package cgroup

import (
	"bytes"
	"fmt"
	"time"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

// ReadPressure reads a pressure file, for example /proc/pressure/cpu; f may
// be kept between calls. buf is scratch space and is returned grown.
func ReadPressure(f *hostfs.File, buf []byte) (Pressure, []byte, error) {
	b, err := f.Read(buf)
	if err != nil {
		return Pressure{}, b, err
	}
	p, err := parsePressure(b)
	if err != nil {
		return Pressure{}, b, fmt.Errorf("parse %s: %w", f.Path(), err)
	}
	return p, b, nil
}

// parsePressure reads the format of Documentation/accounting/psi.rst:
//
//	some avg10=0.00 avg60=0.00 avg300=0.00 total=0
//	full avg10=0.00 avg60=0.00 avg300=0.00 total=0
//
// with averages in percent and totals in microseconds.
func parsePressure(b []byte) (Pressure, error) {
	var p Pressure
	hasSome := false
	for len(b) > 0 {
		line, rest, ok := cutLine(b)
		if !ok {
			return Pressure{}, fmt.Errorf("line %q: %w", clip(b), ErrTruncated)
		}
		b = rest
		kind, values := cutWord(line)
		stall, ok := parseStall(values)
		switch string(kind) {
		case "some":
			p.Some, hasSome = stall, ok
		case "full":
			p.Full, p.HasFull = stall, ok
		default:
			continue
		}
		if !ok {
			return Pressure{}, malformed("line", line)
		}
	}
	if !hasSome {
		return Pressure{}, fmt.Errorf("some: %w", ErrMissingKey)
	}
	return p, nil
}

func parseStall(b []byte) (Stall, bool) {
	var s Stall
	var seen uint8 // one bit per key: a repeated key does not stand for another
	for len(b) > 0 {
		word, rest := cutWord(b)
		b = rest
		key, value, found := bytes.Cut(word, equals)
		if !found {
			return Stall{}, false
		}
		ok, bit := true, uint8(0)
		switch string(key) {
		case "avg10":
			bit = 1
			s.Avg10, ok = parsePercent(value)
		case "avg60":
			bit = 2
			s.Avg60, ok = parsePercent(value)
		case "avg300":
			bit = 4
			s.Avg300, ok = parsePercent(value)
		case "total":
			bit = 8
			s.Total, ok = parseMicroseconds(value)
		}
		if !ok {
			return Stall{}, false
		}
		seen |= bit
	}
	return s, seen == 15
}

var equals = []byte("=")

// parsePercent reads "12.34" as 0.1234; the kernel writes two decimals.
func parsePercent(b []byte) (float64, bool) {
	dot := bytes.IndexByte(b, '.')
	if dot < 0 || len(b)-dot != 3 {
		return 0, false
	}
	whole, ok := parseUint(b[:dot])
	cents, ok2 := parseUint(b[dot+1:])
	if !ok || !ok2 || whole > 100 || (whole == 100 && cents > 0) {
		return 0, false
	}
	return float64(whole*100+cents) / 10000, true
}

func parseMicroseconds(b []byte) (time.Duration, bool) {
	v, ok := parseUint(b)
	return scaled(v, time.Microsecond, ok)
}

// scaled turns a kernel time into a Duration; false if it does not fit (292
// years: the text was not a time).
func scaled(v uint64, unit time.Duration, ok bool) (time.Duration, bool) {
	const largest = uint64(1<<63 - 1)
	if !ok || v > largest/uint64(unit) {
		return 0, false
	}
	return time.Duration(v) * unit, true
}
