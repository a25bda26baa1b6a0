package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRoutesAreSent looks for each metric, attribute and value of the routes in
// what the receivers say that they send.
func TestRoutesAreSent(t *testing.T) {
	var told []string
	for _, pattern := range []string{"metadata.yaml", "README.md"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "..", "receiver", "*", pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			told = append(told, string(text))
		}
	}
	require.NotEmpty(t, told)
	for name, ways := range routes {
		isTold := func(text string) bool {
			if !strings.Contains(text, "\n  "+name+":\n") && !strings.Contains(text, "\n| `"+name+"` |") {
				return false
			}
			for _, way := range ways {
				for _, part := range append([]string{way.key}, way.values...) {
					if part != "true" && part != "false" && !strings.Contains(text, part) {
						return false
					}
				}
			}
			return true
		}
		found := false
		for _, text := range told {
			found = found || isTold(text)
		}
		require.True(t, found, "no receiver sends %s with such attributes", name)
	}
}
