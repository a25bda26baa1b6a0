package request

const upperHex = "0123456789ABCDEF"

// appendEscaped appends text with everything but the unreserved characters of
// RFC 3986 percent-encoded. The result means the same to every parser of paths
// and queries.
func appendEscaped(b []byte, text string) []byte {
	for i := range len(text) {
		c := text[i]
		if isUnreserved(c) {
			b = append(b, c)
			continue
		}
		b = append(b, '%', upperHex[c>>4], upperHex[c&15])
	}
	return b
}

// hexByte reads the two digits after a percent sign.
func hexByte(text string) (byte, bool) {
	if len(text) < 2 {
		return 0, false
	}
	high, ok1 := hexDigit(text[0])
	low, ok2 := hexDigit(text[1])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unescape decodes a name or value of a query: form encoding, as all clients
// of the engine send it.
func unescape(text string) (string, bool) {
	plain := true
	for i := range len(text) {
		plain = plain && text[i] != '%' && text[i] != '+'
	}
	if plain {
		return text, true
	}
	decoded := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			b, ok := hexByte(text[i+1:])
			if !ok {
				return "", false
			}
			c = b
			i += 2
		}
		decoded = append(decoded, c)
	}
	return string(decoded), true
}
