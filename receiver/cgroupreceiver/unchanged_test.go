package cgroupreceiver

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/container"
	"github.com/tallymanhq/tallyman/internal/hostview/sampler"
)

// everySecond is what the agent's configuration has.
func everySecond(c *Config) { c.CollectionInterval = time.Second }

// line is a series with its points.
type line []struct {
	at time.Time
	v  float64
}

// lines takes metrics apart into series: the key is container, metric and attributes.
func lines(all ...pmetric.Metrics) map[string]line {
	found := map[string]line{}
	for _, md := range all {
		for _, rm := range md.ResourceMetrics().All() {
			id := ""
			if v, ok := rm.Resource().Attributes().Get("container.id"); ok {
				id = v.Str()
			}
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				for _, p := range points(m).All() {
					key := fmt.Sprint(id, " ", m.Name(), " ", p.Attributes().AsRaw())
					v := p.DoubleValue()
					if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
						v = float64(p.IntValue())
					}
					found[key] = append(found[key], line{{p.Timestamp().AsTime(), v}}...)
				}
			}
		}
	}
	return found
}

func points(m pmetric.Metric) pmetric.NumberDataPointSlice {
	if m.Type() == pmetric.MetricTypeSum {
		return m.Sum().DataPoints()
	}
	return m.Gauge().DataPoints()
}

// passes plays readings of a target, one per second; change makes the next one.
func passes(e *metricsEmitter, target *sampler.Target, n int, change func(second int)) []pmetric.Metrics {
	var out []pmetric.Metrics
	for i := range n {
		if change != nil {
			change(i)
		}
		target.At = epoch.Add(time.Duration(i) * time.Second)
		e.targets(&sampler.Pass{At: target.At, Live: []*sampler.Target{target}})
		out = append(out, e.mb.Emit())
	}
	return out
}

// seconds are those that a series has points at.
func seconds(l line) []int {
	var s []int
	for _, p := range l {
		s = append(s, int(p.at.Sub(epoch)/time.Second))
	}
	return s
}

const cpuTime = testID + " container.cpu.time map[cpu.mode:user]"

func TestWhatHasNotChangedIsLeftOut(t *testing.T) {
	e, target := newTestEmitter(t, everySecond), fullTarget()
	got := lines(passes(e, target, 14, func(second int) {
		if second == 8 || second == 9 {
			target.Sample.CPU.User += time.Second
		}
	})...)[cpuTime]
	// The first two, a turn, the one before the change at its own time, the changes,
	// one that says that nothing changes any more.
	require.Equal(t, []int{0, 1, 4, 7, 8, 9, 10}, seconds(got))
	require.Equal(t, []float64{20, 20, 20, 20, 21, 22, 22}, []float64{got[0].v, got[1].v, got[2].v, got[3].v, got[4].v, got[5].v, got[6].v})
	require.Equal(t, uint64(8), e.telling.leftOut.Load())
}

func TestAllIsSentWhereThatIsWanted(t *testing.T) {
	f := func(interval, unchanged time.Duration) {
		t.Helper()
		e := newTestEmitter(t, func(c *Config) { c.CollectionInterval, c.UnchangedInterval = interval, unchanged })
		require.Len(t, lines(passes(e, fullTarget(), 12, nil)...)[cpuTime], 12)
		require.Zero(t, e.telling.leftOut.Load())
	}
	f(time.Second, 0)
	f(time.Second, time.Second-1)
	f(10*time.Second, 5*time.Second)
}

// What is left of a disk changes all the time, by others. It goes out with the rest.
func TestFileSystemsAreNoChange(t *testing.T) {
	e, target := newTestEmitter(t, everySecond), fullTarget()
	got := lines(passes(e, target, 10, func(second int) { target.Filesystem.Available = uint64(second) })...)
	available := got[testID+" container.filesystem.available map[]"]
	require.Equal(t, []int{0, 1, 4, 9}, seconds(available))
	require.InDelta(t, 9, available[3].v, 0)
}

// Averages fall for minutes after the last stall. Who wants them gets all of them.
func TestAveragesAreAChangeWhereTheyAreSent(t *testing.T) {
	f := func(enabled bool, want int) {
		t.Helper()
		e, target := newTestEmitter(t, everySecond), fullTarget()
		e.cfg.Metrics.ContainerIoPressureAverage.Enabled = enabled
		got := lines(passes(e, target, 10, func(int) { target.Sample.IOPressure.Some.Avg300 /= 2 })...)
		require.Len(t, got[cpuTime], want)
	}
	f(false, 4)
	f(true, 10)
}

