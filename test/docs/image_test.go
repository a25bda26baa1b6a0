package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func readScript(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, parts...)...))
	require.NoError(t, err)
	return strings.ReplaceAll(string(text), "\\\n", " ")
}

// imageName is what scripts/image.sh builds.
func imageName(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`\btallyman:[a-z0-9.]+`).FindString(readScript(t, "scripts", "image.sh"))
	require.NotEmpty(t, found)
	return found
}

// imageFile is where the repository has a file that scripts/image.sh puts into the image
// as /etc/tallyman/name, under its own name.
func imageFile(t *testing.T, name string) string {
	t.Helper()
	for line := range strings.Lines(readScript(t, "scripts", "image.sh")) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "cp" || !strings.HasSuffix(words[len(words)-1], `/etc/tallyman/"`) {
			continue
		}
		for _, word := range words[1 : len(words)-1] {
			if path.Base(word) == name {
				return filepath.Join(root, word)
			}
		}
	}
	t.Fatalf("the image has no /etc/tallyman/%s", name)
	return ""
}

// imageEnvironment are the variables that the image sets.
func imageEnvironment(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(readScript(t, "deploy", "Dockerfile")) {
		rest, ok := strings.CutPrefix(line, "ENV ")
		if !ok {
			continue
		}
		for _, word := range strings.Fields(rest) {
			name, value, ok := strings.Cut(word, "=")
			require.True(t, ok, line)
			all[name] = value
		}
	}
	require.Contains(t, all, "TALLYMAN_ROOT")
	return all
}
