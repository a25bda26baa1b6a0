package runner_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/component"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// Receivers keep what they have read under their id: no two have the same.
func TestIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{}
		shops := factories{"fake": shop.factory()}
		for _, owner := range []component.ID{component.MustNewID("discovery"), component.MustNewIDWithName("discovery", "shop")} {
			g := newRig(t, shops, func(o *runner.Options) { o.Settings.ID = owner })
			g.Set([]spec.Spec{
				wish(), wish(),
				wish(func(s *spec.Spec) { s.Rule = "shop/web" }),
				wish(func(s *spec.Spec) { s.Receiver = "fake/two" }),
				wish(func(s *spec.Spec) { s.Port = 80 }),
			})
			synctest.Wait()
		}
		var ids []string
		for _, f := range shop.made() {
			ids = append(ids, f.set.ID.String())
		}
		slices.Sort(ids)
		want := []string{
			"fake/discovery%2Fshop/shop%2Fweb/aaaaaaaaaaaa", "fake/discovery%2Fshop/web/aaaaaaaaaaaa",
			"fake/discovery%2Fshop/web/aaaaaaaaaaaa/0/1", "fake/discovery%2Fshop/web/aaaaaaaaaaaa/80",
			"fake/discovery/shop%2Fweb/aaaaaaaaaaaa", "fake/discovery/web/aaaaaaaaaaaa",
			"fake/discovery/web/aaaaaaaaaaaa/0/1", "fake/discovery/web/aaaaaaaaaaaa/80",
			"fake/two/discovery%2Fshop/web/aaaaaaaaaaaa", "fake/two/discovery/web/aaaaaaaaaaaa",
		}
		if d := cmp.Diff(want, ids); d != "" {
			t.Error(d)
		}
	})
}

// Two that keep what they have read in one file cannot open it at once: the old one
// goes first, and nothing fails.
func TestReplaceStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{}
		g := newRig(t, factories{"fake": shop.factory()}, nil)
		stored := func(s *spec.Spec) { s.Config["storage"] = "file_storage" }
		g.Set([]spec.Spec{wish(stored)})
		synctest.Wait()
		g.Set([]spec.Spec{wish(stored, at("10.0.0.3:80"))})
		synctest.Wait()
		if d := cmp.Diff([]string{"start 10.0.0.2:80", "stop 10.0.0.2:80", "start 10.0.0.3:80"}, shop.noted()); d != "" {
			t.Error(d)
		}
		if n := len(g.told(runner.Failed)); n != 0 || g.Stats().Running != 1 {
			t.Errorf("%d failed, %+v", n, g.Stats())
		}
	})
}

// A start that heeds the end of its context has failed, and hangs not: it is told in its
// own words.
func TestHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := &workshop{}
		shop.onStart = func(ctx context.Context, _ *fake, _ component.Host) error {
			<-ctx.Done()
			return ctx.Err()
		}
		g := newRig(t, factories{"fake": shop.factory()}, nil)
		g.Set([]spec.Spec{wish()})
		pass(bound)
		if failed, overdue := g.told(runner.Failed), g.told(runner.Overdue); len(failed) != 1 || len(overdue) != 0 {
			t.Errorf("told %v, %v", failed, overdue)
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
