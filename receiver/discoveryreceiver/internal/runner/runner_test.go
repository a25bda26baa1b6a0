package runner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

const soon = 30 * time.Second

// A wanted receiver runs, with both signals; one that is not wanted any more
// does not. What it produces has the container's attributes, and what comes late
// goes nowhere.
func TestLife(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	shop := &workshop{}
	g := newRig(t, factories{"fake": shop.factory("logs")}, nil)
	g.Set([]spec.Spec{wish()})
	testkit.Eventually(t, soon, g.expect(runner.Started, 1))
	made := shop.made()
	if len(made) != 2 || made[0].metrics == nil || made[1].logs == nil {
		t.Fatalf("made %+v", made)
	}
	if got := made[0].set.ID.String(); got != "fake/discovery/web/aaaaaaaaaaaa" {
		t.Errorf("id %s", got)
	}
	send := func() {
		t.Helper()
		err := errors.Join(
			made[0].metrics.ConsumeMetrics(t.Context(), oneMetric("container.name", "own", "container.id", "somebody else")),
			made[1].logs.ConsumeLogs(t.Context(), oneLog()))
		if err != nil {
			t.Fatal(err)
		}
	}
	send()
	checkResources(t, g)
	status := g.Status()
	if len(status) != 1 || status[0].State != runner.Running || status[0].Err != nil {
		t.Errorf("status %+v", status)
	}
	g.Set(nil)
	testkit.Eventually(t, soon, g.expect(runner.Stopped, 1))
	send()
	if n := len(g.metrics.AllMetrics()) + len(g.logs.AllLogs()); n != 2 {
		t.Errorf("%d batches came out, two of them before the end", n)
	}
	testkit.Eventually(t, soon, func() error { // the place is given up after it was told
		if stats, want := g.Stats(), (runner.Stats{Started: 1, Stopped: 1, Dropped: 2}); stats != want {
			return fmt.Errorf("%+v", stats)
		}
		return nil
	})
	if d := cmp.Diff([]string{"start 10.0.0.2:80", "start 10.0.0.2:80", "stop 10.0.0.2:80", "stop 10.0.0.2:80"}, shop.noted()); d != "" {
		t.Error(d)
	}
}

// checkResources: what the receiver says of itself stays, but not who it is.
func checkResources(t *testing.T, g *rig) {
	t.Helper()
	want := map[string]any{"container.id": containerA, "container.name": "own"}
	if d := cmp.Diff(want, g.metrics.AllMetrics()[0].ResourceMetrics().At(0).Resource().Attributes().AsRaw()); d != "" {
		t.Error(d)
	}
	want["container.name"] = "web-1"
	if d := cmp.Diff(want, g.logs.AllLogs()[0].ResourceLogs().At(0).Resource().Attributes().AsRaw()); d != "" {
		t.Error(d)
	}
}

// The new one runs before the old one ends; from then on the old one's metrics,
// which are about an address that is no more, do not count. Its logs do.
func TestReplace(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	shop := &workshop{}
	shop.onStop = func(f *fake) error {
		if f.metrics != nil {
			return f.metrics.ConsumeMetrics(context.Background(), oneMetric())
		}
		return f.logs.ConsumeLogs(context.Background(), oneLog())
	}
	g := newRig(t, factories{"fake": shop.factory("logs")}, nil)
	g.Set([]spec.Spec{wish()})
	testkit.Eventually(t, soon, g.expect(runner.Started, 1))
	why := wish()
	why.Why = "for another reason"
	g.Set([]spec.Spec{why}) // is no change
	g.Set([]spec.Spec{wish(at("10.0.0.3:80"))})
	testkit.Eventually(t, soon, g.expect(runner.Replaced, 1))
	want := []string{
		"start 10.0.0.2:80", "start 10.0.0.2:80", "start 10.0.0.3:80", "start 10.0.0.3:80",
		"stop 10.0.0.2:80", "stop 10.0.0.2:80",
	}
	testkit.Eventually(t, soon, func() error { // nobody waits for the old one's end
		if d := cmp.Diff(want, shop.noted()); d != "" || g.Stats().Dropped != 1 {
			return fmt.Errorf("%+v: %s", g.Stats(), d)
		}
		return nil
	})
	if got := g.metrics.DataPointCount() + len(g.metrics.AllMetrics()); got != 0 {
		t.Errorf("%d metrics of the old one", got)
	}
	if got := g.logs.LogRecordCount(); got != 1 {
		t.Errorf("%d records of the old one's last words, want 1", got)
	}
	if len(g.told(runner.Stopped)) != 0 {
		t.Error("a replacement was told as an end")
	}
}

