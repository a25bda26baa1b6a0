package dogstatsd

import (
	"unicode"
	"unicode/utf8"
)

// Clean makes a name, tag or set member valid in OTLP, whose strings are UTF-8:
// U+FFFD stands for each run of invalid bytes and control characters. It
// allocates the string, and no more if nothing has to change.
func Clean(text []byte) (clean string, changed bool) { return cleaned(text, unicode.IsControl) }

// CleanText is Clean for the texts of events and service checks, which keep
// their tabs and line breaks.
func CleanText(text []byte) (clean string, changed bool) { return cleaned(text, isControlInText) }

func isControlInText(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r'
}

func cleaned(text []byte, isControl func(rune) bool) (string, bool) {
	good := runOf(text, true, isControl)
	if good == len(text) {
		return string(text), false
	}
	// At worst every second byte is bad and becomes three, so that two are four.
	clean := make([]byte, 0, 2*len(text)+utf8.UTFMax)
	for {
		clean = append(clean, text[:good]...)
		if text = text[good:]; len(text) == 0 {
			return string(clean), true
		}
		clean = utf8.AppendRune(clean, utf8.RuneError)
		text = text[runOf(text, false, isControl):]
		good = runOf(text, true, isControl)
	}
}

// runOf returns how many bytes at the start are all good, or all bad.
func runOf(text []byte, good bool, isControl func(rune) bool) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		isBad := r == utf8.RuneError && size == 1 || isControl(r)
		if isBad == good {
			return i
		}
		i += size
	}
	return len(text)
}
