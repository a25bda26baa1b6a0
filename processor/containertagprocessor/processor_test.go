package containertagprocessor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/tags"
)

const patience = 30 * time.Second

func TestTagsOnAllSignals(t *testing.T) {
	r := newRig(t, nil)
	r.store.Up("docker")
	r.store.PutHost("host", []entity.Attribute{{Key: "host.name", Value: "node-1"}, {Key: "os.type", Value: "linux"}})
	r.known(oneID, "web")

	require.NoError(t, r.metrics.ConsumeMetrics(t.Context(), metricsOf(resource("container.id", oneID))))
	require.NoError(t, r.logs.ConsumeLogs(t.Context(), logsOf(resource("container.id", oneID), "hello")))
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), tracesOf(resource("container.id", oneID))))
	for _, got := range []map[string]any{
		r.metricsSink.AllMetrics()[0].ResourceMetrics().At(0).Resource().Attributes().AsRaw(),
		r.logsSink.AllLogs()[0].ResourceLogs().At(0).Resource().Attributes().AsRaw(),
		r.tracesSink.AllTraces()[0].ResourceSpans().At(0).Resource().Attributes().AsRaw(),
	} {
		require.Subset(t, got, map[string]any{
			"container.id": oneID, "container.name": "web", "container.image.name": "registry/app",
			"container.image.tags": []any{"1.2"}, "container.runtime.version": "28.1.0",
			"docker.compose.project": "shop", "docker.compose.service": "web-service",
			"docker.network.names": []any{"shop_default"},
			"service.name":         "web-service", "service.namespace": "shop",
			"host.name": "node-1", "os.type": "linux",
		})
	}
}

func TestWhatTheApplicationSaysStays(t *testing.T) {
	of := func(change func(*Config)) map[string]any {
		r := newRig(t, change)
		r.store.Up("docker")
		r.store.PutHost("host", []entity.Attribute{{Key: "host.name", Value: "node-1"}, {Key: "host.id", Value: "42"}})
		r.known(oneID, "web")
		return r.sent(resource("container.id", oneID, "service.name", "mine", "host.name", "1f2e3d4c"))
	}
	got := of(nil)
	require.Equal(t, "mine", got["service.name"])
	require.Equal(t, "1f2e3d4c", got["host.name"], "what a container calls itself")
	require.Equal(t, "42", got["host.id"], "the container is known to be on this host")
	got = of(func(c *Config) { c.Override = true })
	require.Equal(t, "web-service", got["service.name"])
	require.Equal(t, "node-1", got["host.name"])
}

func TestMadeUpServiceNameIsReplaced(t *testing.T) {
	r := newRig(t, nil)
	r.store.Up("docker")
	r.known(oneID, "web")
	require.Equal(t, "web-service", r.sent(resource("container.id", oneID, "service.name", "unknown_service:java"))["service.name"])
}

func TestResourceWithoutContainer(t *testing.T) {
	r := newRig(t, nil)
	r.store.PutHost("host", []entity.Attribute{{Key: "host.name", Value: "node-1"}, {Key: "host.arch", Value: "amd64"}, {Key: "role", Value: "db"}})
	require.Equal(t, map[string]any{"host.name": "node-1", "host.arch": "amd64", "role": "db", "x": "y"}, r.sent(resource("x", "y")))
	require.Equal(t, map[string]any{"host.name": "node-1", "host.arch": "mine", "role": "db"}, r.sent(resource("host.arch", "mine", "host.name", "node-1")))
	require.Equal(t, map[string]any{"host.name": "node-2"}, r.sent(resource("host.name", "node-2")), "another host's data are not of this host")
	require.Empty(t, r.wanted())
}

