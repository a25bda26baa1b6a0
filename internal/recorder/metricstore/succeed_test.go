package metricstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// known begins metrics of a container of which so much is known.
func known(at time.Time, attributes ...string) *bed {
	b := container("a", at)
	m := b.md.ResourceMetrics().At(0).Resource().Attributes()
	m.Clear()
	putAll(m, attributes)
	return b
}

const (
	perContainer = `count by (container_id) (load_bytes)`
	samplesOfAll = `sum(count_over_time(load_bytes[1m]))`
)

// eachSecond does something in each of the first n seconds.
func eachSecond(c *clock, n int, do func(second int)) {
	for i := 1; i <= n; i++ {
		c.set(began().Add(time.Duration(i) * time.Second))
		do(i)
	}
}

// TestLateName records a container whose name is known from the sixth second on:
// at each time it is one, for numbers as well as for histograms.
func TestLateName(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	eachSecond(c, 10, func(second int) {
		b := known(c.Now(), "container.id", "x")
		if second > 5 {
			b = known(c.Now(), "container.id", "x", "container.name", "late")
		}
		exponential(b.gauge("load", float64(second), "cpu", "0").gauge("load", float64(second), "cpu", "1"), "latency", second)
		write(t, s, b)
	})
	for i := 1; i <= 10; i++ {
		at := began().Add(time.Duration(i) * time.Second)
		if got := askOne(t, s, perContainer, at); got != 2 {
			t.Errorf("%v series in second %d, want 2", got, i)
		}
		if got := askOne(t, s, `count(latency_seconds)`, at); got != 1 {
			t.Errorf("%v histograms in second %d, want 1", got, i)
		}
	}
	if got := askOne(t, s, samplesOfAll, c.Now()); got != 20 {
		t.Errorf("%v samples, want 20", got)
	}
}

// TestLateNameMakesRoom changes the name of a container that has all the series it
// may have.
func TestLateNameMakesRoom(t *testing.T) {
	c := newClock()
	o := options(t, c)
	o.SeriesPerContainer = 2
	s, _ := open(t, o)
	eachSecond(c, 4, func(second int) {
		name := "before"
		if second > 2 {
			name = "after"
		}
		write(t, s, known(c.Now(), "container.id", "x", "container.name", name).gauge("load", 1, "cpu", "0").gauge("load", 1, "cpu", "1"))
	})
	if got := ask(t, s, `load_bytes{container_name="after"}`, c.Now()); len(got) != 2 {
		t.Errorf("%v, want the two series under the new name", got)
	}
}

// TestHeldBack gets a sample without the name after the first with it. It is taken
// for its time, and neither series is shown again or ended for it.
func TestHeldBack(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	before := func(at time.Time) *bed { return known(at, "container.id", "x").gauge("load", 1) }
	after := func(at time.Time) *bed {
		return known(at, "container.id", "x", "container.name", "n").gauge("load", 2)
	}
	eachSecond(c, 3, func(int) { write(t, s, before(c.Now())) })
	c.set(began().Add(5 * time.Second))
	write(t, s, after(c.Now()))
	write(t, s, before(began().Add(4*time.Second)))
	for _, at := range []time.Duration{5, 6, 20} {
		if got := ask(t, s, "load_bytes", began().Add(at*time.Second)); len(got) != 1 {
			t.Errorf("after %d s: %v", at, got)
		}
	}
	if got := askOne(t, s, "load_bytes", began().Add(4*time.Second)); got != 1 {
		t.Errorf("at the time of the late sample: %v", got)
	}
	c.set(began().Add(6 * time.Second))
	write(t, s, after(c.Now()))
	if got := askOne(t, s, samplesOfAll, c.Now()); got != 6 {
		t.Errorf("%v samples, want 6", got)
	}
}

