package containertagprocessor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
)

// A pod that nobody knows is no reason to fall over, on any signal.
func TestUnknownPod(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 0 })
	r.store.Up("docker")
	r.store.PutHost("host", hostAttributes())
	require.Contains(t, r.sent(resource("k8s.pod.uid", "9a1b")), "host.id")
	require.NoError(t, r.logs.ConsumeLogs(t.Context(), logsOf(resource("k8s.pod.uid", "9a1b", "k8s.container.name", "x"), "hello")))
	require.NoError(t, r.traces.ConsumeTraces(t.Context(), tracesOf(resource("k8s.pod.uid", "9a1b"))))
	require.Equal(t, 1, r.logsSink.LogRecordCount())
	require.Equal(t, 1, r.tracesSink.SpanCount())
}

func inPod(id, name string, created time.Time) *entity.Container {
	return &entity.Container{ID: id, Name: name, Created: created, Pod: &entity.PodRef{UID: "9a1b", Name: "web-0", Container: "main"}}
}

// A restarted container of a pod has a new id: data that name it by pod and name
// are the new one's, in whatever order it is told of, and after the old one is
// forgotten.
func TestNewestInstanceInPod(t *testing.T) {
	now := time.Now()
	for _, order := range [][]string{{oneID, otherID}, {otherID, oneID}} {
		r := newRig(t, nil)
		r.store.Up("docker")
		for _, id := range order {
			created := map[string]time.Time{oneID: now.Add(-time.Hour), otherID: now}[id]
			r.store.PutContainer("docker", inPod(id, id[:4], created))
		}
		by := resource("k8s.pod.uid", "9a1b", "k8s.container.name", "main")
		require.Equal(t, otherID, r.sent(by)["container.id"])
		r.store.ContainerGone("docker", oneID)
		require.Equal(t, otherID, r.sent(by)["container.id"])
		r.metrics.tagger.ContainerChanged(oneID, nil)
		require.Equal(t, otherID, r.sent(by)["container.id"])
	}
}

// The dead one has the name for as long as there is no other.
func TestDeadInstanceInPod(t *testing.T) {
	r := newRig(t, nil)
	r.store.Up("docker")
	r.store.PutContainer("docker", inPod(oneID, "old", time.Now()))
	r.store.ContainerGone("docker", oneID)
	by := resource("k8s.pod.uid", "9a1b", "k8s.container.name", "main")
	require.Equal(t, oneID, r.sent(by)["container.id"])
	r.store.PutContainer("docker", inPod(otherID, "new", time.Time{}))
	require.Equal(t, otherID, r.sent(by)["container.id"])
}

func TestPeerOverHTTP(t *testing.T) {
	r := newRig(t, func(c *Config) { c.PeerAddress = true })
	r.store.Up("docker")
	addr := netip.MustParseAddr("172.17.0.9")
	r.store.PutContainer("docker", &entity.Container{ID: oneID, Name: "web", Addresses: []netip.Addr{addr}})
	ctx := client.NewContext(t.Context(), client.Info{Addr: &net.IPAddr{IP: addr.AsSlice()}})
	require.NoError(t, r.metrics.ConsumeMetrics(ctx, metricsOf(resource("service.name", "x"))))
	require.Equal(t, "web", r.last()["container.name"])
	require.Equal(t, oneID, r.last()["container.id"])
}

// Who was found by address keeps what was found out while it waits.
func TestFoundByAddressAndWaiting(t *testing.T) {
	r := newRig(t, func(c *Config) { c.PeerAddress, c.Wait = true, 10*time.Second })
	addr := netip.MustParseAddr("172.17.0.9")
	ctx := client.NewContext(t.Context(), client.Info{Addr: &net.TCPAddr{IP: addr.AsSlice(), Port: 1}})
	r.store.Up("docker")
	r.known(otherID, "x")
	r.metrics.hold.add(oneID, time.Now().Add(time.Hour), metricsOf(resource("container.id", oneID))) // earlier data of it
	r.store.PutContainer("docker", &entity.Container{ID: oneID, Name: "web", Addresses: []netip.Addr{addr}})
	require.NoError(t, r.metrics.ConsumeMetrics(ctx, metricsOf(resource("service.name", "x"))))
	testkit.Eventually(t, patience, func() error {
		if n := len(r.metricsSink.AllMetrics()); n != 2 {
			return fmt.Errorf("%d batches", n)
		}
		return nil
	})
	require.Equal(t, "web", r.last()["container.name"])
	require.Equal(t, oneID, r.last()["container.id"])
}

// The address is known to the store before the tags are made.
func TestAddressOfTheUnknown(t *testing.T) {
	r := newRig(t, func(c *Config) { c.PeerAddress, c.Wait = true, 0 })
	r.store.Up("docker")
	require.NotNil(t, r.sent(resource("container.id", oneID)))
	addr := netip.MustParseAddr("172.17.0.9")
	r.metrics.tagger.cancel() // hears of nothing from now on
	r.store.PutContainer("docker", &entity.Container{ID: oneID, Name: "web", Addresses: []netip.Addr{addr}})
	ctx := client.NewContext(t.Context(), client.Info{Addr: &net.TCPAddr{IP: addr.AsSlice(), Port: 1}})
	require.NoError(t, r.metrics.ConsumeMetrics(ctx, metricsOf(resource("service.name", "x"))))
	require.NotContains(t, r.last(), "container.id")
}

