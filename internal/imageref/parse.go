package imageref

import (
	"strings"

	"github.com/distribution/reference"
)

const (
	// longest is more than any reference has: 255 bytes of name, 128 of tag, a
	// digest of at most 135 (sha512). The grammar is not tried on anything longer.
	longest = 1024
	// algorithm begins the ids of images.
	algorithm = "sha256:"
)

// Ref is a reference in its parts: "registry:5000/team/app", "1.2" and
// "sha256:...". Tag and Digest are empty where none is written.
type Ref struct{ Name, Tag, Digest string }

// Parse takes a reference apart. It reports false for what names no image, such
// as an id.
func Parse(text string) (Ref, bool) {
	if text == "" || len(text) > longest || strings.HasPrefix(text, algorithm) || ID(text) != "" {
		return Ref{}, false
	}
	parsed, err := reference.Parse(text)
	if err != nil {
		return Ref{}, false
	}
	named, ok := parsed.(reference.Named)
	if !ok {
		return Ref{}, false
	}
	ref := Ref{Name: named.Name()}
	if tagged, ok := parsed.(reference.Tagged); ok {
		ref.Tag = tagged.Tag()
	}
	if digested, ok := parsed.(reference.Digested); ok {
		ref.Digest = digested.Digest().String()
	}
	return ref, true
}

// ID returns text in the form "sha256:<64 digits>" if it is an image's id, which
// some runtimes write without the algorithm, else "".
func ID(text string) string {
	const digits = 64 // of SHA-256
	sum := strings.TrimPrefix(text, algorithm)
	if len(sum) != digits || strings.Trim(sum, "0123456789abcdef") != "" {
		return ""
	}
	return algorithm + sum
}
