package command

import (
	"bytes"

	"github.com/tallymanhq/tallyman/internal/secret"
)

const (
	// longestPath is the kernel's NAME_MAX: a longer word is rather a script or
	// a key than the path of a program.
	longestPath = 255
	// masked is what the Docker filter writes in place of what it hides.
	masked = "***"

	space = " \t\r\n"
)

// First returns the program of a command line, or of its first argument, into
// which some write all of it: "mysql -u root -phunter2". It is not ok if that can
// be no program: an option, an assignment, what looks like a secret or was
// masked. An empty text is empty and ok.
func First(text []byte) (word []byte, ok bool) {
	word = bytes.TrimLeft(text, space)
	if end := bytes.IndexAny(word, space); end >= 0 {
		word = word[:end]
	}
	if len(word) == 0 {
		return word, true
	}
	ok = word[0] != '-' && bytes.IndexByte(word, '=') < 0 && len(word) <= longestPath &&
		string(word) != masked && !secret.Likely(withoutNixHash(word))
	return word, ok
}

// Program is First for who has no use for what is no program: "" then. The result
// does not keep the arguments in memory.
func Program(text string) string {
	word, ok := First([]byte(text))
	if !ok {
		return ""
	}
	return string(word)
}

// withoutNixHash leaves out the hash in paths of Nix, which has 32 characters
// that look like a secret and are none:
//
//	/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-hello-2.12/bin/hello
func withoutNixHash(path []byte) []byte {
	const store, digits = "/nix/store/", 32
	if len(path) > len(store)+digits && bytes.HasPrefix(path, []byte(store)) && path[len(store)+digits] == '-' {
		return path[len(store)+digits:]
	}
	return path
}
