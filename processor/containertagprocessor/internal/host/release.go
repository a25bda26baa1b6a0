package host

import (
	"bytes"
	"strings"

	"github.com/tallymanhq/tallyman/internal/hostfs"
)

func readRelease(roots hostfs.Roots) map[string]string {
	// The order is that of os-release(5).
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		if content, err := readBelow(roots.Root, name); err == nil {
			return parseRelease(content)
		}
	}
	return nil
}

// parseRelease reads os-release(5): assignments as a shell would read them,
//
//	PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
//	VERSION_ID="12"
//
// without expansion. Lines that are none are skipped, as are values that are not
// short printable text. A later line wins.
func parseRelease(content []byte) map[string]string {
	values := make(map[string]string)
	for line := range bytes.Lines(content) {
		key, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if !ok || key == "" || strings.HasPrefix(key, "#") {
			continue
		}
		if value, ok = unquote(value); ok && isText(value) {
			values[key] = value
		}
	}
	return values
}

// unquote returns the value without its quotes, and false if it has more than
// one word or an open quote.
func unquote(value string) (string, bool) {
	if value == "" {
		return "", true
	}
	switch quote := value[0]; quote {
	case '\'':
		inner, ok := strings.CutSuffix(value[1:], "'")
		return inner, ok && !strings.Contains(inner, "'")
	case '"':
		return unescape(value[1:])
	default:
		return value, !strings.ContainsAny(value, " \t'\"\\$`")
	}
}

// unescape reads up to the closing double quote, which must be the end. Before
// the four characters that are special to a shell a backslash is left out.
func unescape(text string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), i == len(text)-1
		case c == '\\' && i+1 < len(text) && strings.IndexByte("\"$\\`", text[i+1]) >= 0:
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
