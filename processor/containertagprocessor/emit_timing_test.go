package containertagprocessor

import (
	"fmt"
	"runtime"
	"testing"

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
// part that nobody can save: copying the same attributes into an empty map.
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
			perResource(b, r, n, func(i int) pcommon.Map {
				return resource("container.id", ids[i%containers], "container.runtime.name", "docker")
			})
		})
	}
	b.Run("attributes", func(b *testing.B) {
		done := tagsOf(r, ids[0])
		b.ReportAllocs()
		into := pcommon.NewMap()
		for b.Loop() {
			done.CopyTo(into)
			into = pcommon.NewMap()
		}
	})
	b.Run("no_container", func(b *testing.B) {
		perResource(b, r, 100, func(int) pcommon.Map {
			m := resource("service.name", "x")
			for _, a := range hostAttributes() {
				m.PutStr(a.Key, a.Value)
			}
			return m
		})
	})
	b.Run("no_container_no_host", func(b *testing.B) {
		bare := newRig(b, nil)
		perResource(b, bare, 100, func(int) pcommon.Map {
			return resource("service.name", "x", "service.version", "1", "telemetry.sdk.name", "opentelemetry", "telemetry.sdk.language", "go")
		})
	})
}

func tagsOf(r *rig, id string) pcommon.Map {
	m := resource("container.id", id)
	v := r.metrics.visit(noPeer)
	f := v.look(m)
	v.apply(m, &f)
	return m
}

// perResource measures batches of n resources, made anew outside of the clock,
// and reports time and allocations per resource.
func perResource(b *testing.B, r *rig, n int, attributes func(int) pcommon.Map) {
	template := make([]pcommon.Map, n)
	for i := range template {
		template[i] = attributes(i)
	}
	batch := metricsOf(template...)
	md := pmetric.NewMetrics()
	var before, after runtime.MemStats
	allocations := uint64(0)
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		batch.CopyTo(md)
		runtime.ReadMemStats(&before)
		b.StartTimer()
		v := r.metrics.visit(noPeer)
		for _, rm := range md.ResourceMetrics().All() {
			f := v.look(rm.Resource().Attributes())
			v.apply(rm.Resource().Attributes(), &f)
		}
		b.StopTimer()
		runtime.ReadMemStats(&after)
		allocations += after.Mallocs - before.Mallocs
		b.StartTimer()
	}
	each := float64(b.N) * float64(n)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/each, "ns/resource")
	b.ReportMetric(float64(allocations)/each, "allocs/resource")
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
