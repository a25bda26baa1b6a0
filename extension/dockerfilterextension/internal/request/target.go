package request

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The API versions that are served, as the minor of 1.x. The lowest is where
// the engine's present routes begin; 1.56 is the newest whose answers we know.
const (
	minMinor = 24
	maxMinor = 56
)

// target is a request target in canonical form.
type target struct {
	version string // "1.41" or empty
	path    string // without the version, as it was sent
	query   string // without the question mark, as it was sent

	// Of a path below a collection, "/collection/ref/verb":
	collection string
	ref        string // decoded; empty if there is none
	verb       string // may be empty
}

// parseTarget checks all that can be said of a target without the operation
// table:
//
//	"/" ["v1." 2DIGIT "/"] segment *( "/" segment ) ["?" query]
func parseTarget(text string) (target, *Refusal) {
	var t target
	if refusal := checkTargetBytes(text); refusal != nil {
		return t, refusal
	}
	t.path, t.query, _ = strings.Cut(text, "?")
	if refusal := checkSegments(t.path); refusal != nil {
		return t, refusal
	}
	if refusal := t.cutVersion(); refusal != nil {
		return t, refusal
	}
	return t, t.splitPath()
}

func checkTargetBytes(text string) *Refusal {
	if len(text) > MaxTarget {
		return malformed(ReasonTarget, "the request target is longer than %d bytes", MaxTarget)
	}
	if text == "" || text[0] != '/' {
		return malformed(ReasonTarget, "the request target does not begin with a slash")
	}
	for i := range len(text) {
		switch c := text[i]; {
		case !isGraphic(c):
			return malformed(ReasonTarget, "the request target is not printable ASCII")
		case c == '#' || c == '\\' || c == ';':
			return malformed(ReasonTarget, "the request target has %q in it", c)
		}
	}
	return nil
}

// checkSegments refuses the paths that some parser would clean.
func checkSegments(path string) *Refusal {
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if segment == "" || segment == "." || segment == ".." {
			return malformed(ReasonTarget, "the path has an empty or a dot segment")
		}
	}
	return nil
}

// cutVersion takes the version off the path. What begins like a version has to
// be one, and only one.
func (t *target) cutVersion() *Refusal {
	first, rest, _ := strings.Cut(t.path[1:], "/")
	if !likeVersion(first) {
		return nil
	}
	if len(first) != len("v1.41") || first[:3] != "v1." || !isDigit(first[3]) || !isDigit(first[4]) {
		return malformed(ReasonVersion, "%s is not an API version", quote(first))
	}
	second, _, _ := strings.Cut(rest, "/")
	if rest == "" || likeVersion(second) {
		return malformed(ReasonVersion, "the path has not one API version and an endpoint")
	}
	// The words are those that clients and their users search for.
	switch minor := int(first[3]-'0')*10 + int(first[4]-'0'); {
	case minor < minMinor:
		return malformed(ReasonVersion, "client version too old: %s (minimum 1.%d)", first[1:], minMinor)
	case minor > maxMinor:
		return malformed(ReasonVersion, "client version too new: %s (maximum 1.%d)", first[1:], maxMinor)
	}
	t.version = first[1:]
	t.path = t.path[1+len(first):]
	return nil
}

func likeVersion(segment string) bool {
	return len(segment) > 1 && segment[0] == 'v' && isDigit(segment[1])
}

// splitPath finds the reference of a path below a collection and checks its
// form; the rest of the path is plain.
func (t *target) splitPath() *Refusal {
	collection, rest, below := strings.Cut(t.path[1:], "/")
	kind := routes.collections[collection]
	if !below || kind == noRef {
		return checkPlainPath(t.path)
	}
	ref, verb, hasVerb := strings.Cut(rest, "/")
	if kind == imageRef {
		last := strings.LastIndexByte(rest, '/')
		if last < 0 {
			return checkPlainPath(t.path) // /images/json: a verb of the collection
		}
		ref, verb, hasVerb = rest[:last], rest[last+1:], true
	}
	if refusal := checkPlainPath(verb); refusal != nil {
		return refusal
	}
	ref, refusal := kind.parse(ref)
	if refusal != nil {
		return refusal
	}
	t.collection, t.ref, t.verb = collection, ref, verb
	if hasVerb && strings.Contains(verb, "/") {
		t.ref = "" // deeper than any route
	}
	return nil
}

// checkPlainPath accepts the characters of RFC 3986, 3.3, without
// percent-encoding: no known route needs it.
func checkPlainPath(path string) *Refusal {
	for i := range len(path) {
		c := path[i]
		if c == '%' {
			return malformed(ReasonTarget, "the path has percent-encoding where none is needed")
		}
		if c != '/' && !isPathChar(c) {
			return malformed(ReasonTarget, "the path has %q in it", c)
		}
	}
	return nil
}

// parse checks the form of a reference and decodes it.
func (k refKind) parse(text string) (string, *Refusal) {
	ref := text
	if k == nameRef {
		var refusal *Refusal
		if ref, refusal = decodeName(text); refusal != nil {
			return "", refusal
		}
	}
	if !k.accepts(ref) {
		return "", malformed(ReasonTarget, "%s is not a name, id or reference here", quote(text))
	}
	return ref, nil
}

// accepts tells whether a decoded reference has the form of its kind.
func (k refKind) accepts(ref string) bool {
	switch k {
	case containerRef:
		return isReference(ref, "_.-")
	case imageRef:
		for segment := range strings.SplitSeq(ref, "/") {
			if !isReference(segment, "_.-:@") {
				return false
			}
		}
		return true
	case nameRef:
		isText := utf8.ValidString(ref) && !strings.ContainsFunc(ref, unicode.IsControl)
		return isText && ref != "" && ref != "." && ref != ".." && !strings.ContainsAny(ref, "/%")
	}
	return false
}

// isReference accepts letters, digits and, not in front, the bytes of others.
func isReference(text, others string) bool {
	if text == "" || !isAlphanumeric(text[0]) {
		return false
	}
	for i := range len(text) {
		if c := text[i]; !isAlphanumeric(c) && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return true
}

// decodeName decodes the name of a network or volume, which may have spaces
// and letters of any language. What needs no encoding must not be encoded:
// there is one way to write a name, and none to hide a letter or a slash.
func decodeName(text string) (string, *Refusal) {
	if !strings.Contains(text, "%") {
		return text, checkPlainPath(text)
	}
	name := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			decoded, ok := hexByte(text[i+1:])
			// Control characters are for accepts to refuse.
			if !ok || isUnreserved(decoded) || decoded == '/' || decoded == '%' {
				return "", malformed(ReasonTarget, "the name has percent-encoding where none is needed")
			}
			c = decoded
			i += 2
		} else if !isPathChar(c) {
			return "", malformed(ReasonTarget, "the path has %q in it", c)
		}
		name = append(name, c)
	}
	return string(name), nil
}

// isPathChar is pchar of RFC 3986 without percent-encoding and semicolon.
func isPathChar(c byte) bool {
	return isUnreserved(c) || strings.IndexByte("!$&'()*+,:=@", c) >= 0
}

// isUnreserved follows RFC 3986, 2.3.
func isUnreserved(c byte) bool {
	return isAlphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
