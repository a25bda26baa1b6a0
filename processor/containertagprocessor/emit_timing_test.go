package containertagprocessor

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// hostAttributes are what a host in a cloud has.
func hostAttributes() []entity.Attribute {
	var all []entity.Attribute
	for _, key := range []string{
		"host.name", "host.id", "host.arch", "os.type", "os.description", "os.version",
		"cloud.provider", "cloud.region", "cloud.availability_zone", "role",
	} {
		all = append(all, entity.Attribute{Key: key, Value: "some-value"})
	}
	return all
}

// BenchmarkResource is what one resource costs, in a batch of some: identifying
// it, finding its tags, and putting 22 to 25 of them on it. "attributes" is the
// part that nobody can save: copying the same attributes into an empty map, in the
// same way and with the same garbage.
func BenchmarkResource(b *testing.B) {
	r := newRig(b, nil)
	r.store.Up("docker")
	r.store.PutHost("host", hostAttributes())
	const containers = 2000
	ids := make([]string, containers)
	for i := range ids {
		ids[i] = fmt.Sprintf("%064x", i)
		r.known(ids[i], fmt.Sprintf("shop_web_%d", i))
	}
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("tagged=%d", n), func(b *testing.B) {
			perResource(b, r.tagAll, n, func(i int) pcommon.Map {
				return resource("container.id", ids[i%containers], "container.runtime.name", "docker")
			})
		})
	}
	b.Run("attributes", func(b *testing.B) {
		tags := r.metrics.tagger.container(ids[0], "").template.attributes
		bare := func(md pmetric.Metrics) {
			for _, rm := range md.ResourceMetrics().All() {
				into := rm.Resource().Attributes()
				into.Clear()
				tags.CopyTo(into)
			}
		}
		perResource(b, bare, 100, func(i int) pcommon.Map { return resource("container.id", ids[i]) })
	})
	b.Run("no_container", func(b *testing.B) {
		perResource(b, r.tagAll, 100, func(int) pcommon.Map {
			m := resource("service.name", "x")
			for _, a := range hostAttributes() {
				m.PutStr(a.Key, a.Value)
			}
			return m
		})
	})
	b.Run("no_container_no_host", func(b *testing.B) {
		bare := newRig(b, nil)
		perResource(b, bare.tagAll, 100, func(int) pcommon.Map {
			return resource("service.name", "x", "service.version", "1", "telemetry.sdk.name", "opentelemetry", "telemetry.sdk.language", "go")
		})
	})
}

// perResource measures batches of n resources, made anew outside of the clock, and
// reports the time per resource.
func perResource(b *testing.B, work func(pmetric.Metrics), n int, attributes func(int) pcommon.Map) {
	batch := metricsOf()
	for i := range n {
		metricsOf(attributes(i)).ResourceMetrics().At(0).MoveTo(batch.ResourceMetrics().AppendEmpty())
	}
	// Stopping the clock costs more than tagging a resource.
	copies := make([]pmetric.Metrics, max(1, 10_000/n))
	for range b.N {
		b.StopTimer()
		for i := range copies {
			copies[i] = pmetric.NewMetrics()
			batch.CopyTo(copies[i])
		}
		b.StartTimer()
		for _, md := range copies {
			work(md)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(copies)*n), "ns/resource")
}

func (r *rig) tagAll(md pmetric.Metrics) {
	v := r.metrics.visit(noPeer)
	for _, rm := range md.ResourceMetrics().All() {
		f := v.look(rm.Resource().Attributes())
		v.apply(rm.Resource().Attributes(), &f)
	}
}

// Tagging allocates what the attributes themselves are made of and nothing else.
func TestTaggingAllocatesTheAttributes(t *testing.T) {
	r := newRig(t, nil)
	r.store.Up("docker")
	r.store.PutHost("host", hostAttributes())
	r.known(oneID, "web")
	const resources = 100
	batch := pmetric.NewMetrics()
	for range resources {
		batch.ResourceMetrics().AppendEmpty().Resource().Attributes().PutStr("container.id", oneID)
	}
	perBatch := func(f func(pmetric.Metrics)) float64 {
		return testing.AllocsPerRun(20, func() {
			md := pmetric.NewMetrics()
			batch.CopyTo(md)
			f(md)
		})
	}
	tags := r.metrics.tagger.container(oneID, "").template.attributes
	// A map of the same attributes, put into each resource.
	attributes := perBatch(func(md pmetric.Metrics) {
		for _, rm := range md.ResourceMetrics().All() {
			m := rm.Resource().Attributes()
			m.Clear()
			tags.CopyTo(m)
		}
	})
	tagged := perBatch(func(md pmetric.Metrics) { r.tagAll(md) })
	// A visit has a map of its own.
	const perVisit = 4
	require.LessOrEqual(t, tagged, attributes+perVisit)
}

// BenchmarkMemory reports what 2,000 containers with their tags take.
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		r := newRig(b, nil)
		r.store.PutHost("host", hostAttributes())
		for i := range 2000 {
			r.known(fmt.Sprintf("%064x", i), fmt.Sprintf("shop_web_%d", i))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1024, "KiB/2000containers")
		runtime.KeepAlive(r)
	}
}