// The end says all that is known, and what was left out before it.
func TestTheEndOfASilentContainer(t *testing.T) {
	e, target := newTestEmitter(t, everySecond), fullTarget()
	passes(e, target, 4, nil)
	target.End = epoch.Add(3500 * time.Millisecond)
	e.targets(&sampler.Pass{At: epoch.Add(4 * time.Second), Ended: []*sampler.Target{target}})
	got := lines(e.mb.Emit())[cpuTime]
	require.Equal(t, []time.Time{epoch.Add(3 * time.Second), target.End}, []time.Time{got[0].at, got[1].at})
	require.Empty(t, e.telling.targets)
}

// A cgroup may be gone when it is to be read, and its end be told later: nothing is
// made up for the time between, which would be younger than the end.
func TestNothingIsToldOfWhatCouldNotBeRead(t *testing.T) {
	e, target := newTestEmitter(t, func(c *Config) { everySecond(c); c.UnchangedInterval = 0 }), fullTarget()
	passes(e, target, 2, nil)
	e.targets(&sampler.Pass{At: epoch.Add(2 * time.Second), Live: []*sampler.Target{target}})
	target.End = epoch.Add(1500 * time.Millisecond)
	e.targets(&sampler.Pass{At: epoch.Add(3 * time.Second), Ended: []*sampler.Target{target}})
	got := lines(e.mb.Emit())[cpuTime]
	require.Equal(t, line{{target.End, 20}}, got)
}

// A container that began again goes on with the same series: the end comes first.
func TestTheEndComesBeforeTheNextBeginning(t *testing.T) {
	e, before, after := newTestEmitter(t, everySecond), fullTarget(), fullTarget()
	passes(e, before, 1, nil)
	before.End = epoch.Add(200 * time.Millisecond)
	after.At = epoch.Add(time.Second)
	e.targets(&sampler.Pass{At: after.At, Live: []*sampler.Target{after}, Ended: []*sampler.Target{before}})
	got := lines(e.mb.Emit())[cpuTime]
	require.Equal(t, line{{before.End, 20}, {after.At, 20}}, got)
}

// One whose end was not told, for want of room, is not remembered for ever.
func TestOnlyWhatIsThereIsRemembered(t *testing.T) {
	e := newTestEmitter(t, everySecond)
	for i := range 10 {
		target := fullTarget()
		target.At = epoch.Add(time.Duration(i) * time.Second)
		e.targets(&sampler.Pass{At: target.At, Live: []*sampler.Target{target}})
		require.Len(t, e.telling.targets, 1)
	}
}

func TestTheHostIsLeftOutToo(t *testing.T) {
	e := newTestEmitter(t, everySecond)
	pressure := fullTarget().Sample.IOPressure
	for i := range 12 {
		if i == 8 {
			pressure.Some.Total += time.Second
		}
		pressure.Some.Avg10 /= 2 // not emitted
		e.host(epoch.Add(time.Duration(i)*time.Second), hostReadingOf(map[container.Class]int{container.ClassContainer: 3}, &sampler.HostPressure{IO: pressure, HasIO: true}))
	}
	got := lines(e.mb.Emit())
	require.Equal(t, []int{0, 1, 4, 7, 8, 9}, seconds(got[" system.io.pressure.total map[psi.type:some]"]))
	require.Equal(t, []int{0, 1, 4, 7, 8, 9}, seconds(got[" system.cgroup.count map[cgroup.class:container]"]))
}

// Each field of a target that makes a difference in what is sent is a change. A new
// one that is emitted and not compared makes this fail.
func TestNoFieldIsForgotten(t *testing.T) {
	all := func(c *Config) {
		everySecond(c)
		c.Metrics.ContainerCPUPressureAverage.Enabled = true
		c.Metrics.ContainerMemoryPressureAverage.Enabled = true
		c.Metrics.ContainerIoPressureAverage.Enabled = true
	}
	sent := func(target *sampler.Target) map[string]line {
		e := newTestEmitter(t, all)
		e.live(epoch, target, e.telling.of(target))
		found := lines(e.mb.Emit())
		maps.DeleteFunc(found, func(key string, _ line) bool { return strings.Contains(key, "container.filesystem.") })
		return found
	}
	differences := 0
	before := sent(fullTarget())
	for _, path := range leaves(reflect.TypeFor[sampler.Target](), nil) {
		e, target := newTestEmitter(t, all), fullTarget()
		passes(e, target, 3, nil) // the third is left out
		alter(reflect.ValueOf(target).Elem().FieldByIndex(path[:1]), path[1:])
		if reflect.DeepEqual(before, sent(target)) {
			continue
		}
		differences++
		e.live(epoch.Add(3*time.Second), target, e.telling.of(target))
		require.Equal(t, []int{2, 3}, seconds(lines(e.mb.Emit())[testID+" container.uptime map[]"]), nameOf(path))
	}
	require.Greater(t, differences, 60)
}

