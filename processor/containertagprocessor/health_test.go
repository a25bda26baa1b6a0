package containertagprocessor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/tallymanhq/tallyman/internal/discovery/identities"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/metadata"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/metadatatest"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/notice"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/store"
)

// observed is a processor of metrics whose telemetry can be read, over a store
// with room for one dead container and three unknown ones.
type observed struct {
	*metricsTags
	t     *testing.T
	tel   *componenttest.Telemetry
	hub   *hub
	store *store.Store
}

func newObserved(t *testing.T, cfg *Config, next consumer.Metrics) *observed {
	t.Helper()
	require.NoError(t, cfg.Validate())
	o := &observed{t: t, tel: componenttest.NewTelemetry()}
	t.Cleanup(func() { require.NoError(t, o.tel.Shutdown(context.Background())) })
	o.store = store.New(store.Options{Containers: []string{"docker", "podman"}, MaxDead: 1, MaxUnknown: 3}, func(string, string) {})
	o.hub = &hub{store: o.store, started: true, cancel: func() {}, holders: 1, notices: notice.New(o.store, fullBoard())}
	tagger, err := newTagger(cfg, o.store)
	require.NoError(t, err)
	s := newShared()
	s.taggers[cfg] = &sharedTagger{tagger: tagger, hub: o.hub, hubKey: "observed"}
	set := processortest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = o.tel.NewTelemetrySettings()
	o.metricsTags = newMetricsTags(newCore(cfg, set, s), next)
	require.NoError(t, o.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { require.NoError(t, o.Shutdown(context.Background())) })
	return o
}

// fullBoard is one that takes no more.
func fullBoard() *identities.Board {
	const room = 4096 // of package board
	b := identities.New()
	for n := range room {
		b.Put(fmt.Sprint("taken ", n), &target.Identity{})
	}
	return b
}

func (o *observed) send(pairs ...string) {
	o.t.Helper()
	require.NoError(o.t, o.ConsumeMetrics(o.t.Context(), metricsOf(resource(pairs...))))
}

// points are those of one metric, by the values of its attribute.
func points(key string, values map[string]int64) (all []metricdata.DataPoint[int64]) {
	for name, value := range values {
		all = append(all, metricdata.DataPoint[int64]{Attributes: attribute.NewSet(attribute.String(key, name)), Value: value})
	}
	return all
}

func point(value int64) []metricdata.DataPoint[int64] {
	return []metricdata.DataPoint[int64]{{Value: value}}
}

// Every metric of metadata.yaml, with a number that says which event it counts.
func TestTelemetry(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.Wait = 0 // nothing waits but what the test holds back itself
	cfg.Exclude = []selection.Rule{{ContainerName: "noisy"}}
	cfg.Labels.Allow = []string{"long", "broken"}
	refuse, err := consumer.NewMetrics(func(_ context.Context, md pmetric.Metrics) error {
		if name, _ := md.ResourceMetrics().At(0).Resource().Attributes().Get("container.name"); name.Str() == "refused" {
			return errors.New("full")
		}
		return nil
	})
	require.NoError(t, err)
	o := newObserved(t, cfg, refuse)
	o.store.Up("docker")
	o.store.Down("podman", errors.New("connection refused"))
	o.hub.up.Store(1)

	o.put("web", map[string]string{
		"long": strings.Repeat("x", 2000), "broken": "a\xffb", "huge": strings.Repeat("x", 5000),
	})
	for _, name := range []string{"redis", "valkey"} { // what is cut is cut once, whatever it is recognised as
		o.store.PutTechnology("recognition", "web", &entity.Technology{Name: name})
	}
	o.put("noisy", nil)
	o.put("refused", nil)
	for i := range 3 { // two are evicted, one is dead
		name := fmt.Sprint("dead", i)
		o.put(name, nil)
		o.store.ContainerGone("docker", name)
	}
	o.send("container.id", "web")
	o.send("container.id", "web")
	o.send("container.id", "noisy")
	o.send("x", "y")
	o.send("container.id", "late")
	o.send("container.id", "unknown")
	o.store.Absent("docker", "unknown")
	o.send("container.id", "unknown")
	o.hub.up.Store(0)
	o.send("container.id", "unknown")
	o.send("container.id", "third")
	o.send("container.id", "one too many")
	o.send("container.id", "and another")
	o.holdBack("refused", 4)
	o.hold.changed("refused", true)
	testkit.Eventually(t, patience, func() error {
		if n := o.hold.size(); n != 0 {
			return fmt.Errorf("%d points wait", n)
		}
		return nil
	})
	o.holdBack("web", 7)
	for range 2 {
		o.hub.notices.ContainerChanged("web", &store.Entity{Container: &entity.Container{ID: "web"}})
	}
	o.check()
}

func (o *observed) put(name string, labels map[string]string) {
	o.store.PutContainer("docker", &entity.Container{ID: name, Name: name, Labels: labels})
}

// holdBack lets points wait as if the tags of their container were not there.
func (o *observed) holdBack(id string, points int) {
	o.t.Helper()
	md := metricsOf(resource("container.id", id))
	data := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints()
	for data.Len() < points {
		data.AppendEmpty()
	}
	require.True(o.t, o.hold.add(id, time.Now().Add(time.Hour), md))
}

func (o *observed) check() {
	t, tel := o.t, o.tel
	t.Helper()
	plain := metricdatatest.IgnoreTimestamp()
	metadatatest.AssertEqualContainerTagResources(t, tel, points("outcome", map[string]int64{
		"tagged": 3, "untagged": 7, "no_container": 1, "excluded": 1,
	}), plain)
	metadatatest.AssertEqualContainerTagUntagged(t, tel, points("reason", map[string]int64{
		"unknown": 1, "late": 3, "no_source": 1, "too_many": 2,
	}), plain)
	metadatatest.AssertEqualContainerTagContainers(t, tel, points("state", map[string]int64{
		"live": 3, "dead": 1, "unknown": 3,
	}), plain)
	metadatatest.AssertEqualContainerTagCut(t, tel, points("reason", map[string]int64{
		"metadata_size": 1, "value_length": 1, "invalid_utf8": 1, "attribute_count": 0, "secret": 0, "malformed": 0, "reserved": 0,
	}), plain)
	metadatatest.AssertEqualContainerTagSourceUp(t, tel, points("source", map[string]int64{"docker": 1, "podman": 0}), plain)
	metadatatest.AssertEqualContainerTagEvicted(t, tel, point(2), plain)
	metadatatest.AssertEqualContainerTagWaiting(t, tel, point(7), plain)
	metadatatest.AssertEqualContainerTagRefused(t, tel, point(4), plain)
	metadatatest.AssertEqualContainerTagUntold(t, tel, point(2), plain)
}
