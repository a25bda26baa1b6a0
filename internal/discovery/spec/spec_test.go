package spec_test

import (
	"testing"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

func wanted() spec.Spec {
	return spec.Spec{
		Rule: "r", Receiver: "redis/x", Target: "c1", Port: 6379, Endpoint: "10.0.0.2:6379", Signals: spec.Metrics,
		Config: map[string]any{"a": []any{1, map[string]any{"b": "c"}}}, Resource: map[string]string{"k": "v"}, Why: "so",
	}
}

func TestKeyAndEqual(t *testing.T) {
	f := func(name string, change func(*spec.Spec), sameKey, equal bool) {
		t.Helper()
		one, two := wanted(), wanted()
		change(&two)
		if got := one.Key() == two.Key(); got != sameKey {
			t.Errorf("%s: same key %t", name, got)
		}
		if got := one.Equal(&two); got != equal {
			t.Errorf("%s: equal %t", name, got)
		}
	}
	f("nothing", func(*spec.Spec) {}, true, true)
	f("why", func(s *spec.Spec) { s.Why = "else" }, true, true)
	f("endpoint", func(s *spec.Spec) { s.Endpoint = "10.0.0.3:6379" }, true, false)
	f("config", func(s *spec.Spec) { s.Config = map[string]any{} }, true, false)
	f("resource", func(s *spec.Spec) { s.Resource = nil }, true, false)
	f("drop", func(s *spec.Spec) { s.Drop = map[string]string{"service.name": "web-1"} }, true, false)
	f("signals", func(s *spec.Spec) { s.Signals = spec.All }, true, false)
	f("trust", func(s *spec.Spec) { s.Trusted = true }, true, false)
	f("port", func(s *spec.Spec) { s.Port = 1 }, false, false)
	f("rule", func(s *spec.Spec) { s.Rule = "q" }, false, false)
	f("target", func(s *spec.Spec) { s.Target = "c2" }, false, false)
	f("receiver", func(s *spec.Spec) { s.Receiver = "redis" }, false, false)
}

// A separator within a part does not make two keys one.
func TestKeyIsUnambiguous(t *testing.T) {
	one := spec.Spec{Target: `a"|"b`, Rule: "c"}
	two := spec.Spec{Target: "a", Rule: `b"|"c`}
	if one.Key() == two.Key() {
		t.Error(one.Key())
	}
}

func TestParseSignals(t *testing.T) {
	f := func(want string, names ...string) {
		t.Helper()
		if got, err := spec.ParseSignals(names); err != nil || got.String() != want {
			t.Errorf("%q: %q %v", names, got, err)
		}
	}
	f("metrics,logs")
	f("metrics", "metrics")
	f("metrics,logs", "logs", " metrics")
	if got, err := spec.ParseSignals([]string{"metrics", "traces"}); err == nil {
		t.Errorf("traces are %v", got)
	}
}

func TestCheckReceiver(t *testing.T) {
	f := func(id string, ok bool) {
		t.Helper()
		if err := spec.CheckReceiver(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
	f("redis", true)
	f("Redis2_x/name with", false)
	f("prometheus/app-1", true)
	f("", false)
	f("/x", false)
	f("redis/", false)
	f("redis/a/b", false)
	f("2redis", false)
	f("@x", false)
	f("a[b", false)
	f("re dis", false)
}

func TestMerge(t *testing.T) {
	label, rule, other := wanted(), wanted(), wanted()
	label.Rule, other.Receiver = "label", "nginx"
	got := spec.Merge([]spec.Spec{label}, []spec.Spec{rule, other})
	if len(got) != 2 || got[0].Rule != "label" || got[1].Receiver != "nginx" {
		t.Errorf("%+v", got)
	}
}
