package udsstatsdreceiver

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/aggregate"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/limit"
	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/origin"
)

const (
	ownPage  = "README.md"
	howToUse = "../../docs/statsd.md"
)

func readPage(t *testing.T, path string) string {
	t.Helper()
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(page)
}

// examples are the YAML documents on a page.
func examples(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	for _, rest := range strings.Split(readPage(t, path), "```yaml\n")[1:] {
		text, _, ok := strings.Cut(rest, "```")
		require.True(t, ok)
		decoder := yaml.NewDecoder(strings.NewReader(text))
		for {
			var one map[string]any
			err := decoder.Decode(&one)
			if err == io.EOF {
				break
			}
			require.NoError(t, err, text)
			all = append(all, one)
		}
	}
	require.NotEmpty(t, all)
	return all
}

// loadExample returns what the receiver makes of an example, and the example's part
// about it; nil for an example of something else.
func loadExample(t *testing.T, example map[string]any) (*Config, *confmap.Conf) {
	t.Helper()
	if example["receivers"] == nil {
		return nil, nil
	}
	raw, err := confmap.NewFromStringMap(example).Sub("receivers::uds_statsd")
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, raw.Unmarshal(cfg))
	require.NoError(t, cfg.Validate())
	return cfg, raw
}

// What the pages tell to write is what the receiver takes.
func TestExamplesOnPages(t *testing.T) {
	for path, least := range map[string]int{ownPage: 2, howToUse: 4} {
		loaded := 0
		for _, example := range examples(t, path) {
			if cfg, _ := loadExample(t, example); cfg != nil {
				loaded++
			}
		}
		require.GreaterOrEqual(t, loaded, least, path)
	}
}

// The README names every field, with its default.
func TestDefaultsInReadme(t *testing.T) {
	all := examples(t, ownPage)
	require.Len(t, all, 2)
	want := createDefaultConfig().(*Config)
	for _, example := range all {
		cfg, _ := loadExample(t, example)
		require.Equal(t, fmt.Sprint(*want), fmt.Sprint(*cfg), "the defaults are as it says")
	}
	_, raw := loadExample(t, all[1])
	for _, name := range fields(reflect.TypeFor[Config](), "") {
		require.True(t, raw.IsSet(name), "%s is not in README.md", name)
	}
}

func fields(of reflect.Type, prefix string) (names []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name := prefix + f.Tag.Get("mapstructure")
		if f.Type.Kind() == reflect.Struct {
			names = append(names, fields(f.Type, name+"::")...)
			continue
		}
		names = append(names, name)
	}
	return names
}

// The tables have every reason that is counted, and no other.
func TestReasonsInReadme(t *testing.T) {
	drops := []string{
		limit.OverOrigin.String(), limit.OverGlobal.String(),
		"record_queue", "connections", "refused", "no_metrics_pipeline", "no_logs_pipeline",
	}
	var amended []string
	for r := aggregate.Reason(0); r.String() != "unknown"; r++ {
		if r.Kept() {
			amended = append(amended, r.String())
		} else {
			drops = append(drops, r.String())
		}
	}
	// Counted by functions of the parser that this receiver does not use.
	notHere := map[dogstatsd.Reason]bool{
		dogstatsd.Unterminated: true, dogstatsd.BadText: true, dogstatsd.BadLocalData: true,
		dogstatsd.BadExternalData: true, dogstatsd.BadCardinality: true,
	}
	var parse []string
	for r := range dogstatsd.Reasons() {
		if !notHere[r] {
			parse = append(parse, r.String())
		}
	}
	var senders []string
	for _, r := range []origin.Reason{
		origin.ReasonNamespace, origin.ReasonGone, origin.ReasonReused, origin.ReasonLost, origin.ReasonPermission,
		origin.ReasonCgroup, origin.ReasonCredentials, origin.ReasonUnreadable,
	} {
		senders = append(senders, string(r))
	}
	page := readPage(t, ownPage)
	for table, want := range map[string][]string{"drop": drops, "amended": amended, "parse": parse, "origin": senders} {
		require.ElementsMatch(t, want, reasonsIn(t, page, table), table)
	}
}

// reasonsIn are the words in back quotes in the first column of a table.
func reasonsIn(t *testing.T, page, table string) (words []string) {
	t.Helper()
	_, rest, ok := strings.Cut(page, "<!-- "+table+" reasons -->\n")
	require.True(t, ok, table)
	rows, _, ok := strings.Cut(rest, "<!-- end -->")
	require.True(t, ok, table)
	for line := range strings.Lines(rows) {
		first := strings.SplitN(line, "|", 3)[1]
		for i, word := range strings.Split(first, "`") {
			if i%2 == 1 {
				words = append(words, word)
			}
		}
	}
	return words
}

// The pages name the metrics that there are.
func TestOwnMetricsInReadme(t *testing.T) {
	_, list, ok := strings.Cut(readPage(t, ownPage), "\n## Own metrics\n")
	require.True(t, ok)
	generated := readPage(t, "documentation.md")
	found := 0
	for line := range strings.Lines(generated) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "### otelcol_uds_statsd_"); ok {
			found++
			require.Contains(t, list, "`"+name+"`")
		}
	}
	require.Positive(t, found)
}
