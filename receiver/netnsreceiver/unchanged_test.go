package netnsreceiver

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/tallymanhq/tallyman/internal/netns"
)

// everySecond is what the agent's configuration has.
func everySecond(c *Config) { c.CollectionInterval = time.Second }

// pointsOf are the seconds and values of all points of a metric, in the order in
// which they are told.
func pointsOf(name string, all ...pmetric.Metrics) (seconds []int, values []int64) {
	for _, md := range all {
		for _, rm := range md.ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				if m.Name() != name {
					continue
				}
				p := m.Sum().DataPoints().At(0)
				seconds = append(seconds, int(p.Timestamp().AsTime().Sub(epoch)/time.Second))
				values = append(values, p.IntValue())
			}
		}
	}
	return seconds, values
}

// play scrapes a namespace once a second; change says what was read.
func play(e *metricsEmitter, n *netns.Namespace, scrapes int, change func(second int)) []pmetric.Metrics {
	var out []pmetric.Metrics
	for i := range scrapes {
		change(i)
		e.telling.pass++
		e.namespace(n, epoch.Add(time.Duration(i)*time.Second))
		e.telling.forget()
		out = append(out, e.mb.Emit())
	}
	return out
}

// one has no interface that came later.
func one() *netns.Namespace {
	n := fullNamespace()
	n.Sample.Interfaces = n.Sample.Interfaces[:2]
	return n
}

func TestWhatHasNotChangedIsLeftOut(t *testing.T) {
	e, n := newTestEmitter(t, everySecond), one()
	n.Sample.Have = netns.PartDevices
	got := play(e, n, 14, func(second int) {
		n.Sample.Interfaces[0].Receive.Bytes++ // lo is not shown
		if second == 8 || second == 9 {
			n.Sample.Interfaces[1].Receive.Bytes += 1000
		}
	})
	seconds, values := pointsOf("container.network.io", got...)
	require.Equal(t, []int{0, 1, 4, 7, 8, 9, 10}, seconds)
	require.Equal(t, []int64{100, 100, 100, 100, 1100, 2100, 2100}, values)
	require.Equal(t, uint64(8), e.telling.leftOut.Load())
}

// Each group is left out by itself: protocols are read every 2 s here.
func TestGroupsAreLeftOutByThemselves(t *testing.T) {
	e := newTestEmitter(t, func(c *Config) { c.CollectionInterval, c.ProtocolInterval = time.Second, 2*time.Second })
	n := one()
	all := n.Sample.Have
	got := play(e, n, 14, func(second int) {
		n.Sample.Interfaces[1].Receive.Bytes += 1000
		if n.Sample.Have = netns.PartDevices; second%2 == 0 {
			n.Sample.Have = all
		}
		if second == 10 {
			n.Sample.TCP.EstabResets++
		}
	})
	seconds, _ := pointsOf("container.network.io", got...)
	require.Len(t, seconds, 14)
	seconds, values := pointsOf("container.network.tcp.reset", got...)
	require.Equal(t, []int{0, 2, 6, 8, 10, 12}, seconds) // a turn each 4 s, and the one before the change
	require.Equal(t, []int64{5, 5, 5, 5, 6, 6}, values)
}

func TestAllIsSentWhereThatIsWanted(t *testing.T) {
	f := func(interval, unchanged time.Duration) {
		t.Helper()
		e := newTestEmitter(t, func(c *Config) { c.CollectionInterval, c.UnchangedInterval = interval, unchanged })
		seconds, _ := pointsOf("container.network.tcp.reset", play(e, one(), 12, func(int) {})...)
		require.Len(t, seconds, 12)
	}
	f(time.Second, 0)
	f(10*time.Second, 5*time.Second)
}

// What begins anew has another start, and what was before keeps its own.
func TestANewStartIsAChange(t *testing.T) {
	e, n := newTestEmitter(t, everySecond), one()
	n.Sample.Have = netns.PartDevices
	got := play(e, n, 9, func(second int) {
		if second == 8 {
			n.Start = epoch
			n.Sample.Interfaces[1].Start = epoch
		}
	})
	require.Equal(t, 2, got[8].ResourceMetrics().Len())
	for i, start := range []time.Time{epoch.Add(-time.Hour), epoch} {
		p := got[8].ResourceMetrics().At(i).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(0)
		require.Equal(t, start, p.StartTimestamp().AsTime())
	}
	seconds, _ := pointsOf("container.network.io", got...)
	require.Equal(t, []int{0, 1, 4, 7, 8}, seconds)

	// So have protocols, whose numbers may happen to be the same.
	e, n = newTestEmitter(t, func(c *Config) { c.CollectionInterval, c.ProtocolInterval = time.Second, time.Second }), one()
	n.Sample.Have = netns.PartSNMP
	seconds, _ = pointsOf("container.network.tcp.reset", play(e, n, 9, func(second int) {
		if second == 8 {
			n.Start = epoch
		}
	})...)
	require.Equal(t, []int{0, 1, 4, 7, 8}, seconds)
}

