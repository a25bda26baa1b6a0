package runner_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/component"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// bound is as long as Shutdown may take: 10 s for a receiver, a tenth, and a second.
const bound = 12 * time.Second

// hangs is a workshop where some receivers hang for as long as the test goes on.
type hangs struct {
	workshop
	release chan struct{}
}

// newHangs makes those receivers hang at their start or their stop whose endpoint
// begins like that.
func newHangs(t *testing.T) *hangs {
	t.Helper()
	h := &hangs{release: make(chan struct{})}
	wait := func(f *fake, prefix string) {
		if strings.HasPrefix(f.cfg.Endpoint, prefix) {
			<-h.release
		}
	}
	h.onStart = func(_ context.Context, f *fake, _ component.Host) error {
		wait(f, "start-")
		if strings.HasPrefix(f.cfg.Endpoint, "stop-late") {
			<-time.After(9 * time.Second)
			return errors.New("nobody there")
		}
		return nil
	}
	h.onStop = func(f *fake) error {
		wait(f, "stop-")
		return nil
	}
	return h
}

// end lets all go on that hang, and must leave nothing.
func (h *hangs) end(t *testing.T, g *rig) {
	t.Helper()
	close(h.release)
	synctest.Wait()
	if starts, stops := h.count("start "), h.count("stop "); starts != stops {
		t.Errorf("%d starts, %d stops: %v", starts, stops, h.noted())
	}
	if held := g.Stats().Held; held != 0 {
		t.Errorf("%d are held", held)
	}
}

// heard tells whether something gets through of what a receiver sends.
func heard(t *testing.T, g *rig, f *fake) (metrics, logs bool) {
	t.Helper()
	m, l := len(g.metrics.AllMetrics()), len(g.logs.AllLogs())
	var err error
	if f.metrics != nil {
		err = f.metrics.ConsumeMetrics(t.Context(), oneMetric())
	}
	if f.logs != nil {
		err = errors.Join(err, f.logs.ConsumeLogs(t.Context(), oneLog()))
	}
	if err != nil {
		t.Error(err)
	}
	return len(g.metrics.AllMetrics()) > m, len(g.logs.AllLogs()) > l
}

// silent: nothing of any receiver gets through.
func silent(t *testing.T, g *rig, shop *workshop) {
	t.Helper()
	for n, f := range shop.made() {
		if m, l := heard(t, g, f); m || l {
			t.Errorf("receiver %d (%s) is heard", n, f.cfg.Endpoint)
		}
	}
}

// Shutdown ends without its caller's help, names who hangs, and lets nothing of it
// through: be it about to start, to stop, or to be replaced.
func TestShutdownIsBounded(t *testing.T) {
	f := func(name string, wishes ...spec.Spec) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shop := newHangs(t)
				g := newRig(t, factories{"fake": shop.factory("logs")}, nil)
				fine := wish(container("fine"))
				for _, w := range wishes {
					g.Set([]spec.Spec{w, fine})
					synctest.Wait()
				}
				begin := time.Now()
				err := g.Shutdown(context.Background())
				if took := time.Since(begin); took > bound {
					t.Errorf("took %v", took)
				}
				if err == nil || !strings.Contains(err.Error(), containerA) || strings.Contains(err.Error(), "container fine") {
					t.Errorf("error %v", err)
				}
				silent(t, g, &shop.workshop)
				if status := g.Status(); len(status) != 0 {
					t.Errorf("left %+v", status)
				}
				shop.end(t, g)
				if err := g.Shutdown(context.Background()); err != nil {
					t.Errorf("once more: %v", err)
				}
			})
		})
	}
	f("starting", wish(at("start-1:80")))
	f("stopping", wish(at("stop-1:80")))
	f("replaced", wish(at("stop-1:80")), wish(at("10.0.0.3:80")))
	f("replacing", wish(), wish(at("start-1:80")))
	f("starting, then stopping", wish(at("stop-late:80")))
}

