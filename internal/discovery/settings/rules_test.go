package settings_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/settings"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// distribution is one with these receivers.
type distribution map[string]spec.Signals

func (d distribution) Find(typ string) (spec.Signals, bool) {
	signals, ok := d[typ]
	return signals, ok
}

func (d distribution) Names() []string { return slices.Sorted(maps.Keys(d)) }

// What the agent would not start with is told in its words.
func TestCheckRules(t *testing.T) {
	has := distribution{"nginx": spec.Metrics, "file_log": spec.Logs, "otlp": spec.All, "discovery": spec.All}
	f := func(c rules.Config, pipelines spec.Signals, want string) {
		t.Helper()
		got := fmt.Sprint(settings.CheckRules([]rules.Config{{Receiver: "otlp", Signals: []string{"metrics"}}, c}, has, pipelines))
		if got != "["+want+"]" {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f(rules.Config{Receiver: "nginx/x"}, spec.All, "")
	f(rules.Config{Receiver: "filelog"}, spec.All, `rules[1].receiver: rule "filelog": this distribution has no receiver "filelog" (it is called "file_log")`)
	f(rules.Config{Receiver: "redis"}, spec.All, `rules[1].receiver: rule "redis": this distribution has no receiver "redis" (it has file_log, nginx, otlp)`)
	f(rules.Config{Receiver: "NginxReceiver/a", Name: "web"}, spec.All, `rules[1].receiver: rule "web": this distribution has no receiver "NginxReceiver" (it is called "nginx")`)
	f(rules.Config{Receiver: "discovery/x"}, spec.All, `rules[1].receiver: rule "discovery/x": receiver "discovery" cannot start itself`)
	f(rules.Config{Receiver: "nginx", Signals: []string{"logs"}}, spec.All, `rules[1].signals: rule "nginx": receiver "nginx" has no logs`)
	f(rules.Config{Receiver: "file_log", Signals: []string{"logs"}}, spec.Metrics, `rules[1].signals: rule "file_log": this receiver is in no pipeline of logs`)
	f(rules.Config{Receiver: "file_log"}, spec.Metrics, `rules[1].receiver: rule "file_log": receiver "file_log" has logs, and this receiver is only in pipelines of metrics`)
	f(rules.Config{Receiver: "nginx", Signals: []string{"traces"}}, spec.All, `rules[1].signals: rule "nginx": signal "traces": is none of metrics, logs`)
}