// TestOlderIdentity gets the first sample of an identity when there is a newer one
// of another already, which goes on.
func TestOlderIdentity(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	eachSecond(c, 6, func(int) {
		write(t, s, known(c.Now(), "container.id", "x", "container.name", "n").gauge("load", 2))
	})
	write(t, s, known(c.Now().Add(-1500*time.Millisecond), "container.id", "x").gauge("load", 1))
	if got := askOne(t, s, `load_bytes{container_name="n"}`, c.Now().Add(500*time.Millisecond)); got != 2 {
		t.Errorf("the newer identity has the value %v, want 2", got)
	}
}

// TestNotSucceeded has identities beside each other that are not one container:
// none of them ends another.
func TestNotSucceeded(t *testing.T) {
	for _, test := range []struct {
		name   string
		first  []string
		second []string
	}{
		{"two services of one container", []string{"container.id", "x", "service.name", "a"}, []string{"container.id", "x", "service.name", "b"}},
		{"two instances outside of containers", []string{"service.name", "a", "service.instance.id", "1"}, []string{"service.name", "a", "service.instance.id", "2"}},
		{"the host and a project of it", []string{}, []string{"docker.compose.project", "shop"}},
		{"two containers", []string{"container.id", "x"}, []string{"container.id", "y", "container.name", "n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClock()
			s, _ := open(t, options(t, c))
			eachSecond(c, 10, func(second int) {
				if second <= 8 {
					write(t, s, known(c.Now(), test.first...).gauge("load", 1))
				}
				if second > 3 {
					write(t, s, known(c.Now(), test.second...).gauge("load", 2))
				}
			})
			for _, at := range []time.Duration{4500 * time.Millisecond, 10 * time.Second} {
				if got := askOne(t, s, `count(load_bytes)`, began().Add(at)); got != 2 {
					t.Errorf("%v series after %v, want 2", got, at)
				}
			}
		})
	}
}

// TestSideBySide writes under two identities of one container at the same time,
// which are two applications then: after one end each, both stay.
func TestSideBySide(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	eachSecond(c, 10, func(int) {
		write(t, s, known(c.Now(), "container.id", "x").gauge("load", 1))
		write(t, s, known(c.Now(), "container.id", "x", "service.name", "app").gauge("load", 2))
	})
	if got := askOne(t, s, `count(load_bytes)`, c.Now()); got != 2 {
		t.Errorf("%v series, want 2", got)
	}
	if got := askOne(t, s, `count(load_bytes)`, began().Add(7500*time.Millisecond)); got != 2 {
		t.Errorf("%v series between two samples, want 2", got)
	}
}

// TestRenamedBack goes back to a name after longer than the lookback.
func TestRenamedBack(t *testing.T) {
	c := newClock()
	s, _ := open(t, options(t, c))
	eachSecond(c, 100, func(second int) {
		name := "a"
		if second > 20 && second <= 70 {
			name = "b"
		}
		write(t, s, known(c.Now(), "container.id", "x", "container.name", name).gauge("load", 1))
		if got := askOne(t, s, `count(load_bytes)`, c.Now()); got != 1 {
			t.Fatalf("%v series in second %d", got, second)
		}
	})
	s.End(context.Background(), "x", c.Now())
	if got := ask(t, s, "load_bytes", c.Now().Add(time.Second)); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
}

// TestHostsBound gives the host itself five times the series of a container, and
// services outside of containers no more than a container.
func TestHostsBound(t *testing.T) {
	c := newClock()
	o := options(t, c)
	o.SeriesPerContainer = 4
	s, _ := open(t, o)
	for _, test := range []struct {
		attributes []string
		want       int
	}{
		{[]string{"host.name", "h"}, 20},
		{[]string{"service.name", "app"}, 4},
		{[]string{"container.id", "x"}, 4},
	} {
		b := known(c.Now(), test.attributes...)
		for n := range 30 {
			b.gauge("load", 1, "peer", string(rune('A'+n)))
		}
		w := s.Write(context.Background(), b.md)
		require.Equal(t, metricstore.Written{Samples: test.want, Dropped: map[string]int{metricstore.ReasonSeriesLimit: 30 - test.want}}, w, "%v", test.attributes)
	}
}