// A start that hangs is named by a Shutdown whose caller has less time, and holds only
// its own place.
func TestHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newHangs(t)
		g := newRig(t, factories{"fake": shop.factory()}, nil)
		g.Set([]spec.Spec{wish(at("start-1:80")), wish(container("b"))})
		synctest.Wait()
		if n := len(g.told(runner.Started)); n != 1 {
			t.Errorf("%d started", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), containerA) {
			t.Errorf("%v", err)
		}
		shop.end(t, g)
	})
}

// A replacement that hangs does not keep the old one: its metrics count no longer than
// those of a container that has gone, and it is stopped when the wait is over. Other
// tries follow, three in all.
func TestReplacementHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newHangs(t)
		g := newRig(t, factories{"fake": shop.factory()}, func(o *runner.Options) { o.Pace.Linger = time.Second })
		g.Set([]spec.Spec{wish()})
		synctest.Wait()
		old := shop.made()[0]
		g.Set([]spec.Spec{wish(at("start-1:80"))})
		pass(500 * time.Millisecond)
		if m, _ := heard(t, g, old); !m {
			t.Error("the old one is not heard while the new one starts")
		}
		if stats := g.Stats(); stats.Running != 1 {
			t.Errorf("%+v", stats)
		}
		pass(time.Second)
		if m, _ := heard(t, g, old); m {
			t.Error("the old one is heard after Linger")
		}
		pass(11 * time.Second)
		if n := shop.count("stop 10.0.0.2:80"); n != 1 || g.Stats().Running != 0 {
			t.Errorf("%d stops, %+v", n, g.Stats())
		}
		overdue := g.told(runner.Overdue)
		if len(overdue) != 1 || len(g.told(runner.Failed)) != 0 || overdue[0].Err.Error() != "start: has not returned after 10s" {
			t.Errorf("told %v, %v", overdue, g.told(runner.Failed))
		}
		pass(time.Hour)
		if n := shop.count("start start-1"); n != 3 || g.Stats().Held != 3 {
			t.Errorf("%d tries, %+v", n, g.Stats())
		}
		silent(t, g, &shop.workshop)
		g.Set(nil)
		synctest.Wait()
		shop.end(t, g)
	})
}

// A start that hangs does not keep what is not wanted any more: both are given up
// after Linger, and who starts late is stopped.
func TestUnwantedWhileReplacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newHangs(t)
		g := newRig(t, factories{"fake": shop.factory("logs")}, func(o *runner.Options) { o.Pace.Linger = time.Second })
		g.Set([]spec.Spec{wish()})
		synctest.Wait()
		g.Set([]spec.Spec{wish(at("start-1:80"))})
		synctest.Wait()
		g.Set(nil)
		pass(1500 * time.Millisecond)
		silent(t, g, &shop.workshop)
		stopped := g.told(runner.Stopped)
		if len(stopped) != 1 || !stopped[0].Unwanted || len(g.Status()) != 0 {
			t.Errorf("told %+v, left %+v", stopped, g.Status())
		}
		if held := g.Stats().Held; held != 1 {
			t.Errorf("%d are held", held)
		}
		shop.end(t, g)
	})
}

// An end that hangs is told once and not waited for: what came after it can be stopped
// as well, and the container can come back.
func TestStopHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newHangs(t)
		g := newRig(t, factories{"fake": shop.factory()}, nil)
		g.Set([]spec.Spec{wish(at("stop-1:80"))})
		synctest.Wait()
		g.Set([]spec.Spec{wish(at("10.0.0.3:80"))})
		synctest.Wait()
		g.Set(nil)
		synctest.Wait()
		if n := shop.count("stop 10.0.0.3:80"); n != 1 || len(g.Status()) != 0 {
			t.Errorf("%d stops of the new one, left %+v", n, g.Status())
		}
		g.Set([]spec.Spec{wish(at("stop-2:80"))})
		synctest.Wait()
		g.Set(nil)
		synctest.Wait()
		if m, _ := heard(t, g, shop.made()[2]); m {
			t.Error("metrics come from who is being stopped")
		}
		pass(12 * time.Second)
		overdue, stopped := g.told(runner.Overdue), g.told(runner.Stopped)
		if len(overdue) != 2 || len(stopped) != 2 || stopped[1].Err == nil || g.Stats().Held != 2 {
			t.Errorf("told %v, %v, %+v", overdue, stopped, g.Stats())
		}
		silent(t, g, &shop.workshop)
		g.Set([]spec.Spec{wish()})
		synctest.Wait()
		if n := g.Stats().Running; n != 1 {
			t.Errorf("%d run", n)
		}
		g.Set(nil)
		synctest.Wait()
		shop.end(t, g)
	})
}