// Two that cannot run at once: the old one goes first.
func TestReplaceExclusive(t *testing.T) {
	shop := &workshop{}
	var holds atomic.Bool
	shop.onStart = func(context.Context, *fake, component.Host) error {
		if !holds.CompareAndSwap(false, true) {
			return errors.New("address already in use")
		}
		return nil
	}
	g := newRig(t, factories{"fake": shop.factory()}, nil)
	var refused atomic.Int32
	shop.onStop = func(f *fake) error {
		// The one that was refused is shut down too, and holds nothing.
		if f.cfg.Endpoint == "10.0.0.3:80" && refused.Add(1) == 1 {
			return nil
		}
		holds.Store(false)
		return nil
	}
	g.Set([]spec.Spec{wish()})
	testkit.Eventually(t, soon, g.expect(runner.Started, 1))
	g.Set([]spec.Spec{wish(at("10.0.0.3:80"))})
	testkit.Eventually(t, soon, g.expect(runner.Started, 2))
	if len(g.told(runner.Failed)) != 0 {
		t.Errorf("told %v", g.told(runner.Failed))
	}
	want := []string{"start 10.0.0.2:80", "start 10.0.0.3:80", "stop 10.0.0.3:80", "stop 10.0.0.2:80", "start 10.0.0.3:80"}
	if d := cmp.Diff(want, shop.noted()); d != "" {
		t.Error(d)
	}
}

// A start that fails is told once and tried again, ever later, until it works;
// the others go on.
func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{}
		var works atomic.Bool
		shop.onStart = func(_ context.Context, f *fake, _ component.Host) error {
			if f.cfg.Endpoint != "good:1" && !works.Load() {
				return errors.New("nobody there")
			}
			return nil
		}
		g := newRig(t, factories{"fake": shop.factory()}, nil)
		bad, good := wish(at("bad:1")), wish(at("good:1"), container("b"))
		g.Set([]spec.Spec{bad, good})
		pass(10 * time.Minute) // of the bubble's clock
		failed := g.told(runner.Failed)
		if len(failed) != 1 || failed[0].Spec.Rule != "web" || !strings.Contains(failed[0].Err.Error(), "nobody there") {
			t.Errorf("told %v", failed)
		}
		// 1, 2, 4 ... 32 s, then once a minute.
		if n := shop.count("start bad:1"); n < 12 || n > 18 {
			t.Errorf("%d tries in 10 minutes", n)
		}
		if stats := g.Stats(); stats.Running != 1 || stats.Places != 2 {
			t.Errorf("%+v", stats)
		}
		g.Set([]spec.Spec{bad, good}) // again the same: no news
		works.Store(true)
		pass(2 * time.Minute)
		if stats := g.Stats(); stats.Running != 2 || len(g.told(runner.Failed)) != 1 {
			t.Errorf("%+v, told %v", stats, g.told(runner.Failed))
		}
	})
}

// What was changed is tried at once, and its failure is news.
func TestChangeIsTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{}
		shop.onStart = func(context.Context, *fake, component.Host) error { return errors.New("nobody there") }
		g := newRig(t, factories{"fake": shop.factory()}, nil)
		g.Set([]spec.Spec{wish()})
		pass(8 * time.Second) // tries after 0, 1, 3 and 7 s, the next one after 15
		g.Set([]spec.Spec{wish(at("10.0.0.3:80"))})
		synctest.Wait()
		failed := g.told(runner.Failed)
		if len(failed) != 2 || failed[1].Spec.Config["endpoint"] != "10.0.0.3:80" {
			t.Errorf("told %v", failed)
		}
	})
}