// leaves are the paths to all exported numbers, words and switches of a struct.
func leaves(of reflect.Type, to []int) (paths [][]int) {
	switch {
	case of.Kind() == reflect.Struct && of != reflect.TypeFor[time.Time]():
		for i := range of.NumField() {
			// What a container is called is on the resource and never changes.
			if f := of.Field(i); f.IsExported() && f.Type != reflect.TypeFor[container.Cgroup]() {
				paths = append(paths, leaves(f.Type, append(slices.Clip(to), i))...)
			}
		}
		return paths
	case of.Kind() == reflect.Slice:
		return leaves(of.Elem(), append(slices.Clip(to), 0))
	}
	return [][]int{to}
}

func nameOf(path []int) string {
	name, of := "", reflect.TypeFor[sampler.Target]()
	for _, i := range path {
		if of.Kind() == reflect.Slice {
			of = of.Elem()
			continue
		}
		name, of = name+"."+of.Field(i).Name, of.Field(i).Type
	}
	return name
}

// alter makes another value of what a path leads to.
func alter(v reflect.Value, path []int) {
	if len(path) > 0 {
		if v.Kind() == reflect.Slice {
			alter(v.Index(path[0]), path[1:])
		} else {
			alter(v.Field(path[0]), path[1:])
		}
		return
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(time.Minute)))
	case v.CanInt():
		v.SetInt(v.Int() + 1000)
	case v.CanUint() && v.Type().Name() == "Part":
		v.SetUint(0)
	case v.CanUint():
		v.SetUint(v.Uint() + 1000)
	case v.CanFloat():
		v.SetFloat(v.Float() + 0.5)
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	default:
		v.SetZero()
	}
}

// BenchmarkIdle is the emission of 50 idle containers once a second, without the
// reading and all that comes behind.
func BenchmarkIdle(b *testing.B) {
	for name, unchanged := range map[string]time.Duration{"all": 0, "unchanged": 5 * time.Second} {
		b.Run(name, func(b *testing.B) {
			e := newTestEmitter(b, func(c *Config) { c.CollectionInterval, c.UnchangedInterval = time.Second, unchanged })
			p := sampler.Pass{At: epoch}
			for range 50 {
				p.Live = append(p.Live, fullTarget())
			}
			b.ReportAllocs()
			points, n := 0, 0
			for b.Loop() {
				p.At = p.At.Add(time.Second)
				for _, t := range p.Live {
					t.At = p.At
				}
				e.targets(&p)
				points += e.mb.Emit().DataPointCount()
				n++
			}
			b.ReportMetric(float64(points)/float64(n), "points/op")
		})
	}
}

// A pass that tells nothing costs no memory.
func TestSilenceAllocatesNothing(t *testing.T) {
	e, target := newTestEmitter(t, func(c *Config) { c.CollectionInterval, c.UnchangedInterval = time.Millisecond, 9*time.Second }), fullTarget()
	passes(e, target, 3, nil)
	p := sampler.Pass{At: target.At, Live: []*sampler.Target{target}}
	require.Zero(t, testing.AllocsPerRun(100, func() { e.targets(&p) }))
}

// A pipeline is not bothered with nothing.
func TestNothingIsNotSent(t *testing.T) {
	sink := new(consumertest.MetricsSink)
	next := withoutNothing{sink}
	require.NoError(t, next.ConsumeMetrics(t.Context(), pmetric.NewMetrics()))
	require.Empty(t, sink.AllMetrics())
	something := pmetric.NewMetrics()
	something.ResourceMetrics().AppendEmpty()
	require.NoError(t, next.ConsumeMetrics(t.Context(), something))
	require.Len(t, sink.AllMetrics(), 1)
}
