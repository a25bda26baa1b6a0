package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/stretchr/testify/require"
)

// costly are expressions of a few KiB that would keep the parser or the regular
// expressions busy for seconds, or take hundreds of megabytes.
func costly() map[string]string {
	const n = 8000
	return map[string]string{
		"signs":       strings.Repeat("-", n) + "up",
		"brackets":    strings.Repeat("(", n) + "1" + strings.Repeat(")", n),
		"open":        strings.Repeat("(", n),
		"functions":   strings.Repeat("abs(", n/4) + "up" + strings.Repeat(")", n/4),
		"sums":        strings.Repeat("sum by (a) (", n/10) + "up" + strings.Repeat(")", n/10),
		"operators":   strings.Repeat("1+", n) + "1",
		"sets":        strings.Repeat("up or ", n/4) + "up",
		"subqueries":  "up" + strings.Repeat("[1m:1s]", 1001),
		"repetition":  `up{a=~"` + strings.Repeat("(?:.{1000})", 100) + `"}`,
		"in words":    "up{a=~`(?:" + strings.Repeat("abcdefgh", 20) + "){1000}`}",
		"many":        `up{` + strings.Repeat(`a=~'x{1000}',`, 100) + `}`,
		"not a label": `label_replace(up, "a", "b", "c", "` + strings.Repeat("x{1000}", 100) + `")`,
		"escaped":     `up{a=~"` + strings.Repeat(`\x78{1000}`, 100) + `"}`,
		"long":        `up{a="` + strings.Repeat("x", maxExpression) + `"}`,
	}
}

// TestCostlyExpressions are refused before anything is computed, wherever they come in.
func TestCostlyExpressions(t *testing.T) {
	r := newRig(t, func(o *Options) { withStore(t, o) })
	form := header("Content-Type", "application/x-www-form-urlencoded")
	for name, text := range costly() {
		for path, values := range map[string]url.Values{
			"/api/v1/query":        {"query": {text}},
			"/api/v1/query_range":  {"query": {text}, "start": {"1"}, "end": {"2"}, "step": {"1"}},
			"/api/v1/format_query": {"query": {text}},
			"/api/v1/labels":       {"match[]": {text}},
			"/api/v1/series":       {"match[]": {text}},
		} {
			got := r.ask(http.MethodPost, path, values.Encode(), form)
			require.Equal(t, http.StatusBadRequest, got.code, name+path)
			require.Regexp(t, "longer than|operators and brackets|repeat too much", got.body, name+path)
		}
	}
	half := `{a="` + strings.Repeat("x", maxExpression/2) + `"}`
	got := r.ask(http.MethodPost, "/api/v1/series", url.Values{"match[]": {half, half}}.Encode(), form)
	require.Contains(t, got.body, "longer than", "selectors are bounded together")
	many := url.Values{"match[]": make([]string, maxSelectors+1)}
	got = r.ask(http.MethodPost, "/api/v1/series", many.Encode(), form)
	require.Contains(t, got.body, "more than 100 values")
}

// TestUsualExpressions are long and pass.
func TestUsualExpressions(t *testing.T) {
	ids := make([]string, 200)
	for i := range ids {
		ids[i] = fmt.Sprintf("%064x", i)
	}
	uuid := `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`
	for _, text := range []string{
		`sum by (container_name) (rate(container_cpu_time_seconds_total{container_id=~"` + strings.Join(ids, "|") + `"}[1m]))`,
		`up{id=~"` + strings.Repeat(uuid+"|", 20) + `"}`,
		`histogram_quantile(0.99, sum by (le) (rate(x_bucket{a!~"(?i)b.*|c{2,5}"}[5m]))) > bool 0.5 and on (a) y`,
		strings.Repeat("(up + ", 400) + "1" + strings.Repeat(")", 400),
	} {
		require.NoError(t, checkExpressions(text), "%.80s", text)
		_, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		require.NoError(t, err, "%.80s", text)
	}
	require.NoError(t, checkExpressions(), "no selector at all")
	require.NoError(t, checkExpressions("up{", `"`, "}{", "\xff"), "the parser says what is wrong")
}

func TestRegexpSize(t *testing.T) {
	f := func(text string, least, most int) {
		t.Helper()
		if n := regexpSize(parser.Item{Typ: parser.STRING, Val: text}); n < least || n > most {
			t.Errorf("%s has %d, want %d to %d", text, n, least, most)
		}
	}
	f(`""`, 0, 1)
	f(`"abc"`, 3, 3)
	f(`"a|b|c"`, 1, 10)
	f(`".{1000}"`, 1000, 3000)
	f("`(?:ab){10,500}`", 1000, 2000)
	f(`'(?:x{10}){100}'`, 1000, 3000)
	f(`"x{1001}"`, 0, 0) // the package refuses it
	f(`"("`, 0, 0)
	f(`"\q"`, 0, 0)
	f(`"(?:x{1000}){1000}"`, 0, 0)
}

// FuzzExpressions: what passes is parsed in short time and little stack, or refused by
// the parser; nothing panics.
func FuzzExpressions(f *testing.F) {
	for _, text := range costly() {
		f.Add(text)
	}
	f.Add(`sum by (a) (rate(up{b=~"c.*",d!~'e{3}'}[5m] offset 1h @ start())) or vector(1)`)
	f.Fuzz(func(t *testing.T, text string) {
		if checkExpressions(text) != nil {
			return
		}
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		if err != nil {
			return
		}
		if depth(expr) > 3*maxParts {
			t.Errorf("%.100q is %d deep", text, depth(expr))
		}
	})
}

func depth(node parser.Node) int {
	most := 0
	for child := range parser.ChildrenIter(node) {
		most = max(most, depth(child))
	}
	return most + 1
}

// TestManySelectors are one list, however many there are: it never grows beyond what is
// answered.
func TestManySelectors(t *testing.T) {
	l := lookup{limit: 10, sets: make([][]*labels.Matcher, maxSelectors)}
	calls := 0
	names, _, err := l.ask(t.Context(), nil, func(_ context.Context, _ storage.Querier, n nameQuery) ([]string, annotations.Annotations, error) {
		all := make([]string, n.hints.Limit)
		for i := range all {
			all[i] = fmt.Sprintf("%d-%d", calls, i)
		}
		calls++
		return all, nil, nil
	})
	require.NoError(t, err)
	require.Len(t, names, 11, "one more tells that there are more")
	require.LessOrEqual(t, cap(names), 64)
}
