package netnsreceiver

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/netns"
	"github.com/tallymanhq/tallyman/receiver/netnsreceiver/internal/metadata"
)

// metricsEmitter turns samples of namespaces into metrics.
type metricsEmitter struct {
	core
	mb     *metadata.MetricsBuilder
	health *health
	// containers and host record the same metrics under their two names.
	containers, host recorder
	// number counts the scrapes.
	number uint64
	// late are interfaces whose counting began after their namespace's; they
	// need a resource of their own, because a start is one for all points.
	late []*netns.Interface
	// excluded is what the configuration says of each interface name. Names
	// repeat: eth0 in nearly every container.
	excluded map[string]bool
}

// mostNames bounds the names whose exclusion is remembered, 100 bytes each.
const mostNames = 4096

func newMetricsEmitter(cfg *Config, set receiver.Settings) *metricsEmitter {
	return &metricsEmitter{core: core{cfg: cfg, set: set}, excluded: map[string]bool{}}
}

func (e *metricsEmitter) start(ctx context.Context, host component.Host) error {
	if err := e.core.start(ctx, host); err != nil {
		return err
	}
	h, err := newHealth(e.set, e.tracker)
	if err != nil {
		return err
	}
	e.health = h
	e.build()
	e.logStart()
	return nil
}

func (e *metricsEmitter) build() {
	e.mb = metadata.NewMetricsBuilder(e.cfg.MetricsBuilderConfig, e.set)
	e.containers, e.host = containerRecorder(e.mb), hostRecorder(e.mb)
}

func (e *metricsEmitter) shutdown(ctx context.Context) error {
	if e.health != nil {
		e.health.stop()
		e.health = nil
	}
	return e.core.shutdown(ctx)
}

// scrape reads every namespace and returns it as one resource. The protocols
// are read in turns, so that no scrape has to read those of all namespaces.
func (e *metricsEmitter) scrape(context.Context) (pmetric.Metrics, error) {
	if e.tracker == nil {
		return pmetric.NewMetrics(), nil
	}
	e.number++
	every := e.cfg.protocolEvery()
	namespaces, now := e.refresh()
	for _, n := range namespaces {
		e.tracker.Read(n, (e.number+n.Inode)%every == 0)
		if n.Sample.Have != 0 {
			e.namespace(n, now)
		}
	}
	e.health.logProblems(e.tracker.Stats())
	return e.mb.Emit(), nil
}

func (e *metricsEmitter) namespace(n *netns.Namespace, now time.Time) {
	r, at := &e.containers, pcommon.NewTimestampFromTime(now)
	if n.Host {
		r = &e.host
	}
	e.late = e.late[:0]
	if n.Sample.Have&netns.PartDevices != 0 {
		e.interfaces(r, at, n)
	}
	r.tcp(at, &n.Sample)
	if n.Sample.Have&netns.PartUDP != 0 {
		r.udp(at, n.Sample.UDP)
	}
	if n.Sample.Have&netns.PartConntrack != 0 {
		r.conntrack(at, n.Sample.Conntrack)
	}
	e.emit(n, n.Start)
	for _, i := range e.late {
		r.device(at, i)
		e.emit(n, i.Start)
	}
}

// interfaces records those that are as old as the namespace, and keeps the
// others for later.
func (e *metricsEmitter) interfaces(r *recorder, at pcommon.Timestamp, n *netns.Namespace) {
	for i := range n.Sample.Interfaces {
		device := &n.Sample.Interfaces[i]
		switch {
		case e.excludes(device.Name), device.Pair && !e.cfg.PairedInterfaces:
		case device.Start.Equal(n.Start):
			r.device(at, device)
		default:
			e.late = append(e.late, device)
		}
	}
}

func (e *metricsEmitter) excludes(name string) bool {
	excluded, known := e.excluded[name]
	if !known {
		if len(e.excluded) >= mostNames {
			clear(e.excluded)
		}
		excluded = e.cfg.excludes(name)
		e.excluded[name] = excluded
	}
	return excluded
}

func (e *metricsEmitter) emit(n *netns.Namespace, start time.Time) {
	e.mb.EmitForResource(
		metadata.WithResource(resource(e.mb.NewResourceBuilder(), n)),
		metadata.WithStartTimeOverride(pcommon.NewTimestampFromTime(start)),
	)
}

// resource names the namespace and its owner. Names of directories may hold
// any bytes; OTLP takes UTF-8 alone.
func resource(rb *metadata.ResourceBuilder, n *netns.Namespace) pcommon.Resource {
	if n.Inode != 0 {
		rb.SetNetworkNamespaceInode(int64(n.Inode))
	}
	if owner := n.Owner(); owner != nil {
		setOwner(rb, owner)
	}
	return rb.Emit()
}

func setOwner(rb *metadata.ResourceBuilder, c *container.Cgroup) {
	rb.SetContainerID(utf8(c.ID))
	if c.Runtime != "" {
		rb.SetContainerRuntimeName(c.Runtime)
	}
	if c.PodUID != "" {
		rb.SetK8sPodUID(c.PodUID)
	}
	if c.ParentID != "" {
		rb.SetContainerParentID(utf8(c.ParentID))
	}
	rb.SetLinuxCgroupPath(utf8(c.Path))
}

func utf8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
