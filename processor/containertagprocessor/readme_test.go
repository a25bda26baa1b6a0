package containertagprocessor

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

// The table in README.md is the one the tags are made from.
func TestTableInReadme(t *testing.T) {
	const begin, end = "<!-- table -->\n", "<!-- end of table -->"
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(page), begin)
	require.True(t, ok)
	table, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if os.Getenv("TALLYMAN_UPDATE") != "" {
		require.NoError(t, os.WriteFile("README.md", []byte(before+begin+tags.Markdown()+end+after), 0o644))
		return
	}
	require.Equal(t, tags.Markdown(), table, "run this test with TALLYMAN_UPDATE=1")
}

// The examples in README.md are what the processor takes.
func TestExamplesInReadme(t *testing.T) {
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)
	examples := strings.Split(string(page), "```yaml\n")[1:]
	require.Len(t, examples, 2)
	for _, example := range examples {
		text, _, ok := strings.Cut(example, "```")
		require.True(t, ok)
		var all map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(text), &all))
		raw, err := confmap.NewFromStringMap(all).Sub("processors::container_tag")
		require.NoError(t, err)
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, raw.Unmarshal(cfg))
		require.NoError(t, cfg.Validate())
		want := createDefaultConfig().(*Config)
		require.Equal(t, fmt.Sprint(*want), fmt.Sprint(*cfg), "the defaults are as they say")
	}
}
