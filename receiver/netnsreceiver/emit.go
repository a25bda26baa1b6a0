package netnsreceiver

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
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
	// telling leaves out what has not changed.
	telling telling
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
	return &metricsEmitter{core: core{cfg: cfg, set: set}, telling: newTelling(cfg), excluded: map[string]bool{}}
}

func (e *metricsEmitter) start(ctx context.Context, host component.Host) error {
	if err := e.core.start(ctx, host); err != nil {
		return err
	}
	h, err := newHealth(e.set, e.tracker, e.telling.leftOut.Load)
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

// scrape reads every namespace and returns it as one resource, where something has
// changed or its turn has come. The protocols
// are read in turns, so that no scrape has to read those of all namespaces.
func (e *metricsEmitter) scrape(context.Context) (pmetric.Metrics, error) {
	if e.tracker == nil {
		return pmetric.NewMetrics(), nil
	}
	e.number++
	e.telling.pass++
	every := e.cfg.protocolEvery()
	namespaces, now := e.refresh()
	for _, n := range namespaces {
		e.tracker.Read(n, (e.number+n.Inode)%every == 0)
		if n.Sample.Have != 0 {
			e.namespace(n, now)
		}
	}
	e.telling.forget()
	e.health.logProblems(e.tracker.Stats())
	return e.mb.Emit(), nil
}

// namespace emits what there is to tell of one that was read.
func (e *metricsEmitter) namespace(n *netns.Namespace, now time.Time) {
	r := &e.containers
	if n.Host {
		r = &e.host
	}
	t, last, values := &e.telling, e.telling.of(n), valuesOf(&n.Sample)
	t.shown = e.choose(t.shown[:0], n.Sample.Interfaces)
	devices, protocols := t.judge(last, n, &values)
	if devices.before {
		e.interfaces(r, last.interfaces, last.start, last.interfacesAt)
	}
	if protocols.before {
		r.protocols(timestampOf(last.valuesAt), &last.values)
	}
	if devices.before || protocols.before {
		e.emit(r, n, last.start, last.interfacesAt)
	}
	if devices.tell {
		e.interfaces(r, t.shown, n.Start, now)
	}
	if protocols.tell {
		r.protocols(timestampOf(now), &values)
	}
	if devices.tell || protocols.tell {
		e.emit(r, n, n.Start, now)
	}
	t.keep(last, n, &values, now)
}

// choose appends the interfaces that are to be shown.
func (e *metricsEmitter) choose(shown, all []netns.Interface) []netns.Interface {
	for i := range all {
		if device := &all[i]; !e.excludes(device.Name) && (!device.Pair || e.cfg.PairedInterfaces) {
			shown = append(shown, *device)
		}
	}
	return shown
}

// interfaces records those that are as old as the namespace, and keeps the
// others for emit.
func (e *metricsEmitter) interfaces(r *recorder, list []netns.Interface, start, at time.Time) {
	for i := range list {
		if list[i].Start.Equal(start) {
			r.device(timestampOf(at), &list[i])
		} else {
			e.late = append(e.late, &list[i])
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

// emit makes a resource of what was recorded, and one for each late interface, of
// which the numbers are of the time at.
func (e *metricsEmitter) emit(r *recorder, n *netns.Namespace, start, at time.Time) {
	e.finish(n, start)
	for _, i := range e.late {
		r.device(timestampOf(at), i)
		e.finish(n, i.Start)
	}
	e.late = e.late[:0]
}

func (e *metricsEmitter) finish(n *netns.Namespace, start time.Time) {
	e.mb.EmitForResource(
		metadata.WithResource(resource(e.mb.NewResourceBuilder(), n)),
		metadata.WithStartTimeOverride(timestampOf(start)),
	)
}

func timestampOf(t time.Time) pcommon.Timestamp { return pcommon.NewTimestampFromTime(t) }

// withoutNothing keeps scrapes in which nothing was to be told from the pipeline.
type withoutNothing struct{ consumer.Metrics }

// ConsumeMetrics passes metrics on unless there are none.
func (w withoutNothing) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	if md.ResourceMetrics().Len() == 0 {
		return nil
	}
	return w.Metrics.ConsumeMetrics(ctx, md)
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
