package runner

import (
	"context"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

// containerID is the attribute that an application must not choose.
const containerID = "container.id"

// others begin the attributes that say which container, pod or host something is from.
// container_tag adds them, and leaves those that are there.
var others = []string{"container.", "k8s.", "host.", "cloud.", "os.", "docker.", "oci.", "aws.", "nomad."}

// emitter puts a container's attributes on what a receiver produces, and takes off
// what its wish says. What a container has asked for itself says nothing of another
// one: a page of Prometheus' form may name attributes (target_info).
type emitter struct {
	spec *spec.Spec
	gate *gate
}

// metrics wraps the consumer that a receiver gets.
func (e *emitter) metrics(next consumer.Metrics) consumer.Metrics {
	return &metricsEmitter{emitter: e, next: next}
}

// logs wraps the consumer that a receiver gets.
func (e *emitter) logs(next consumer.Logs) consumer.Logs {
	return &logsEmitter{emitter: e, next: next}
}

type metricsEmitter struct {
	*emitter
	next consumer.Metrics
}

// ConsumeMetrics implements [consumer.Metrics].
func (e *metricsEmitter) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	if e.gate.muted.Load() || e.gate.stopped.Load() {
		e.gate.dropped.Add(1)
		return nil
	}
	if md.IsReadOnly() {
		own := pmetric.NewMetrics()
		md.CopyTo(own)
		md = own
	}
	for _, rm := range md.ResourceMetrics().All() {
		e.put(rm.Resource())
	}
	return e.next.ConsumeMetrics(ctx, md)
}

type logsEmitter struct {
	*emitter
	next consumer.Logs
}

// ConsumeLogs implements [consumer.Logs]. What a replaced receiver has read is
// read by nobody else.
func (e *logsEmitter) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	if e.gate.stopped.Load() {
		e.gate.dropped.Add(1)
		return nil
	}
	if ld.IsReadOnly() {
		own := plog.NewLogs()
		ld.CopyTo(own)
		ld = own
	}
	for _, rl := range ld.ResourceLogs().All() {
		e.put(rl.Resource())
	}
	return e.next.ConsumeLogs(ctx, ld)
}

// Capabilities implement both consumers.
func (e *emitter) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: true}
}

func (e *emitter) put(resource pcommon.Resource) {
	attributes := resource.Attributes()
	attributes.RemoveIf(func(key string, value pcommon.Value) bool {
		if drop, ok := e.spec.Drop[key]; ok && value.Type() == pcommon.ValueTypeStr && value.Str() == drop {
			return true
		}
		return !e.spec.Trusted && slices.ContainsFunc(others, func(begin string) bool { return strings.HasPrefix(key, begin) })
	})
	for key, value := range e.spec.Resource {
		if _, isTaken := attributes.Get(key); !isTaken || key == containerID {
			attributes.PutStr(key, value)
		}
	}
}
