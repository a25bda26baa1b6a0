package imageref

import (
	"strings"

	"github.com/distribution/reference"
)

// longest is more than any reference has: 255 bytes of name, 128 of tag, a
// digest of at most 135 (sha512). The grammar is not tried on anything longer.
const longest = 1024

// Split returns the name and the tag of a reference, "registry:5000/team/app"
// and "1.2". Both are empty for what is no reference to a name, such as an id.
func Split(ref string) (name, tag string) {
	if ref == "" || len(ref) > longest || strings.HasPrefix(ref, "sha256:") {
		return "", ""
	}
	parsed, err := reference.Parse(ref)
	if err != nil {
		return "", ""
	}
	if tagged, ok := parsed.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	if named, ok := parsed.(reference.Named); ok {
		return named.Name(), tag
	}
	return "", ""
}
