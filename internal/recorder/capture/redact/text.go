package redact

import (
	"strings"

	"github.com/tallymanhq/tallyman/internal/secret"
)

// text masks keys in PEM blocks first, because they have blanks, then what
// names announce, then what is left by its looks.
func (r *Redactor) text(text string) (string, int) {
	text, blocks := maskBlocks(text)
	text, named := maskNamed(text)
	text, words := r.maskWords(text)
	return text, blocks + named + words
}

const (
	blockBegin = "-----BEGIN "
	blockEnd   = "-----END "
	dashes     = "-----"
)

// maskBlocks masks PEM blocks: from -----BEGIN X----- to -----END X-----, or to
// the end of the text.
func maskBlocks(text string) (string, int) {
	if !strings.Contains(text, blockBegin) {
		return text, 0
	}
	var out strings.Builder
	n := 0
	for {
		before, rest, found := strings.Cut(text, blockBegin)
		out.WriteString(before)
		if !found {
			return out.String(), n
		}
		n++
		out.WriteString(Mask)
		_, rest, _ = strings.Cut(rest, blockEnd)
		_, text, _ = strings.Cut(rest, dashes)
	}
}

// maskNamed masks the values of name=value and name: value whose name says that
// they are secret.
func maskNamed(text string) (string, int) {
	var out strings.Builder
	n, done := 0, 0
	for i := 0; i < len(text); i++ {
		if text[i] != '=' && text[i] != ':' {
			continue
		}
		name := nameBefore(text[done:i])
		if name == "" || !isSecretName(name, text[i]) {
			continue
		}
		from, to := valueAfter(text, i+1, name)
		if from == to || text[from:to] == Mask {
			continue
		}
		out.WriteString(text[done:from])
		out.WriteString(Mask)
		n++
		done, i = to, to-1
	}
	if n == 0 {
		return text, 0
	}
	out.WriteString(text[done:])
	return out.String(), n
}

// isSecretName is more careful with a colon: it also stands in prose, in times
// and in addresses.
func isSecretName(name string, sign byte) bool {
	if sign == ':' {
		return secret.Name(name) || isHeader(name)
	}
	return secret.SensitiveName(name)
}

// isHeader tells of HTTP headers whose whole rest of the line is secret.
func isHeader(name string) bool {
	for _, header := range []string{"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Auth-Token", "X-Api-Key"} {
		if strings.EqualFold(name, header) {
			return true
		}
	}
	return false
}

// longestName bounds how far back a name is looked for, which keeps the whole
// linear.
const longestName = 128

// nameBefore returns the word at the end of a text, quotes around it left out.
func nameBefore(text string) string {
	text = strings.TrimRight(text[max(0, len(text)-longestName):], " \"'\\")
	start := len(text)
	for start > 0 && isNameByte(text[start-1]) {
		start--
	}
	return text[start:]
}

func isNameByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '-' || c == '.'
}

// valueAfter returns where the value begins and ends: in quotes up to the next
// one of its kind, of a header up to the end of the line or quote, else up to
// what cannot be in a word.
func valueAfter(text string, from int, name string) (begin, end int) {
	for from < len(text) && (text[from] == ' ' || text[from] == '\\') {
		from++
	}
	stop := " \t\r\n,;&\"'"
	if from < len(text) && (text[from] == '"' || text[from] == '\'') {
		stop = text[from : from+1]
		from++
	} else if isHeader(name) {
		stop = "\r\n\"'"
	}
	if n := strings.IndexAny(text[from:], stop); n >= 0 {
		return from, from + n
	}
	return from, len(text)
}

// maskWords looks at every word by itself.
func (r *Redactor) maskWords(text string) (string, int) {
	var out strings.Builder
	n := 0
	for len(text) > 0 {
		end := strings.IndexAny(text, " \t\r\n\"'<>")
		if end < 0 {
			end = len(text)
		}
		word, found := r.word(text[:end])
		n += found
		out.WriteString(word)
		if end < len(text) {
			out.WriteByte(text[end])
			end++
		}
		text = text[end:]
	}
	return out.String(), n
}

// shortest is the shortest word that package secret finds anything in.
const shortest = 8

func (r *Redactor) word(word string) (string, int) {
	if len(word) < shortest {
		return word, 0
	}
	word, n := maskUserInfo(word)
	if secret.Certain([]byte(word)) {
		return Mask, n + 1
	}
	if !secret.Likely([]byte(word)) {
		return word, n
	}
	// Only the piece that looks like a secret goes.
	var out strings.Builder
	for len(word) > 0 {
		end := strings.IndexAny(word, ",;:()[]{}|&?#@")
		if end < 0 {
			end = len(word)
		}
		piece, found := r.piece(word[:end])
		n += found
		out.WriteString(piece)
		if end < len(word) {
			out.WriteByte(word[end])
			end++
		}
		word = word[end:]
	}
	return out.String(), n
}

// piece masks what looks random, except ids of containers in it.
func (r *Redactor) piece(piece string) (string, int) {
	if !secret.Likely([]byte(piece)) {
		return piece, 0
	}
	if r.Keep == nil {
		return Mask, 1
	}
	// An id of a container, say in the path of its cgroup, is no secret: the rest
	// is judged without it.
	judged := piece
	for _, field := range strings.FieldsFunc(piece, func(c rune) bool { return c == '/' || c == '.' || c == '-' || c == '=' }) {
		if r.Keep(field) {
			judged = strings.ReplaceAll(judged, field, "")
		}
	}
	if judged != piece && !secret.Likely([]byte(judged)) {
		return piece, 0
	}
	return Mask, 1
}

// maskUserInfo masks the user part of a URL, and of the addresses that Go's
// driver for MySQL takes, user:password@tcp(host).
func maskUserInfo(word string) (string, int) {
	for _, driver := range []string{"@tcp(", "@unix("} {
		if at := strings.Index(word, driver); at > 0 {
			start := strings.LastIndexByte(word[:at], '=') + 1
			return word[:start] + Mask + word[at:], 1
		}
	}
	var out strings.Builder
	n := 0
	for {
		before, rest, found := strings.Cut(word, "://")
		out.WriteString(before)
		if !found {
			return out.String(), n
		}
		out.WriteString("://")
		word = rest
		// The next URL of the same word has its own user.
		this, _, _ := strings.Cut(rest, "://")
		at := strings.LastIndexByte(this, '@')
		if at < 0 || !isUserInfo(this[:at]) {
			continue
		}
		out.WriteString(Mask)
		n++
		word = rest[at:]
	}
}

// isUserInfo tells whether what is before the @ is a user. A slash ends the
// host, unless it is one in a password that ought to be encoded: then what is
// before it does not end in a port.
func isUserInfo(text string) bool {
	user, _, slash := strings.Cut(text, "/")
	if !slash {
		return text != ""
	}
	_, password, colon := strings.Cut(user, ":")
	return colon && strings.Trim(password, "0123456789") != ""
}
