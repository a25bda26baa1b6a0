package discoveryreceiver

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.uber.org/zap"
	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/discovery/watch"
	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// Both configurations of the page are taken; the second one says the defaults.
func TestReadmeConfigurations(t *testing.T) {
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := strings.Split(string(page), "```yaml\n")[1:]
	require.Len(t, blocks, 2)
	for n, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		var document map[string]map[string]map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(text), &document))
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, confmap.NewFromStringMap(document["receivers"]["discovery"]).Unmarshal(cfg))
		require.NoError(t, cfg.Validate())
		if n == 1 {
			require.Len(t, cfg.Rules, 1)
			cfg.Rules = nil
			require.ElementsMatch(t, topOf(settingNames(reflect.TypeFor[Config](), "")), slices.Collect(maps.Keys(document["receivers"]["discovery"])))
		}
		require.Equal(t, createDefaultConfig(), cfg)
	}
}

// The page names what there is: the agent's own metrics, events and reasons.
func TestReadmeNames(t *testing.T) {
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var metadata struct {
		Telemetry struct {
			Metrics map[string]any
		}
	}
	text, err := os.ReadFile("metadata.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &metadata))
	require.NotEmpty(t, metadata.Telemetry.Metrics)
	for name := range metadata.Telemetry.Metrics {
		require.Contains(t, string(page), "`otelcol_"+name+"`")
	}
	for _, name := range []string{
		eventStart, eventStop, eventFailed, attributeRule, attributeReceiver, attributeEndpoint, attributeReason, attributeError,
		reasonRule, reasonLabel, reasonNotAllowed, reasonUnknown, reasonConfig, reasonSignals, reasonLimit, reasonReceiver,
		reasonOverdue, reasonGone, reasonUnwanted, reasonShutdown,
	} {
		require.Contains(t, string(page), "`"+name+"`")
	}
	for reason := range (&health{d: newDropping()}).dropped() {
		require.Contains(t, string(page), "`"+reason+"`", "otelcol_discovery_dropped")
		require.Contains(t, string(text), reason, "otelcol_discovery_dropped")
	}
}

// newDropping is a discovery of which only what it has dropped can be asked.
func newDropping() *discovery {
	return &discovery{watch: &watch.Watch{}, runner: &runner.Runner{}, journal: newJournal(zap.NewNop(), false), events: &eventEmitter{}}
}

// The page has all names that there are in expressions, and a rule with each of them
// compiles.
func TestReadmeFields(t *testing.T) {
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, names, _ := strings.Cut(string(page), "Names in expressions:")
	names, _, _ = strings.Cut(names, "## Labels")
	var fields []string
	for i, word := range strings.Split(names, "`") {
		if i%2 == 0 {
			continue
		}
		fields = append(fields, word)
		c := plan.DefaultConfig()
		c.Rules = append(c.Rules, nginxRule())
		c.Rules[0].Rule = word + " == " + word
		p, err := plan.New(c)
		require.NoError(t, err, word)
		require.Empty(t, p.Of(&target.Target{ID: "c1"}).Refused, word)
	}
	for _, name := range append(exprNames(reflect.TypeFor[target.Env](), ""), exprNames(reflect.TypeFor[target.Pod](), "pod.")...) {
		if name != "pod" {
			require.Contains(t, fields, name)
		}
	}
	p, err := plan.New(plan.Config{Rules: []rules.Config{{Rule: `transport in ["TCP", "UDP"]`, Receiver: "nginx"}}})
	require.NoError(t, err)
	require.Contains(t, names, "`transport` (TCP, UDP)")
	for _, protocol := range []string{target.TCP, target.UDP} {
		shop := &target.Target{ID: "c1", Addresses: []target.Address{{IP: netip.MustParseAddr("10.0.0.2")}}, Ports: []target.Port{{Number: 80, Protocol: protocol}}}
		require.Len(t, p.Of(shop).Specs, 1, protocol)
	}
}

func exprNames(of reflect.Type, prefix string) []string {
	var all []string
	for i := range of.NumField() {
		all = append(all, prefix+of.Field(i).Tag.Get("expr"))
	}
	return all
}

// Both pages say the default of each setting, and the bounds where there are any.
func TestPagesDefaults(t *testing.T) {
	f := func(file, after string) {
		t.Helper()
		page, err := os.ReadFile(file)
		require.NoError(t, err)
		_, table, found := strings.Cut(string(page), after)
		require.True(t, found, "%s has no table behind %q", file, after)
		table, _, _ = strings.Cut(table, "\n\n")
		var keys []string
		for row := range strings.Lines(table) {
			cells := strings.Split(row, "|")
			for key := range strings.SplitSeq(cells[1], ",") {
				key = strings.ReplaceAll(strings.Trim(key, " `"), "::", ".")
				keys = append(keys, key)
				isDefault(t, key, strings.TrimSpace(cells[2]))
				if bounds := boundsText.FindStringSubmatch(row); bounds != nil {
					isBounds(t, key, bounds[1], bounds[2])
				}
			}
		}
		require.ElementsMatch(t, settingNames(reflect.TypeFor[Config](), ""), keys, file)
	}
	f("README.md", "| key | default | refused at start |\n|---|---|---|\n")
	f("../../docs/discovery.md", "| setting | default | |\n|---|---|---|\n")
}

var boundsText = regexp.MustCompile(`below (\w+), above (\w+)`)

// isDefault checks that what a page calls the default of a setting changes nothing.
func isDefault(t *testing.T, key, cell string) {
	t.Helper()
	// What the empty one means may be said in words.
	words := map[string]string{
		"endpoint":    "the socket of `docker_filter`, else `" + docker.DefaultEndpoint + "`",
		"docker_root": "`/var/lib/docker` below `root_path`",
		"pods_root":   "`/var/log/pods` below `root_path`",
	}
	if said := words[key]; said != "" && cell == said {
		cell = "`\"\"`"
	}
	var value any
	require.NoError(t, yaml.Unmarshal([]byte(strings.Trim(cell, "`")), &value), key)
	if value == "none" {
		value = []any{}
	}
	require.NotNil(t, value, key)
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, settingOf(key, value).Unmarshal(cfg), key)
	if len(cfg.Rules) == 0 {
		cfg.Rules = nil
	}
	require.Equal(t, createDefaultConfig(), cfg, "%s: %s", key, cell)
}

