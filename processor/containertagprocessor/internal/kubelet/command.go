package kubelet

import (
	"strings"

	"github.com/tallymanhq/tallyman/internal/secret"
)

const (
	// longestPath is the kernel's NAME_MAX: a longer word is rather a script or
	// a key than the path of a program.
	longestPath = 255
	// masked is what the Docker filter writes in place of what it hides.
	masked = "***"
)

// executable returns the program of a command line or of its first argument,
// into which some write all of them: "mysql -u root -phunter2". It is empty for
// what can be no program: an option, an assignment, what looks like a secret.
func executable(text string) string {
	words := strings.Fields(text)
	if len(words) == 0 {
		return ""
	}
	word := words[0]
	if word == masked || word[0] == '-' || strings.Contains(word, "=") || len(word) > longestPath {
		return ""
	}
	if secret.Likely([]byte(withoutNixHash(word))) {
		return ""
	}
	// A copy, so that the arguments do not stay in memory with it.
	return strings.Clone(word)
}

// withoutNixHash leaves out the hash in paths of Nix, which has 32 characters
// that look like a secret and are none:
//
//	/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-hello-2.12/bin/hello
func withoutNixHash(path string) string {
	const store, digits = "/nix/store/", 32
	if len(path) > len(store)+digits && strings.HasPrefix(path, store) && path[len(store)+digits] == '-' {
		return path[len(store)+digits:]
	}
	return path
}
