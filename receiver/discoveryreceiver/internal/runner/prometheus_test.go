package runner_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// application serves one counter and counts who asks, and how many connections are
// open.
type application struct {
	*httptest.Server
	asked, open atomic.Int64
}

func newApplication(t testing.TB) *application {
	t.Helper()
	a := &application{}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE app_requests counter\napp_requests_total %d\n", a.asked.Add(1))
	}))
	a.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			a.open.Add(1)
		case http.StateClosed:
			a.open.Add(-1)
		}
	}
	a.Start()
	t.Cleanup(a.Close)
	return a
}

// scrapeEvery is long against what a start takes on a busy machine, some ten
// milliseconds, so that a gap is one.
const scrapeEvery = 500 * time.Millisecond

// scraping is a spec for the real receiver. Its instance is the container and
// not the address, so that the series stay the same when that changes.
func scraping(a *application, id string, every time.Duration) spec.Spec {
	return spec.Spec{
		Rule: "prometheus", Receiver: "prometheus", Trusted: true, Signals: spec.All, Target: id,
		Resource: map[string]string{"container.id": id},
		Config: map[string]any{
			"config": map[string]any{"scrape_configs": []any{map[string]any{
				"job_name": "app", "scrape_interval": every.String(),
				"static_configs": []any{map[string]any{
					"targets": []any{strings.TrimPrefix(a.URL, "http://")},
					"labels":  map[string]any{"instance": "web-1"},
				}},
			}}},
		},
	}
}

// The real receiver: metrics come with the container's id, from a new address
// without a gap or an end of the series in between, and stop with it.
func TestPrometheus(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g := newRig(t, factories{"prometheus": prometheusreceiver.NewFactory()}, nil)
	before, after := newApplication(t), newApplication(t)
	g.Set([]spec.Spec{scraping(before, containerA, scrapeEvery)})
	testkit.Eventually(t, soon, asked(before, 3))
	g.Set([]spec.Spec{scraping(after, containerA, scrapeEvery)})
	testkit.Eventually(t, soon, g.expect(runner.Replaced, 1))
	before.Close()
	settled := before.asked.Load()
	testkit.Eventually(t, soon, asked(after, 4))
	testkit.Eventually(t, soon, func() error { return seenPoints(g.metrics, 7) })
	g.Set(nil)
	testkit.Eventually(t, soon, g.expect(runner.Stopped, 1))
	last := after.asked.Load()
	checkSeries(t, g.metrics)
	testkit.Eventually(t, soon, elapsed(time.Now(), 3*scrapeEvery))
	if before.asked.Load() != settled || after.asked.Load() != last {
		t.Error("somebody was still asked")
	}
	if failed := g.told(runner.Failed); len(failed) != 0 {
		t.Error(failed)
	}
}

// Fifty in a loop leave no goroutine and no descriptor.
func TestPrometheusFifty(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g := newRig(t, factories{"prometheus": prometheusreceiver.NewFactory()}, nil)
	app := newApplication(t)
	for n := range 50 {
		from := app.asked.Load()
		g.Set([]spec.Spec{scraping(app, fmt.Sprintf("container-%02d", n), 100*time.Millisecond)})
		testkit.Eventually(t, soon, asked(app, from+1))
	}
	g.Set(nil)
	testkit.Eventually(t, soon, g.expect(runner.Stopped, 50))
	testkit.Eventually(t, soon, g.empty)
	if stats := g.Stats(); stats.Failed != 0 {
		t.Errorf("%+v", stats)
	}
}

// A connection that the server keeps open ends with the receiver.
func TestPrometheusHangsUp(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g := newRig(t, factories{"prometheus": prometheusreceiver.NewFactory()}, nil)
	app := newApplication(t)
	one := scraping(app, containerA, scrapeEvery)
	one.Endpoint = strings.TrimPrefix(app.URL, "http://")
	g.Set([]spec.Spec{one})
	testkit.Eventually(t, soon, asked(app, 2))
	if app.open.Load() != 1 {
		t.Fatalf("%d connections", app.open.Load())
	}
	g.Set(nil)
	testkit.Eventually(t, soon, func() error {
		if n := app.open.Load(); n != 0 {
			return fmt.Errorf("%d connections are left", n)
		}
		return nil
	})
}

// A configuration that Prometheus refuses is told once, in its words.
func TestPrometheusRefuses(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	g := newRig(t, factories{"prometheus": prometheusreceiver.NewFactory()}, nil)
	bad := scraping(newApplication(t), containerA, scrapeEvery)
	bad.Config["config"].(map[string]any)["scrape_configs"].([]any)[0].(map[string]any)["scheme"] = "gopher"
	delete(bad.Config["config"].(map[string]any)["scrape_configs"].([]any)[0].(map[string]any), "job_name")
	g.Set([]spec.Spec{bad})
	testkit.Eventually(t, soon, g.expect(runner.Failed, 1))
	if err := g.told(runner.Failed)[0].Err; !strings.Contains(err.Error(), "job_name") {
		t.Error(err)
	}
}

func asked(a *application, n int64) func() error {
	return func() error {
		if got := a.asked.Load(); got < n {
			return fmt.Errorf("asked %d times, want %d", got, n)
		}
		return nil
	}
}

func elapsed(since time.Time, d time.Duration) func() error {
	return func() error {
		if time.Since(since) < d {
			return fmt.Errorf("%v have not passed", d)
		}
		return nil
	}
}

// point is what one scrape said of the counter.
type point struct {
	at       time.Time
	isStale  bool
	resource map[string]any
}

func points(sink *consumertest.MetricsSink) []point {
	var all []point
	for _, md := range sink.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					if m.Name() != "app_requests_total" {
						continue
					}
					p := m.Sum().DataPoints().At(0)
					all = append(all, point{p.Timestamp().AsTime(), p.Flags().NoRecordedValue(), attributes(rm.Resource())})
				}
			}
		}
	}
	return all
}

func attributes(r pcommon.Resource) map[string]any { return r.Attributes().AsRaw() }

func seenPoints(sink *consumertest.MetricsSink, n int) error {
	if got := len(points(sink)); got < n {
		return fmt.Errorf("%d points, want %d", got, n)
	}
	return nil
}

// checkSeries: no point is an end, the time between two is about the interval of
// scrapes, and all are of one instance in one container.
func checkSeries(t *testing.T, sink *consumertest.MetricsSink) {
	t.Helper()
	// The last one of the old receiver was up to an interval ago, the first one of the
	// new is up to an interval ahead; half of one is the machine's.
	const longest = 5 * scrapeEvery / 2
	var previous time.Time
	for _, p := range points(sink) {
		if p.isStale {
			t.Errorf("the series ends at %v", p.at)
		}
		if p.resource["container.id"] != containerA || p.resource["service.instance.id"] != "web-1" {
			t.Errorf("resource %v", p.resource)
		}
		if gap := p.at.Sub(previous); !previous.IsZero() && gap > longest {
			t.Errorf("a gap of %v", gap)
		}
		previous = p.at
	}
	// up is 0 where a scrape has failed.
	for _, md := range sink.AllMetrics() {
		for _, rm := range md.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() == "up" && m.Gauge().DataPoints().At(0).DoubleValue() != 1 {
					t.Error("a scrape has failed")
				}
			}
		}
	}
}
