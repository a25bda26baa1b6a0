package docs_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// Queries on pages are such, and the metrics in them are there under that name.
func TestQueriesOnPages(t *testing.T) {
	t.Parallel()
	known := metricNames(t)
	selected := 0
	for _, p := range pieces(allBlocks(t)) {
		if p.kind != isQuery {
			continue
		}
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(p.text)
		require.NoError(t, err, "%s\n%s", p.place(), p.text)
		parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
			if s, ok := node.(*parser.VectorSelector); ok {
				selected++
				if !known[s.Name] {
					t.Errorf("%s: there is no metric %s", p.place(), s.Name)
				}
			}
			return nil
		})
	}
	require.Greater(t, selected, 15)
}

var (
	// oneMetric is a metric in docs/metrics.md: name, unit, kind, and what follows it.
	oneMetric = regexp.MustCompile(`(?m)^####? ([a-z_.]+)\n\n(?:.+\n)+\n\| Unit \|.*\n\|[ -|]+\n\| ([^|]+) \| ([A-Za-z]+) \|(.*)$`)
	// oneRow is one in a table of ebpf_conntrack, which has no generated page.
	oneRow = regexp.MustCompile("(?m)^\\| `([a-z.]+)` \\| (counter|updowncounter|histogram) \\| `([^`]+)` \\|")
)

// metricNames are the names on the page for Prometheus of all that is documented.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	all := map[string]bool{}
	add := func(name, unit, kind string) {
		types := map[string]otlptranslator.MetricType{
			"counter": otlptranslator.MetricTypeMonotonicCounter, "updowncounter": otlptranslator.MetricTypeNonMonotonicCounter,
			"histogram": otlptranslator.MetricTypeHistogram, "gauge": otlptranslator.MetricTypeGauge,
		}
		name, err := namer.Build(otlptranslator.Metric{Name: name, Unit: unit, Type: types[kind]})
		require.NoError(t, err)
		all[name] = true
	}
	for _, found := range oneMetric.FindAllStringSubmatch(readScript(t, "docs", "metrics.md"), -1) {
		kind := strings.ToLower(found[3])
		switch {
		case kind == "sum" && strings.Contains(found[4], "true"):
			kind = "counter"
		case kind == "sum":
			kind = "updowncounter"
		}
		add(found[1], found[2], kind)
	}
	for _, found := range oneRow.FindAllStringSubmatch(readScript(t, "receiver", "ebpfconntrackreceiver", "README.md"), -1) {
		add(found[1], found[3], found[2])
	}
	require.Greater(t, len(all), 60)
	return all
}