// Metrics and logs of a container that appears a moment later wait for it, in
// order; traces do not wait.
func TestWaits(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 10 * time.Second })
	r.store.Up("docker")
	require.Nil(t, r.sent(resource("container.id", oneID)))
	for i := range 3 {
		require.NoError(t, r.logs.ConsumeLogs(t.Context(), logsOf(resource("container.id", oneID), strconv.Itoa(i))))
	}
	require.Empty(t, r.logsSink.AllLogs())
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), tracesOf(resource("container.id", oneID))))
	require.Equal(t, 1, r.tracesSink.SpanCount())
	require.EqualValues(t, 3, r.logs.hold.size())
	require.Equal(t, []string{oneID}, r.wanted(), "asked once")

	r.known(oneID, "web")
	testkit.Eventually(t, patience, func() error {
		if n := r.logsSink.LogRecordCount(); n != 3 {
			return fmt.Errorf("%d records", n)
		}
		if r.last() == nil {
			return errors.New("no metrics")
		}
		return nil
	})
	require.Equal(t, "web", r.last()["container.name"])
	for i, ld := range r.logsSink.AllLogs() {
		rl := ld.ResourceLogs().At(0)
		require.Equal(t, strconv.Itoa(i), rl.ScopeLogs().At(0).LogRecords().At(0).Body().Str())
		name, _ := rl.Resource().Attributes().Get("container.name")
		require.Equal(t, "web", name.Str())
	}
	require.True(t, r.logs.hold.isEmpty())
}

// Who is not known in time goes on without tags, and later data at once.
func TestWaitsNotForEver(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 50 * time.Millisecond })
	r.store.Up("docker")
	require.Nil(t, r.sent(resource("container.id", oneID)))
	testkit.Eventually(t, patience, func() error {
		if r.last() == nil {
			return errors.New("nothing yet")
		}
		return nil
	})
	require.Equal(t, map[string]any{"container.id": oneID}, r.last())
	require.NotNil(t, r.sent(resource("container.id", oneID)))
	require.EqualValues(t, 2, r.metrics.counts.byReason[late].Load())
	r.store.Absent("docker", oneID)
	require.NotNil(t, r.sent(resource("container.id", oneID)))
	require.EqualValues(t, 3, r.metrics.counts.byOutcome[notTagged].Load())
}

// Without a source that answers nothing waits.
func TestNoSource(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 10 * time.Second })
	r.store.Down("docker", errors.New("connection refused"))
	require.Equal(t, map[string]any{"container.id": oneID}, r.sent(resource("container.id", oneID)))
	require.EqualValues(t, 1, r.metrics.counts.byReason[noSource].Load())
}

func TestShutdownHandsOnWhatWaits(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 10 * time.Second })
	r.store.Up("docker")
	require.Nil(t, r.sent(resource("container.id", oneID)))
	require.NoError(t, r.metrics.Shutdown(t.Context()))
	require.Equal(t, map[string]any{"container.id": oneID}, r.last())
}

func TestTooMuchWaits(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 10 * time.Second })
	r.store.Up("docker")
	md := metricsOf(resource("container.id", oneID))
	points := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints()
	for points.Len() <= maxHeld {
		points.AppendEmpty()
	}
	require.NoError(t, r.metrics.ConsumeMetrics(t.Context(), md))
	require.Empty(t, r.metricsSink.AllMetrics(), "one resource may go beyond")
	require.NotNil(t, r.sent(resource("container.id", otherID)))
	require.EqualValues(t, 1, r.metrics.counts.byReason[tooMany].Load())
}

func TestTooManyUnknown(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 0 })
	r.store.Up("docker")
	for i := range 1001 {
		require.NotNil(t, r.sent(resource("container.id", fmt.Sprintf("%064d", i))))
	}
	require.EqualValues(t, 1, r.metrics.counts.byReason[tooMany].Load())
	require.Len(t, r.wanted(), 1000)
}

func TestRefusedAfterWaiting(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 10 * time.Second })
	r.metrics.next = consumertest.NewErr(errors.New("no"))
	r.store.Up("docker")
	require.NoError(t, r.metrics.ConsumeMetrics(t.Context(), metricsOf(resource("container.id", oneID))))
	r.known(oneID, "web")
	testkit.Eventually(t, patience, func() error {
		if n := r.metrics.counts.refusedItems.Load(); n != 1 {
			return fmt.Errorf("%d refused", n)
		}
		return nil
	})
}

