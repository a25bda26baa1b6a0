package dogstatsd

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unsafe"
)

// parseFloat reads what Go's strconv reads, into NaN and infinity too.
func parseFloat(text []byte) (float64, bool) {
	if value, ok := parseDecimal(text); ok {
		return value, true
	}
	return parseExotic(text)
}

// maxDecimal is the longest text for parseDecimal. With 16 bytes there are at
// most 15 digits beside a point, whose number and power of ten are both exact
// floats, so that their quotient is rounded once; without a point there are at
// most 16 digits, whose conversion is rounded once. So the result is what
// strconv says.
const maxDecimal = 16

// powersOfTen are exact up to 10^22.
var powersOfTen = [maxDecimal]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// parseDecimal reads short decimals without exponent, which nearly all values
// are. Anything else is left to parseExotic.
func parseDecimal(text []byte) (float64, bool) {
	if len(text) == 0 || len(text) > maxDecimal {
		return 0, false
	}
	digits := withoutSign(text)
	mantissa, point := uint64(0), -1
	for i, c := range digits {
		if digit := c - '0'; digit <= 9 {
			mantissa = mantissa*10 + uint64(digit)
			continue
		}
		if c != '.' || point >= 0 {
			return 0, false
		}
		point = i
	}
	value := float64(mantissa)
	switch {
	case point < 0 && len(digits) == 0, point >= 0 && len(digits) == 1:
		return 0, false // a sign or a point alone
	case point >= 0:
		value /= powersOfTen[len(digits)-1-point]
	}
	if text[0] == '-' {
		value = -value
	}
	return value, true
}

// lastDecimal is parseDecimal for what a text has from a place on. Up to eight
// bytes without a sign are treated as one number, the first in the text the
// lowest. That is half a nanosecond faster than a loop over a value that never
// changes (BenchmarkParse), and has no branch for each byte to be guessed wrong.
func lastDecimal(text []byte, from int) (float64, bool) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	size := len(text) - from
	if size <= 0 || size > 8 || len(text) < 8 {
		return parseDecimal(text[from:])
	}
	// What stands before the value becomes zeros.
	digits := binary.LittleEndian.Uint64(text[len(text)-8:]) ^ '0'*ones
	digits = digits >> (64 - 8*size) << (64 - 8*size)
	behind := 0
	const point = ('.' ^ '0') * ones
	// The first zero byte is the lowest with a high bit here.
	if found := (digits ^ point - ones) &^ (digits ^ point) & highs; found != 0 {
		if size == 1 {
			return 0, false
		}
		// What stands before the point moves up into its place.
		shift := bits.TrailingZeros64(found) - 7
		before := uint64(1)<<shift - 1
		digits = digits&before<<8 | digits&^(before<<8|0xFF)
		behind = 7 - shift/8
	}
	if (digits+(0x80-10)*ones|digits)&highs != 0 { // a byte above 9
		return parseDecimal(text[from:])
	}
	// Neighbours join: two digits each in bytes 0, 2, 4 and 6, and then all eight in
	// the upper half of a sum of products.
	const pairs = 0x000000FF000000FF
	digits = digits*10 + digits>>8
	digits = digits&pairs*(1_000_000<<32+100) + digits>>16&pairs*(10_000<<32+1)
	return float64(int64(digits>>32)) / powersOfTen[behind&7], true
}

// parseExotic reads exponents, hexadecimals, words and long numbers. What is
// clearly no number is refused before strconv, which allocates an error for it:
// clients do send "None" and "null".
func parseExotic(text []byte) (float64, bool) {
	unsigned := withoutSign(text)
	switch {
	case len(unsigned) == 0:
		return 0, false
	case bytes.EqualFold(text, []byte("nan")):
		return math.NaN(), true
	case bytes.EqualFold(unsigned, []byte("inf")), bytes.EqualFold(unsigned, []byte("infinity")):
		return math.Inf(1), true // of either sign, which nobody asks for
	case unsigned[0] != '.' && (unsigned[0] < '0' || unsigned[0] > '9'):
		return 0, false
	}
	for _, c := range unsigned {
		if !floatBytes[c] {
			return 0, false
		}
	}
	// strconv keeps no part of the text, not even in its error.
	value, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	return value, err == nil
}

// floatBytes are the bytes of Go's decimal and hexadecimal floats.
var floatBytes = [256]bool{
	'0': true, '1': true, '2': true, '3': true, '4': true, '5': true, '6': true, '7': true, '8': true, '9': true,
	'a': true, 'b': true, 'c': true, 'd': true, 'e': true, 'f': true, 'x': true, 'p': true,
	'A': true, 'B': true, 'C': true, 'D': true, 'E': true, 'F': true, 'X': true, 'P': true,
	'+': true, '-': true, '.': true, '_': true,
}

// parseInt reads a decimal integer with an optional sign.
func parseInt(text []byte) (int64, bool) {
	value, ok := parseUint(withoutSign(text))
	if !ok || value > math.MaxInt64 {
		return 0, false
	}
	if text[0] == '-' {
		return -int64(value), true
	}
	return int64(value), true
}

// parseUint reads a decimal integer without a sign.
func parseUint(text []byte) (uint64, bool) {
	value := uint64(0)
	for _, c := range text {
		digit := uint64(c - '0')
		if c < '0' || c > '9' || value > (math.MaxUint64-digit)/10 {
			return 0, false
		}
		value = value*10 + digit
	}
	return value, len(text) > 0
}

func withoutSign(text []byte) []byte {
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		return text[1:]
	}
	return text
}