// A container that comes and goes does not start its receiver each time.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{}
		g := newRig(t, factories{"fake": shop.factory()}, func(o *runner.Options) { o.Pace = runner.Pace{} })
		for range 100 {
			g.Set([]spec.Spec{wish()})
			pass(3 * time.Second)
			g.Set(nil)
			pass(3 * time.Second)
		}
		synctest.Wait()
		// Five are free; then the waits grow to a minute, so that few of the
		// container's 3 s fall on the end of one.
		if n := shop.count("start"); n < 5 || n > 30 {
			t.Errorf("%d starts", n)
		}
		if starts, stops := shop.count("start"), shop.count("stop"); starts != stops {
			t.Errorf("%d starts, %d stops", starts, stops)
		}
		if stats := g.Stats(); stats.Places != 0 {
			t.Errorf("%+v", stats)
		}
		// A container that is restarted keeps its receiver.
		pass(10 * time.Minute)
		before := shop.count("start")
		g.Set([]spec.Spec{wish()})
		synctest.Wait()
		g.Set(nil)
		pass(500 * time.Millisecond)
		g.Set([]spec.Spec{wish()})
		pass(time.Hour)
		if n := shop.count("start") - before; n != 1 {
			t.Errorf("%d starts for one container", n)
		}
	})
}

// What can never work is told once, in words that help, and nothing is made.
func TestRefused(t *testing.T) {
	f := func(name string, change func(*spec.Spec), want error, words ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shop := &workshop{}
				shops := factories{"fake": shop.factory(), "logsonly": shop.factory("no metrics", "logs")}
				g := newRig(t, shops, func(o *runner.Options) {
					o.Allow = func(typ component.Type) bool { return typ.String() == "other" }
					o.Logs = nil
				})
				g.Set([]spec.Spec{wish(change)})
				pass(time.Hour)
				failed := g.told(runner.Failed)
				if len(failed) != 1 || !errors.Is(failed[0].Err, want) {
					t.Fatalf("told %v", failed)
				}
				for _, word := range words {
					if !strings.Contains(failed[0].Err.Error(), word) {
						t.Errorf("%v does not say %q", failed[0].Err, word)
					}
				}
				if n := shop.count("start"); n != 0 {
					t.Errorf("%d started", n)
				}
				if status := g.Status(); len(status) != 1 || status[0].State != runner.Rejected {
					t.Errorf("%+v", status)
				}
			})
		})
	}
	f("unknown", func(s *spec.Spec) { s.Receiver = "mysql/x" }, runner.ErrUnknown, `"mysql"`)
	f("no name", func(s *spec.Spec) { s.Receiver = "no-name!" }, runner.ErrUnknown, "no-name!")
	f("not allowed", func(s *spec.Spec) { s.Trusted = false }, runner.ErrNotAllowed, `"fake"`)
	f("unknown key", func(s *spec.Spec) { s.Config["endpiont"] = "x" }, runner.ErrConfig, "endpiont")
	f("wrong type", func(s *spec.Spec) { s.Config["interval"] = "often" }, runner.ErrConfig, "interval")
	f("invalid", func(s *spec.Spec) { s.Config["interval"] = -1 }, runner.ErrConfig, "interval is negative")
	f("no pipeline", func(s *spec.Spec) { s.Signals = spec.Logs }, runner.ErrSignals, "logs")
	f("nothing in common", func(s *spec.Spec) { s.Receiver = "logsonly" }, runner.ErrSignals)
	f("signal it has not", func(s *spec.Spec) { s.Receiver, s.Signals = "logsonly", spec.Metrics }, runner.ErrSignals, "metrics")
}

// The endpoint goes where nothing else is said, and the receiver has a setting
// for it.
func TestEndpoint(t *testing.T) {
	shop := &workshop{}
	g := newRig(t, factories{"fake": shop.factory()}, nil)
	plain := wish(func(s *spec.Spec) { s.Config, s.Endpoint = nil, "10.0.0.9:80" })
	own := wish(container("b"), func(s *spec.Spec) { s.Endpoint = "10.0.0.9:80" })
	g.Set([]spec.Spec{plain, own})
	testkit.Eventually(t, soon, g.expect(runner.Started, 2))
	notes := shop.noted()
	slices.Sort(notes)
	if d := cmp.Diff([]string{"start 10.0.0.2:80", "start 10.0.0.9:80"}, notes); d != "" {
		t.Error(d)
	}
	if plain.Config != nil || len(own.Config) != 1 {
		t.Error("a spec was changed")
	}
}