func TestSelection(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Exclude = []selection.Rule{{Label: map[string]string{"com.docker.compose.service": "noisy-*"}}}
	})
	r.store.Up("docker")
	r.known(oneID, "noisy")
	r.known(otherID, "web")
	md := metricsOf(resource("container.id", oneID), resource("container.id", otherID), resource("x", "y"))
	require.NoError(t, r.metrics.ConsumeMetrics(t.Context(), md))
	require.Equal(t, 2, r.metricsSink.AllMetrics()[0].ResourceMetrics().Len())
	require.Nil(t, r.sent(resource("container.id", oneID)))
	require.NoError(t, r.logs.ConsumeLogs(t.Context(), logsOf(resource("container.id", oneID), "hello")))
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), tracesOf(resource("container.id", oneID))))
	require.Empty(t, r.logsSink.AllLogs())
	require.Empty(t, r.tracesSink.AllTraces())
	require.EqualValues(t, 2, r.metrics.counts.byOutcome[excluded].Load())
}

func TestSelectionOfTheUnknown(t *testing.T) {
	for unknown, passes := range map[string]bool{unknownPass: true, unknownDrop: false} {
		r := newRig(t, func(c *Config) {
			c.Include = []selection.Rule{{ContainerName: "web"}}
			c.Unknown = unknown
		})
		r.store.Down("docker", errors.New("away"))
		require.Equal(t, passes, r.sent(resource("container.id", oneID)) != nil, unknown)
	}
}

func TestFoundOtherThanByID(t *testing.T) {
	r := newRig(t, func(c *Config) { c.PeerAddress = true })
	r.store.Up("docker")
	addr := netip.MustParseAddr("172.17.0.9")
	r.store.PutContainer("docker", &entity.Container{
		ID: oneID, Name: "web", Addresses: []netip.Addr{addr},
		Pod: &entity.PodRef{UID: "9a1b", Name: "web-0", Namespace: "shop", Container: "main"},
	})
	for _, attributes := range []map[string]any{
		r.sent(resource("linux.cgroup.path", "/docker/"+oneID+"/inner")),
		r.sent(resource("k8s.pod.uid", "9a1b", "k8s.container.name", "main")),
	} {
		require.Equal(t, oneID, attributes["container.id"])
		require.Equal(t, "web-0", attributes["k8s.pod.name"])
	}
	for _, from := range []net.Addr{
		&net.TCPAddr{IP: addr.AsSlice(), Port: 4000}, &net.TCPAddr{IP: net.ParseIP("::ffff:172.17.0.9"), Port: 4000},
	} {
		ctx := client.NewContext(t.Context(), client.Info{Addr: from})
		require.NoError(t, r.traces.ConsumeTraces(ctx, tracesOf(resource("service.name", "x"))))
		all := r.tracesSink.AllTraces()
		id, _ := all[len(all)-1].ResourceSpans().At(0).Resource().Attributes().Get("container.id")
		require.Equal(t, oneID, id.Str())
	}
	r.store.ContainerGone("docker", oneID)
	ctx := client.NewContext(t.Context(), client.Info{Addr: &net.TCPAddr{IP: addr.AsSlice(), Port: 4000}})
	r.tracesSink.Reset()
	require.NoError(t, r.traces.ConsumeTraces(ctx, tracesOf(resource("service.name", "x"))))
	_, ok := r.tracesSink.AllTraces()[0].ResourceSpans().At(0).Resource().Attributes().Get("container.id")
	require.False(t, ok, "a dead container's address is somebody else's soon")
}

// A pod's tags go to what names the pod only, and to its containers.
func TestPods(t *testing.T) {
	r := newRig(t, nil)
	r.store.Up("docker")
	r.store.PutContainer("docker", &entity.Container{ID: oneID, Pod: &entity.PodRef{UID: "9a1b", Name: "web-0", Namespace: "shop", Container: "main"}})
	r.store.PutPod("docker", &entity.Pod{UID: "9a1b", Name: "web-0", Namespace: "shop", Node: "node-1", Owners: entity.Owners{StatefulSet: "web"}})
	require.Equal(t, "web", r.sent(resource("k8s.pod.uid", "9a1b"))["k8s.statefulset.name"])
	require.Equal(t, "web", r.sent(resource("container.id", oneID))["k8s.statefulset.name"])
	require.Nil(t, r.sent(resource("container.id", otherID, "k8s.pod.uid", "9a1b")), "it waits for its own tags")
	r.store.Absent("docker", otherID)
	testkit.Eventually(t, patience, func() error {
		if got := r.last(); got["k8s.statefulset.name"] != "web" {
			return fmt.Errorf("a container that nobody knows, of a pod that is known: %v", got)
		}
		return nil
	})
}