// isBounds checks that the bounds of a setting can be set, and nothing beyond them.
func isBounds(t *testing.T, key, least, most string) {
	t.Helper()
	check := func(value any) error {
		cfg := createDefaultConfig().(*Config)
		require.NoError(t, settingOf(key, value).Unmarshal(cfg), key)
		return cfg.Validate()
	}
	if from, err := time.ParseDuration(least); err == nil {
		to, err := time.ParseDuration(most)
		require.NoError(t, errors.Join(err, check(from), check(to)))
		require.ErrorContains(t, check(from-1), key)
		require.ErrorContains(t, check(to+1), key)
		return
	}
	from, err := strconv.Atoi(least)
	require.NoError(t, err)
	to, err := strconv.Atoi(most)
	require.NoError(t, errors.Join(err, check(from), check(to)))
	require.ErrorContains(t, check(from-1), key)
	require.ErrorContains(t, check(to+1), key)
}

// settingNames are all settings, those of groups with a dot.
func settingNames(of reflect.Type, group string) []string {
	var all []string
	for i := range of.NumField() {
		field := of.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
		switch {
		case options == "squash":
			all = append(all, settingNames(field.Type, group)...)
		case field.Type.Kind() == reflect.Struct:
			all = append(all, settingNames(field.Type, group+name+".")...)
		default:
			all = append(all, group+name)
		}
	}
	return all
}

func topOf(names []string) []string {
	var all []string
	for _, name := range names {
		top, _, _ := strings.Cut(name, ".")
		all = append(all, top)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func settingOf(key string, value any) *confmap.Conf {
	if group, name, ok := strings.Cut(key, "."); ok {
		return confmap.NewFromStringMap(map[string]any{group: map[string]any{name: value}})
	}
	return confmap.NewFromStringMap(map[string]any{key: value})
}
