package runner_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// logged is a rig that keeps what is logged.
func logged(t *testing.T, f factories) (*rig, *observer.ObservedLogs) {
	t.Helper()
	core, lines := observer.New(zap.DebugLevel)
	return newRig(t, f, func(o *runner.Options) {
		o.Settings.Logger = zap.New(core)
		o.Pace.Linger = time.Hour
	}), lines
}

// What a receiver logs says whose it is, is thinned, and ends with the wish for it:
// that a container cannot be reached any more is no news then. It begins again when
// the container is back.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{}
		g, lines := logged(t, factories{"fake": shop.factory()})
		g.Set([]spec.Spec{wish()})
		synctest.Wait()
		log := shop.made()[0].set.Logger
		for range 10 {
			log.Warn("nobody there")
			log.Info("all is well")
			log.Debug("really")
		}
		if n := lines.Len(); n != 3 {
			t.Errorf("%d lines of ten that are the same", n)
		}
		want := map[string]any{"discovery.rule": "web", "discovery.receiver": "fake", "container.id": containerA}
		if got := lines.All()[0].ContextMap(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("fields %v", got)
		}
		says := func(text string, want int) {
			t.Helper()
			lines.TakeAll()
			log.With(zap.Int("n", 1)).Error(text)
			if n := lines.Len(); n != want {
				t.Errorf("%q: %d lines, want %d", text, n, want)
			}
		}
		g.Set(nil)
		synctest.Wait()
		says("still nobody", 0)
		g.Set([]spec.Spec{wish()})
		synctest.Wait()
		says("nobody again", 1)
		says("nobody there", 0)
		pass(10 * time.Minute)
		says("nobody there", 1)
	})
}

// One rule's trouble is told three times, and not for each container; messages that
// never come twice are bounded as well.
func TestLogOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{}
		g, lines := logged(t, factories{"fake": shop.factory()})
		var wanted []spec.Spec
		for n := range 100 {
			wanted = append(wanted, wish(container(fmt.Sprint("c", n))))
		}
		other := wish(func(s *spec.Spec) { s.Rule = "other" })
		g.Set(append(wanted, other))
		synctest.Wait()
		for _, f := range shop.made() {
			f.set.Logger.Warn("nobody there")
		}
		if n := lines.Len(); n != 4 { // three, and one of the other rule
			t.Errorf("%d lines of a hundred containers", n)
		}
		lines.TakeAll()
		for n := range 1000 {
			shop.made()[0].set.Logger.Warn(fmt.Sprint("nobody there: ", n))
		}
		if n := lines.Len(); n < 60 || n > 70 {
			t.Errorf("%d lines of a thousand", n)
		}
		pass(10 * time.Minute)
		lines.TakeAll()
		shop.made()[0].set.Logger.Warn("something else")
		if n := lines.Len(); n != 1 {
			t.Errorf("%d lines when there is room again", n)
		}
	})
}

// A log costs next to nothing, for each receiver and each try.
func TestLogIsSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{}
		g := newRig(t, factories{"fake": shop.factory()}, nil)
		var wanted []spec.Spec
		for n := range 100 {
			wanted = append(wanted, wish(container(fmt.Sprint("c", n))))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		g.Set(wanted)
		synctest.Wait()
		runtime.ReadMemStats(&after)
		// 15 kB when this was written; a sampler of zap is 458 kB.
		if each := (after.TotalAlloc - before.TotalAlloc) / 100; each > 100<<10 {
			t.Errorf("%d bytes for each receiver", each)
		}
	})
}

// The end of a receiver that has been replaced is waited for by nobody. What goes wrong
// with it is in the log.
func TestLogOfReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{onStop: func(*fake) error { return errors.New("the port is still held") }}
		g, lines := logged(t, factories{"fake": shop.factory()})
		g.Set([]spec.Spec{wish()})
		synctest.Wait()
		g.Set([]spec.Spec{wish(at("10.0.0.3:80"))})
		synctest.Wait()
		all := lines.All()
		if len(all) != 1 || !strings.Contains(fmt.Sprint(all[0].ContextMap()["error"]), "the port is still held") {
			t.Errorf("%v", all)
		}
	})
}

// A panic is the receiver's failure, and its stack is told once.
func TestPanic(t *testing.T) {
	f := func(name string, change func(w *workshop), verb, words string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shop := &workshop{}
				change(shop)
				g, lines := logged(t, factories{"fake": shop.factory()})
				g.Set([]spec.Spec{wish()})
				pass(10 * time.Second) // with some tries
				if err := g.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				told := append(g.told(runner.Failed), g.told(runner.Stopped)...)
				if len(told) != 1 || !strings.Contains(told[0].Err.Error(), "oh dear") {
					t.Errorf("told %v", told)
				}
				all := lines.FilterMessage("a receiver has panicked").All()
				if len(all) != 1 {
					t.Fatalf("%d lines: %v", len(all), lines.All())
				}
				fields := all[0].ContextMap()
				if fields["while"] != verb || fields["container.id"] != containerA || !strings.Contains(fmt.Sprint(fields["stack"]), words) {
					t.Errorf("%v", fields)
				}
			})
		})
	}
	f("start", func(w *workshop) {
		w.onStart = func(context.Context, *fake, component.Host) error { panic("oh dear") }
	}, "start", "(*fake).Start")
	f("stop", func(w *workshop) { w.onStop = func(*fake) error { panic("oh dear") } }, "stop", "(*fake).Shutdown")
}
