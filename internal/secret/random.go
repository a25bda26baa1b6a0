package secret

import (
	"bytes"
	"math"
)

const (
	// randomRun is the length from which a run of characters can be a key: 128
	// bits in hexadecimal.
	randomRun = 32
	// randomShare is how many characters of such a run must lie in pieces that
	// look random. Names of pods end in up to 16 such characters, and a key in
	// base64 loses some to + / - _.
	randomShare = 20
	// randomPiece is the shortest piece that is judged by itself, and
	// randomChanges how often it must change: node2 does so once.
	randomPiece, randomChanges = 5, 2
)

// hasRandomRun finds runs of at least 32 characters of base64 most of which
// look random. Names made of words, paths, times and versions are shorter, or
// their pieces between separators do not look random.
func hasRandomRun(text []byte) bool {
	for i := 0; i < len(text); i++ {
		n := span(text[i:], isRunCharacter)
		if n >= randomRun && !isDigest(text[:i]) && looksRandom(text[i:i+n]) {
			return true
		}
		i += n
	}
	return false
}

func isRunCharacter(c byte) bool {
	return alphanumeric(c) || isSeparator(c)
}

func isSeparator(c byte) bool {
	return c == '+' || c == '/' || c == '=' || c == '-' || c == '_'
}

// isDigest tells whether what follows is the hash of an image or a layer.
func isDigest(before []byte) bool {
	return bytes.HasSuffix(before, []byte("sha256:")) || bytes.HasSuffix(before, []byte("sha512:"))
}

func looksRandom(run []byte) bool {
	random := 0
	for i := 0; i < len(run); i++ {
		if isUUID(run[i:]) {
			i += lengthOfUUID
			continue
		}
		n := span(run[i:], alphanumeric)
		if piece := run[i : i+n]; looksRandomPiece(piece) {
			random += n
		}
		i += n
	}
	return random >= randomShare
}

// lengthOfUUID is that of 123e4567-e89b-12d3-a456-426614174000.
const lengthOfUUID = 36

// isUUID tells whether text begins with one, and not with something longer.
func isUUID(text []byte) bool {
	if len(text) < lengthOfUUID || len(text) > lengthOfUUID && alphanumeric(text[lengthOfUUID]) {
		return false
	}
	for i, c := range text[:lengthOfUUID] {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !isHex(c) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// looksRandomPiece judges letters and digits without separators. Random text
// changes between capitals, small letters and digits all the time: at 45 of 100
// places in base 62, 47 in base 16. Names do so at 20 at most, not counting the
// change from a capital to the rest of its word. Letters alone are judged by
// how evenly they are used.
func looksRandomPiece(piece []byte) bool {
	if len(piece) < randomPiece {
		return false
	}
	changes, digits := 0, 0
	for i, c := range piece {
		if class(c) == digit {
			digits++
		}
		if i > 0 && class(c) != class(piece[i-1]) && (class(piece[i-1]) != capital || class(c) != small) {
			changes++
		}
	}
	if digits == len(piece) {
		return false // a number, such as a time
	}
	// 3.2 bits: 32 random hex digits have 3.6, one digit over and over 0.
	if changes >= randomChanges && 5*changes >= len(piece) && (len(piece) < randomRun || entropy(piece) > 3.2) {
		return true
	}
	// 32 random letters have 4.1 bits (case aside), joined English words 3.7.
	return len(piece) >= randomRun && entropy(piece) > 3.95
}

const (
	digit = iota
	small
	capital
)

func class(c byte) int {
	switch {
	case c <= '9':
		return digit
	case c >= 'a':
		return small
	}
	return capital
}

// entropy returns the bits per character of a piece, without regard to case.
func entropy(piece []byte) float64 {
	var counts [128]int
	for _, c := range piece {
		counts[(c|0x20)&0x7f]++ // digits have that bit already
	}
	bits := 0.0
	for _, n := range counts {
		if n > 0 {
			share := float64(n) / float64(len(piece))
			bits -= share * math.Log2(share)
		}
	}
	return bits
}
