package e2e_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const scopeConntrack = "github.com/tallymanhq/tallyman/receiver/ebpfconntrackreceiver"

// connKey names a series; the owner is the resource's container.id.
type connKey struct{ owner, metric, attributes string }

// connPoint is the latest of a series, and how many came.
type connPoint struct {
	at         pcommon.Timestamp
	value      float64
	attributes map[string]any
	times      int
}

// connView is what a backend knows of connections. Not for concurrent use.
type connView struct {
	sink   *testkit.Sink
	taken  struct{ metrics, logs int }
	points map[connKey]connPoint
	// closed are the records of connections by owner, events all other ones.
	closed map[string][]connRecord
	events []delivery
}

func newConnView(sink *testkit.Sink) *connView {
	return &connView{sink: sink, points: map[connKey]connPoint{}, closed: map[string][]connRecord{}}
}

// take reads what has arrived since the last time.
func (v *connView) take() {
	metrics, logs := v.sink.Metrics(), v.sink.Logs()
	for _, batch := range metrics[v.taken.metrics:] {
		for _, resource := range batch.ResourceMetrics().All() {
			owner, _ := resource.Resource().Attributes().AsRaw()["container.id"].(string)
			for _, scope := range resource.ScopeMetrics().All() {
				if scope.Scope().Name() == scopeConntrack {
					v.takeMetrics(owner, scope.Metrics())
				}
			}
		}
	}
	for _, batch := range logs[v.taken.logs:] {
		for _, r := range recordsOf(batch) {
			if r.scope != scopeConntrack {
				continue
			}
			if r.name != "network.connection.closed" {
				v.events = append(v.events, r)
				continue
			}
			owner, _ := r.resource["container.id"].(string)
			v.closed[owner] = append(v.closed[owner], r.attributes)
		}
	}
	v.taken.metrics, v.taken.logs = len(metrics), len(logs)
}

func (v *connView) takeMetrics(owner string, metrics pmetric.MetricSlice) {
	for _, metric := range metrics.All() {
		if metric.Type() == pmetric.MetricTypeExponentialHistogram {
			for _, p := range metric.ExponentialHistogram().DataPoints().All() {
				v.put(connKey{owner: owner, metric: metric.Name()}, p.Attributes(), p.Timestamp(), float64(p.Count()))
			}
			continue
		}
		for _, p := range pointsOf(metric).All() {
			v.put(connKey{owner: owner, metric: metric.Name()}, p.Attributes(), p.Timestamp(), float64(p.IntValue()))
		}
	}
}

func (v *connView) put(key connKey, attributes pcommon.Map, at pcommon.Timestamp, value float64) {
	raw := attributes.AsRaw()
	key.attributes = fmt.Sprint(raw)
	known := v.points[key]
	if at >= known.at {
		v.points[key] = connPoint{at: at, value: value, attributes: raw, times: known.times + 1}
	}
}

// sum adds up the latest points of an owner's metric that have the attributes.
func (v *connView) sum(owner, metric string, want map[string]any) float64 {
	sum := 0.0
	for key, p := range v.points {
		if key.owner == owner && key.metric == metric && hasTags(p.attributes, want) == nil {
			sum += p.value
		}
	}
	return sum
}

// times is how often the most frequent point of an owner's metric has come.
func (v *connView) times(owner, metric string) int {
	most := 0
	for key, p := range v.points {
		if key.owner == owner && key.metric == metric {
			most = max(most, p.times)
		}
	}
	return most
}

// expects waits for a sum. More than that can only be wrong, unless it may fall.
func (v *connView) expects(owner, metric string, attributes map[string]any, want float64) error {
	v.take()
	if got := v.sum(owner, metric, attributes); got != want {
		return fmt.Errorf("%s%v of %.12s is %v, want %v: %w", metric, attributes, owner, got, want, errConnections)
	}
	return nil
}

// connRecord is the attributes of a record.
type connRecord map[string]any

func (r connRecord) number(key string) int64 {
	n, _ := r[key].(int64)
	return n
}

func (r connRecord) text(key string) string {
	s, _ := r[key].(string)
	return s
}

// has compares attributes; one wanted as nil must not be there.
func (r connRecord) has(want map[string]any) error {
	var wrong []error
	for key, value := range want {
		if got := r[key]; got != value {
			wrong = append(wrong, fmt.Errorf("%s is %v, want %v: %w", key, got, value, errConnections))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w in %v", errors.Join(wrong...), r)
	}
	return nil
}

// wantEnd writes what is wanted of one end's address. A value of nil is wanted not
// to be there.
func wantEnd(to map[string]any, side string, really, seen netip.AddrPort) {
	to[side+".address"], to[side+".port"] = really.Addr().String(), int64(really.Port())
	to[side+".nat.address"], to[side+".nat.port"] = any(nil), any(nil)
	if seen != really {
		to[side+".nat.address"], to[side+".nat.port"] = seen.Addr().String(), int64(seen.Port())
	}
}

// wantOwner writes a container, or that there is none.
func wantOwner(to map[string]any, side, id string) {
	to[side+".container.id"] = any(nil)
	if id != "" {
		to[side+".container.id"] = id
	}
}

// arrived returns a condition: an owner has as many records, or more.
func (v *connView) arrived(owner string, n int) error {
	v.take()
	if got := len(v.closed[owner]); got < n {
		return fmt.Errorf("%d of %d connections of %.12s: %w", got, n, owner, errConnections)
	}
	return nil
}

// one returns the only record of an owner that has the attributes.
func (v *connView) one(t *testing.T, owner string, want map[string]any) connRecord {
	t.Helper()
	var found []connRecord
	for _, r := range v.closed[owner] {
		if r.has(want) == nil {
			found = append(found, r)
		}
	}
	require.Len(t, found, 1, "%v of %.12s", want, owner)
	return found[0]
}

// bytesOf finds records by the bytes of the request, which each connection has its
// own of: what the client sent and the server received.
func bytesOf(records []connRecord, key string) map[int64][]connRecord {
	found := map[int64][]connRecord{}
	for _, r := range records {
		found[r.number(key)] = append(found[r.number(key)], r)
	}
	return found
}