// Containers that come and go whose receivers hang do not pile up: they hold room until
// they return.
func TestHangingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newHangs(t)
		g := newRig(t, factories{"fake": shop.factory()}, func(o *runner.Options) { o.Limit = 5 })
		for n := range 50 {
			g.Set([]spec.Spec{wish(at("start-1:80"), container(fmt.Sprint("c", n)))})
			synctest.Wait()
			g.Set(nil)
			synctest.Wait()
		}
		if n := shop.count("start"); n != 5 || g.Stats().Held != 5 {
			t.Errorf("%d starts, %+v", n, g.Stats())
		}
		last := wish(container("last"))
		g.Set([]spec.Spec{last})
		synctest.Wait()
		if status := g.Status(); len(status) != 1 || !errors.Is(status[0].Err, runner.ErrLimit) {
			t.Errorf("%+v", status)
		}
		close(shop.release)
		synctest.Wait()
		if stats := g.Stats(); stats.Running != 1 || stats.Held != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// A replacement that has to wait does not leave the old one at an address that may be
// another's; one that only has other attributes does.
func TestReplacementWaits(t *testing.T) {
	f := func(name string, change func(n int) func(*spec.Spec), running int) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shop := &workshop{}
				g := newRig(t, factories{"fake": shop.factory("logs")}, nil)
				for n := range 6 { // five are free
					g.Set([]spec.Spec{wish(change(n))})
					synctest.Wait()
				}
				stats, status := g.Stats(), g.Status()
				if stats.Running != running || (status[0].State == runner.Running) != (running == 1) {
					t.Errorf("%+v, %+v", stats, status)
				}
				made := shop.made()
				if len(made) != 10 {
					t.Fatalf("made %d parts", len(made))
				}
				for _, f := range made[8:] {
					if m, l := heard(t, g, f); (m || l) != (running == 1) {
						t.Errorf("the fifth is heard: %v, %v", m, l)
					}
				}
				pass(time.Minute)
				if stats := g.Stats(); stats.Running != 1 || len(shop.made()) != 12 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
	f("address", func(n int) func(*spec.Spec) {
		return func(s *spec.Spec) { s.Config, s.Endpoint = nil, fmt.Sprintf("10.0.0.%d:80", n) }
	}, 0)
	f("configuration", func(n int) func(*spec.Spec) { return at(fmt.Sprintf("10.0.0.%d:80", n)) }, 0)
	f("attributes", func(n int) func(*spec.Spec) {
		return func(s *spec.Spec) { s.Resource["container.name"] = fmt.Sprint("web-", n) }
	}, 1)
}

// Why a receiver ends is decided when its end begins, and not when it is over.
func TestWhyItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newHangs(t)
		g := newRig(t, factories{"fake": shop.factory()}, func(o *runner.Options) { o.Pace.Linger = time.Second })
		g.Set([]spec.Spec{wish(at("stop-1:80"))})
		synctest.Wait()
		g.Set(nil)
		pass(2 * time.Second)
		g.Set([]spec.Spec{wish()}) // back, before the end is over
		close(shop.release)
		synctest.Wait()
		stopped := g.told(runner.Stopped)
		if len(stopped) != 1 || !stopped[0].Unwanted || len(g.told(runner.Started)) != 2 {
			t.Errorf("told %+v", stopped)
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if stopped := g.told(runner.Stopped); len(stopped) != 2 || stopped[1].Unwanted {
			t.Errorf("told %+v", stopped)
		}
	})
}
