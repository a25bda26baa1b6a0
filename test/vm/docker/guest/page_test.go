package guest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

var (
	errNameless = errors.New("a line begins with labels")
	errMissing  = errors.New("not on the page")
	errTwice    = errors.New("twice on the page")
	errValue    = errors.New("unexpected value")
)

// nameless is what the parser (common v0.70.1) panics on: labels without a name before them.
var nameless = regexp.MustCompile(`(?m)^[ \t]*\{`)

// series names one time series of a container: the metric and, sorted, its labels except those that say which
// container it is.
type series string

// figures are the series of one container.
type figures map[series]float64

// page maps container ids to figures; "" has the series of no container.
type page map[string]figures

// parsePage reads the Prometheus text format.
func parsePage(body []byte) (page, error) {
	if nameless.Match(body) {
		return nil, fmt.Errorf("parse metrics: %w", errNameless)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	result := page{}
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			id, key := identify(name, metric)
			if result[id] == nil {
				result[id] = figures{}
			}
			if _, ok := result[id][key]; ok {
				return nil, fmt.Errorf("parse metrics: %s of container %q: %w", key, id, errTwice)
			}
			result[id][key] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()
		}
	}
	return result, nil
}

func identify(name string, metric *dto.Metric) (id string, key series) {
	labels := map[string]string{}
	for _, pair := range metric.GetLabel() {
		switch pair.GetName() {
		case "container_id":
			id = pair.GetValue()
		case "container_runtime_name":
		default:
			labels[pair.GetName()] = pair.GetValue()
		}
	}
	return id, seriesOf(name, labels)
}

func seriesOf(name string, labels map[string]string) series {
	if len(labels) == 0 {
		return series(name)
	}
	var pairs []string
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", label, labels[label]))
	}
	return series(name + "{" + strings.Join(pairs, ",") + "}")
}

// of returns what the page has about one container.
func (p page) of(id string) (figures, error) {
	if len(p[id]) == 0 {
		return nil, fmt.Errorf("container %.12s: %w", id, errMissing)
	}
	return p[id], nil
}

// want returns nil if the series has the value.
func (f figures) want(name series, value float64) error {
	got, ok := f[name]
	if !ok {
		return fmt.Errorf("%s: %w", name, errMissing)
	}
	if got != value {
		return fmt.Errorf("%s: %w: %v, want %v", name, errValue, got, value)
	}
	return nil
}

// least returns nil if the series has the value or more.
func (f figures) least(name series, value float64) error {
	got, ok := f[name]
	if !ok {
		return fmt.Errorf("%s: %w", name, errMissing)
	}
	if got < value {
		return fmt.Errorf("%s: %w: %v, want %v or more", name, errValue, got, value)
	}
	return nil
}

func TestParsePage(t *testing.T) {
	got, err := parsePage([]byte(`# TYPE a_total counter
a_total{container_id="aa",container_runtime_name="docker",mode="x",device="sda"} 1.5
a_total{container_id="aa",container_runtime_name="docker"} 2
b 3
`))
	require.NoError(t, err)
	require.Equal(t, page{"aa": {`a_total{device="sda",mode="x"}`: 1.5, "a_total": 2}, "": {"b": 3}}, got)
	_, err = parsePage([]byte("a{"))
	require.Error(t, err)
	_, err = parsePage([]byte("# TYPE a gauge\n {}"))
	require.ErrorIs(t, err, errNameless)
	_, err = parsePage([]byte("a 1\na 2\n"))
	require.ErrorIs(t, err, errTwice)

	aa, err := got.of("aa")
	require.NoError(t, err)
	require.NoError(t, errors.Join(aa.want("a_total", 2), aa.least("a_total", 2)))
	require.ErrorIs(t, aa.want("a_total", 1), errValue)
	require.ErrorIs(t, aa.least("a_total", 3), errValue)
	require.ErrorIs(t, errors.Join(aa.want("c", 0)), errMissing)
	require.ErrorIs(t, errors.Join(aa.least("c", 0)), errMissing)
	_, err = got.of("bb")
	require.ErrorIs(t, err, errMissing)
}

// A page that parses has no container whose id the text does not mention.
func FuzzParsePage(f *testing.F) {
	f.Add([]byte("# TYPE a counter\na{container_id=\"x\"} 1 2\n"))
	f.Add([]byte("a{container_id=\"x\"} NaN\n"))
	f.Add([]byte("#TYPE a gauge\n{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parsePage(body)
		if err != nil {
			return
		}
		for id := range got {
			// An id with an escape is written otherwise than it reads.
			if !bytes.ContainsRune(body, '\\') && !bytes.Contains(body, []byte(id)) {
				t.Errorf("id %q is not in %q", id, body)
			}
		}
	})
}