// A late interface is repeated with a resource of its own, as it is told.
func TestALateInterfaceIsRepeated(t *testing.T) {
	e, n := newTestEmitter(t, everySecond), fullNamespace()
	n.Sample.Have = netns.PartDevices
	got := play(e, n, 8, func(second int) {
		if second == 7 {
			n.Sample.Interfaces[2].Receive.Bytes++
		}
	})
	require.Equal(t, 4, got[7].ResourceMetrics().Len())
	seconds, values := pointsOf("container.network.io", got[7])
	require.Equal(t, []int{6, 6, 7, 7}, seconds)
	require.Equal(t, []int64{100, 300, 100, 301}, values)
}

// Who has it is on the resource: the series are others.
func TestAnotherOwnerIsTold(t *testing.T) {
	e, n := newTestEmitter(t, everySecond), one()
	got := play(e, n, 7, func(second int) {
		if second == 6 {
			n.Members = []netns.Member{member("3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d")}
		}
	})
	require.Equal(t, 1, got[6].ResourceMetrics().Len())
	seconds, _ := pointsOf("container.network.io", got...)
	require.Equal(t, []int{0, 1, 4, 6}, seconds)
}

func TestOnlyWhatIsThereIsRemembered(t *testing.T) {
	e := newTestEmitter(t, everySecond)
	n := one()
	play(e, n, 10, func(int) { n.Inode++ })
	require.Len(t, e.telling.namespaces, 1)
}

// Each number of a sample that makes a difference in what is sent is a change.
func TestNoFieldIsForgotten(t *testing.T) {
	differences := 0
	for _, path := range leaves(reflect.TypeFor[netns.Sample](), nil) {
		e, n := newTestEmitter(t, func(c *Config) { c.CollectionInterval, c.ProtocolInterval = time.Second, time.Second }), one()
		play(e, n, 3, func(int) {}) // the third is left out
		before := told(t, n)
		alter(reflect.ValueOf(&n.Sample).Elem(), path)
		if reflect.DeepEqual(before, told(t, n)) {
			continue
		}
		differences++
		e.namespace(n, epoch.Add(3*time.Second))
		require.NotZero(t, e.mb.Emit().DataPointCount(), "%v", path)
	}
	require.Greater(t, differences, 20)
}

// told is all that a new emitter tells of a namespace.
func told(t *testing.T, n *netns.Namespace) map[string]int64 {
	e := newTestEmitter(t, everySecond)
	e.namespace(n, epoch)
	found := map[string]int64{}
	md := e.mb.Emit()
	for i := range md.ResourceMetrics().Len() {
		rm := md.ResourceMetrics().At(i)
		for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
			for _, p := range m.Sum().DataPoints().All() {
				found[fmt.Sprint(i, m.Name(), p.Attributes().AsRaw(), p.StartTimestamp())] = p.IntValue()
			}
		}
	}
	return found
}

// leaves are the paths to all exported values of a struct; of a list the second one.
func leaves(of reflect.Type, to []int) (paths [][]int) {
	switch {
	case of.Kind() == reflect.Struct && of != reflect.TypeFor[time.Time]():
		for i := range of.NumField() {
			if f := of.Field(i); f.IsExported() {
				paths = append(paths, leaves(f.Type, append(slices.Clip(to), i))...)
			}
		}
		return paths
	case of.Kind() == reflect.Slice:
		return leaves(of.Elem(), append(slices.Clip(to), 1))
	}
	return [][]int{to}
}

// alter makes another value of what a path leads to.
func alter(v reflect.Value, path []int) {
	for _, i := range path {
		if v.Kind() == reflect.Slice {
			v = v.Index(i)
		} else {
			v = v.Field(i)
		}
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(epoch.Add(-time.Minute)))
	case v.Type() == reflect.TypeFor[netns.Part]():
		v.SetUint(uint64(netns.PartDevices | netns.PartSNMP))
	case v.CanUint():
		v.SetUint(v.Uint() + 1000)
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	default:
		v.SetString("eth7")
	}
}

// A scrape that tells nothing costs no memory.
func TestSilenceAllocatesNothing(t *testing.T) {
	e, n := newTestEmitter(t, func(c *Config) {
		c.CollectionInterval, c.ProtocolInterval, c.UnchangedInterval = time.Millisecond, 0, 9*time.Second
	}), one()
	play(e, n, 3, func(int) {})
	require.Zero(t, testing.AllocsPerRun(100, func() { e.namespace(n, epoch) }))
}

// BenchmarkIdle is the emission of 50 idle namespaces once a second.
func BenchmarkIdle(b *testing.B) {
	for name, unchanged := range map[string]time.Duration{"all": 0, "unchanged": 5 * time.Second} {
		b.Run(name, func(b *testing.B) {
			e := newTestEmitter(b, func(c *Config) { c.CollectionInterval, c.UnchangedInterval = time.Second, unchanged })
			all := make([]*netns.Namespace, 50)
			for i := range all {
				all[i] = one()
				all[i].Inode += uint64(i)
			}
			b.ReportAllocs()
			points, scrapes := 0, 0
			for b.Loop() {
				scrapes++
				for _, n := range all {
					n.Sample.Have = netns.PartDevices
					if (uint64(scrapes)+n.Inode)%10 == 0 {
						n.Sample.Have = 0xff
					}
					e.namespace(n, epoch)
				}
				points += e.mb.Emit().DataPointCount()
			}
			b.ReportMetric(float64(points)/float64(scrapes), "points/op")
		})
	}
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