// Another host's data stay another host's.
func TestOtherHost(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait, c.Override = 0, true })
	r.store.Up("docker")
	r.store.PutHost("host", []entity.Attribute{{Key: "host.name", Value: "node-1"}, {Key: "team", Value: "a"}})
	got := r.sent(resource("host.name", "node-2", "container.id", oneID))
	require.Equal(t, map[string]any{"host.name": "node-2", "container.id": oneID}, got)
	got = r.sent(resource("host.name", "node-2", "k8s.pod.uid", "9a1b"))
	require.Equal(t, map[string]any{"host.name": "node-2", "k8s.pod.uid": "9a1b"}, got)
}

// A pod is more than a number of a process; both are less than an id.
func TestOrderOfIdentities(t *testing.T) {
	r := newRig(t, nil)
	v := r.metrics.visit(noPeer)
	pid := identity{podUID: "9a1b", pid: 1}
	_, key := v.find(&pid)
	require.Equal(t, podWaitKey("9a1b"), key)
	path := identity{cgroupPath: "/docker/" + oneID, podUID: "9a1b"}
	_, key = v.find(&path)
	require.Equal(t, oneID, key)
}

func TestLongIDsAreNone(t *testing.T) {
	r := newRig(t, nil)
	require.NotNil(t, r.sent(resource("container.id", strings.Repeat("a", 129))))
	require.NotNil(t, r.sent(resource("k8s.pod.uid", strings.Repeat("a", 1<<20))))
	require.Empty(t, r.wanted())
}

// Rules are about containers: who cannot be matched is treated as unknown.
func TestSelectionByPod(t *testing.T) {
	for unknown, passes := range map[string]bool{unknownPass: true, unknownDrop: false} {
		r := newRig(t, func(c *Config) {
			c.Exclude = []selection.Rule{{ContainerName: "noisy"}}
			c.Unknown, c.Wait = unknown, 0
		})
		r.store.Up("docker")
		r.store.PutPod("docker", &entity.Pod{UID: "9a1b", Name: "web-0"})
		for _, attributes := range [][]string{
			{"k8s.pod.uid", "nobody"}, {"k8s.pod.uid", "9a1b"}, {"k8s.pod.uid", "9a1b", "k8s.container.name", "x"},
		} {
			require.Equal(t, passes, r.sent(resource(attributes...)) != nil, "%s %v", unknown, attributes)
		}
	}
}

// Who tries a batch again that was refused has all of it, once.
func TestRefusedBatchIsWhole(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 10 * time.Second })
	r.store.Up("docker")
	r.known(oneID, "web")
	sink := r.metrics.next
	r.metrics.next = consumertest.NewErr(errors.New("busy"))
	md := metricsOf(resource("container.id", oneID), resource("container.id", otherID))
	require.Error(t, r.metrics.ConsumeMetrics(t.Context(), md))
	require.Equal(t, 2, md.ResourceMetrics().Len())
	require.True(t, r.metrics.hold.isEmpty())
	ld := logsOf(resource("container.id", otherID), "a")
	logsOf(resource("container.id", oneID), "b").ResourceLogs().MoveAndAppendTo(ld.ResourceLogs())
	r.logs.next = consumertest.NewErr(errors.New("busy"))
	require.Error(t, r.logs.ConsumeLogs(t.Context(), ld))
	require.Equal(t, 2, ld.LogRecordCount())

	r.metrics.next = sink
	require.NoError(t, r.metrics.ConsumeMetrics(t.Context(), md))
	r.known(otherID, "db")
	testkit.Eventually(t, patience, func() error {
		if n := r.metricsSink.DataPointCount(); n != 2 {
			return fmt.Errorf("%d points", n)
		}
		return nil
	})
}

// What comes between looking and waiting is noticed.
func TestTagsThatComeMeanwhile(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 10 * time.Second })
	r.store.Up("docker")
	attributes := resource("container.id", oneID)
	v := r.metrics.visit(noPeer)
	f := v.look(attributes)
	require.True(t, waits(v, r.metrics.hold, &f))
	r.known(oneID, "web")
	putAside(v, r.metrics.hold, []setAside[pmetric.Metrics]{{found: f, data: metricsOf(attributes)}})
	testkit.Eventually(t, patience, func() error {
		if r.last()["container.name"] != "web" {
			return errors.New("it waits")
		}
		return nil
	})
}

// Many bytes are as much as many records.
func TestLargeRecordsFillTheQueue(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 10 * time.Second })
	r.store.Up("docker")
	body := strings.Repeat("x", 1<<20)
	n := 0
	for ; r.logsSink.LogRecordCount() == 0 && n < 100; n++ {
		require.NoError(t, r.logs.ConsumeLogs(t.Context(), logsOf(resource("container.id", oneID), body)))
	}
	require.InDelta(t, maxHeld*itemBytes>>20, n, 2)
}

// A shutdown that has no more time does not wait for who does not take anything.
func TestShutdownEnds(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Wait = 10 * time.Second })
	r.metrics.next = stuck{}
	r.store.Up("docker")
	require.NoError(t, r.metrics.ConsumeMetrics(t.Context(), metricsOf(resource("container.id", oneID))))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, r.metrics.Shutdown(ctx))
	require.EqualValues(t, 1, r.metrics.counts.refusedItems.Load())
}

// stuck takes nothing until its caller gives up.
type stuck struct{ mutates }

func (stuck) ConsumeMetrics(ctx context.Context, _ pmetric.Metrics) error {
	<-ctx.Done()
	return ctx.Err()
}