// A receiver that gives up is stopped and tried again; the Collector is not told.
func TestFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{}
		var host component.Host
		shop.onStart = func(_ context.Context, _ *fake, h component.Host) error {
			host = h
			return nil
		}
		g := newRig(t, factories{"fake": shop.factory()}, nil)
		g.Set([]spec.Spec{wish()})
		synctest.Wait()
		componentstatus.ReportStatus(host, componentstatus.NewRecoverableErrorEvent(errors.New("a moment please")))
		synctest.Wait()
		if n := len(g.told(runner.Stopped)); n != 0 {
			t.Error("stopped for what is recoverable")
		}
		componentstatus.ReportStatus(host, componentstatus.NewFatalErrorEvent(errors.New("out of breath")))
		pass(5 * time.Second)
		failed := g.told(runner.Failed)
		if len(failed) != 1 || !strings.Contains(failed[0].Err.Error(), "out of breath") {
			t.Errorf("told %v", failed)
		}
		if d := cmp.Diff([]string{"start 10.0.0.2:80", "stop 10.0.0.2:80", "start 10.0.0.2:80"}, shop.noted()); d != "" {
			t.Error(d)
		}
	})
}

// Beyond the limit nothing starts until there is room.
func TestLimit(t *testing.T) {
	shop := &workshop{}
	g := newRig(t, factories{"fake": shop.factory()}, func(o *runner.Options) { o.Limit = 2 })
	three := []spec.Spec{wish(container("a")), wish(container("b")), wish(container("c"))}
	g.Set(three)
	testkit.Eventually(t, soon, g.expect(runner.Started, 2))
	g.Set(three)
	failed := g.told(runner.Failed)
	if len(failed) != 1 || !errors.Is(failed[0].Err, runner.ErrLimit) || len(g.Status()) != 3 {
		t.Fatalf("told %v, status %+v", failed, g.Status())
	}
	left := slices.DeleteFunc(slices.Clone(three), func(s spec.Spec) bool {
		return s.Target != failed[0].Spec.Target && s.Target != g.told(runner.Started)[0].Spec.Target
	})
	g.Set(left)
	testkit.Eventually(t, soon, g.expect(runner.Started, 3))
}

// Shutdown ends a start that heeds its context at once, without a word of failure.
func TestShutdownWhileStarting(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	shop := &workshop{}
	begun := make(chan struct{})
	shop.onStart = func(ctx context.Context, _ *fake, _ component.Host) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}
	g := newRig(t, factories{"fake": shop.factory()}, nil)
	g.Set([]spec.Spec{wish()})
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if n := shop.count("stop"); n != 1 || len(g.told(runner.Failed)) != 0 || len(g.Status()) != 0 {
		t.Errorf("%d stops, told %v, status %v", n, g.told(runner.Failed), g.Status())
	}
	g.Set([]spec.Spec{wish()})
	if len(g.Status()) != 0 {
		t.Error("something is wanted after the end")
	}
}

// Fifty containers come and go, in a loop and all at once.
func TestFifty(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	shop := &workshop{}
	g := newRig(t, factories{"fake": shop.factory("logs")}, nil)
	var all []spec.Spec
	for n := range 50 {
		one := wish(container(fmt.Sprintf("container-%02d", n)))
		all = append(all, one)
		g.Set([]spec.Spec{one})
		testkit.Eventually(t, soon, g.expect(runner.Started, n+1))
	}
	g.Set(nil)
	testkit.Eventually(t, soon, g.expect(runner.Stopped, 50))
	g.Set(all)
	testkit.Eventually(t, soon, g.expect(runner.Started, 100))
	g.Set(nil)
	testkit.Eventually(t, soon, g.expect(runner.Stopped, 100))
	testkit.Eventually(t, soon, g.empty)
}

// Without factories, host or logger there is nothing to run, nor without a limit.
func TestNew(t *testing.T) {
	noLimit := runner.Options{
		Factories: factories{}, Host: componenttest.NewNopHost(),
		Settings: receivertest.NewNopSettings(component.MustNewType("discovery")),
	}
	for _, o := range []runner.Options{{}, {Factories: factories{}, Limit: 1}, noLimit} {
		if _, err := runner.New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// pass lets time pass in a bubble of synctest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
