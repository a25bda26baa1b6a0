package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

var (
	errNameless = errors.New("a line begins with labels")
	errMissing  = errors.New("not on the page")
	errTwice    = errors.New("twice on the page")
)

// nameless is what the parser (common v0.70.1) panics on: labels without a
// name before them. The agent never writes such a line.
var nameless = regexp.MustCompile(`(?m)^[ \t]*\{`)

// series names one time series of a container: the metric and, sorted, its
// labels except those that say which container it is, such as
// `container_cpu_time_seconds_total{cpu_mode="user"}`.
type series string

// point is one value on the page, and when it was measured: zero unless the
// exporter is told to say so.
type point struct {
	value float64
	at    time.Time
}

// figures are the series of one container.
type figures map[series]point

// page maps container ids to figures; "" has the series of no container.
type page map[string]figures

// freshness is how old a page may be that several conditions look at: they
// are asked every 10 ms, and the agent measures every second.
const freshness = 50 * time.Millisecond

// page is what the agent shows, now or up to freshness ago.
func (a *agent) page() (page, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.pagedAt) < freshness {
		return a.paged, nil
	}
	body, err := get(a.metrics)
	if err != nil {
		return nil, err
	}
	now, err := parsePage(body)
	if err == nil {
		a.paged, a.pagedAt = now, time.Now()
	}
	return now, err
}

// figures returns what the page has about one container. Others of this engine belong to
// tests that run beside this one.
func (a *agent) figures(id string) (figures, error) {
	now, err := a.page()
	if twice := (twiceError{}); errors.As(err, &twice) && twice[id] == "" {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if len(now[id]) == 0 {
		return nil, fmt.Errorf("container %.12s: %w", id, errMissing)
	}
	return now[id], nil
}

// want returns nil if the series has the value.
func (f figures) want(name series, value float64) error {
	got, ok := f[name]
	if !ok {
		return fmt.Errorf("%s: %w", name, errMissing)
	}
	if got.value != value {
		return fmt.Errorf("%s is %v, want %v", name, got.value, value)
	}
	return nil
}

// twiceError has a series that is on the page twice, by container. That comes about where
// the engine takes longer to tell of a container than container_tag waits: some series
// are there without its name and with it, until the first ones expire.
type twiceError map[string]series

func (e twiceError) Error() string {
	var all []string
	for id, key := range e {
		all = append(all, fmt.Sprintf("%s of container %q", key, id))
	}
	return fmt.Sprintf("parse metrics: %s: %v", strings.Join(all, ", "), errTwice)
}

func (e twiceError) Unwrap() error { return errTwice }

// parsePage reads the Prometheus text format. With a twiceError it returns all else.
func parsePage(body []byte) (page, error) {
	if nameless.Match(body) {
		return nil, fmt.Errorf("parse metrics: %w", errNameless)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	result, twice := page{}, twiceError{}
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			id, key := identify(name, metric)
			if result[id] == nil {
				result[id] = figures{}
			}
			if _, ok := result[id][key]; ok {
				twice[id] = key
			}
			p := point{value: metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()}
			if metric.TimestampMs != nil {
				p.at = time.UnixMilli(metric.GetTimestampMs())
			}
			result[id][key] = p
		}
	}
	if len(twice) > 0 {
		return result, twice
	}
	return result, nil
}

func identify(name string, metric *dto.Metric) (id string, key series) {
	labels := map[string]string{}
	for _, pair := range metric.GetLabel() {
		switch pair.GetName() {
		case "container_id":
			id = pair.GetValue()
		case "container_runtime_name", "network_namespace_inode":
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

// readAll returns the body of a response that is a 200.
func readAll(response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s: %.200s", errStatus, response.Status, body)
	}
	return body, nil
}

func TestParsePage(t *testing.T) {
	got, err := parsePage([]byte(`# TYPE a_total counter
a_total{container_id="aa",container_runtime_name="docker",mode="x",device="sda"} 1.5 1700000000123
a_total{container_id="aa",container_runtime_name="docker"} 2
b 3
`))
	require.NoError(t, err)
	require.Equal(t, page{
		"aa": {
			`a_total{device="sda",mode="x"}`: {1.5, time.UnixMilli(1700000000123)},
			"a_total":                        {value: 2},
		},
		"": {"b": {value: 3}},
	}, got)
	_, err = parsePage([]byte("a{"))
	require.Error(t, err)
	_, err = parsePage([]byte("# TYPE a gauge\n {}"))
	require.ErrorIs(t, err, errNameless)
	got, err = parsePage([]byte("a 1\na 2\nb{container_id=\"aa\"} 3\n"))
	require.ErrorIs(t, err, errTwice)
	require.Equal(t, twiceError{"": "a"}, err)
	require.InDelta(t, 3, got["aa"]["b"].value, 0)
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