func TestPeersOfPoints(t *testing.T) {
	r := newRig(t, nil)
	r.store.Up("docker")
	r.known(oneID, "web")
	r.known(otherID, "db")
	md := metricsOf(resource("container.id", oneID))
	metrics := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	edge := metrics.AppendEmpty()
	edge.SetName("container.edge.connections")
	points := edge.SetEmptySum().DataPoints()
	points.AppendEmpty().Attributes().PutStr("peer.container.id", otherID)
	points.AppendEmpty().Attributes().PutStr("peer.address", "203.0.113.7")
	require.NoError(t, r.metrics.ConsumeMetrics(t.Context(), md))
	got := r.metricsSink.AllMetrics()[0].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(1).Sum().DataPoints()
	require.Equal(t, map[string]any{"peer.container.id": otherID, "peer.container.name": "db", "peer.service.name": "db-service"}, got.At(0).Attributes().AsRaw())
	require.Equal(t, map[string]any{"peer.address": "203.0.113.7"}, got.At(1).Attributes().AsRaw())
}

func TestEndsOfConnections(t *testing.T) {
	r := newRig(t, nil)
	r.store.Up("docker")
	r.known(oneID, "web")
	r.known(otherID, "db")
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("container.id", oneID)
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for _, event := range []string{"network.connection.closed", "something.else"} {
		record := records.AppendEmpty()
		record.SetEventName(event)
		record.Attributes().PutStr("source.container.id", oneID)
		record.Attributes().PutStr("destination.container.id", otherID)
	}
	require.NoError(t, r.logs.ConsumeLogs(t.Context(), ld))
	got := r.logsSink.AllLogs()[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
	require.Equal(t, map[string]any{
		"source.container.id": oneID, "source.container.name": "web", "source.service.name": "web-service",
		"destination.container.id": otherID, "destination.container.name": "db", "destination.service.name": "db-service",
	}, got.At(0).Attributes().AsRaw())
	require.Equal(t, 2, got.At(1).Attributes().Len(), "other records are as they were")
}

func TestChangesAreForNewData(t *testing.T) {
	r := newRig(t, nil)
	r.store.Up("docker")
	r.known(oneID, "web")
	require.Equal(t, "web", r.sent(resource("container.id", oneID))["container.name"])
	r.known(oneID, "renamed")
	require.Equal(t, "renamed", r.sent(resource("container.id", oneID))["container.name"])
	r.store.PutHost("host", []entity.Attribute{{Key: "role", Value: "db"}})
	require.Equal(t, "db", r.sent(resource("container.id", oneID))["role"])
	r.store.ContainerGone("docker", oneID)
	require.Equal(t, "renamed", r.sent(resource("container.id", oneID))["container.name"], "late data finds its tags")
}

// What an application says of itself by OTEL_RESOURCE_ATTRIBUTES is less than what
// the operator says of the host, and says nothing of the host at all.
func TestCarriedAttributes(t *testing.T) {
	r := newRig(t, nil)
	r.store.Up("docker")
	r.store.PutHost("host", []entity.Attribute{{Key: "host.name", Value: "node-1"}, {Key: "team", Value: "operators"}})
	r.store.PutContainer("docker", &entity.Container{
		ID: oneID, Name: "web", Env: map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "host.name=node-9,team=finance,shift=night,service.version=1.2"},
	})
	require.Subset(t, r.sent(resource("container.id", oneID)), map[string]any{
		"host.name": "node-1", "team": "operators", "shift": "night", "service.version": "1.2",
	})
}

func TestCardinality(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Cardinality = tags.Low })
	r.store.Up("docker")
	r.known(oneID, "web")
	got := r.sent(resource("container.id", oneID))
	require.Equal(t, "shop", got["docker.compose.project"])
	require.NotContains(t, got, "container.name")
}

func TestEmptyBatch(t *testing.T) {
	r := newRig(t, nil)
	require.NoError(t, r.metrics.ConsumeMetrics(t.Context(), pmetric.NewMetrics()))
	require.Empty(t, r.metricsSink.AllMetrics())
}
