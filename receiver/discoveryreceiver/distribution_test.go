package discoveryreceiver

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

func targetNamed(name string) *target.Target { return &target.Target{ID: "c1", Name: name} }

// is compares for waiting.
func is(want, got string) error {
	if got != want {
		return errors.New("it is " + got + ", want " + want)
	}
	return nil
}

// logReader is a factory that has logs alone.
func logReader() receiver.Factory {
	return receiver.NewFactory(component.MustNewType("file_log"), func() component.Config { return &struct{}{} },
		receiver.WithLogs(func(context.Context, receiver.Settings, component.Config, consumer.Logs) (receiver.Logs, error) {
			return nil, errors.New("is not created here")
		}, component.StabilityLevelBeta))
}

func newTestDistribution(t *testing.T, pipelines spec.Signals) *distribution {
	t.Helper()
	host := newCollector()
	host.factories["file_log"] = logReader()
	d, err := newDistribution(host, pipelines)
	require.NoError(t, err)
	d.types = []string{"discovery", "file_log", "nginx", "prometheus"}
	return d
}

func TestCheckRules(t *testing.T) {
	f := func(pipelines spec.Signals, r rules.Config, want string) {
		t.Helper()
		err := newTestDistribution(t, pipelines).check([]rules.Config{{Receiver: "nginx", Signals: []string{pipelines.String()[:4]}}, r})
		if want == "" {
			require.NotContains(t, errorText(err), "rules[1]")
			return
		}
		require.ErrorContains(t, err, want)
	}
	named := func(receiver string, signals ...string) rules.Config {
		return rules.Config{Name: "x", Receiver: receiver, Signals: signals}
	}
	f(spec.All, named("nginx"), "")
	f(spec.All, named("nginx/second", "metrics"), "")
	f(spec.All, named("file_log", "logs"), "")
	f(spec.All, named("redis"), `rules[1].receiver: rule "x": this distribution has no receiver "redis" (it has file_log, nginx, prometheus)`)
	f(spec.All, named("filelog"), `rules[1].receiver: rule "x": this distribution has no receiver "filelog" (it is called "file_log")`)
	f(spec.All, named("nginxreceiver"), `(it is called "nginx")`)
	f(spec.All, rules.Config{Receiver: "redis/a"}, `rules[1].receiver: rule "redis/a": this`)
	f(spec.All, named("discovery"), `rules[1].receiver: rule "x": receiver "discovery" cannot start itself`)
	f(spec.All, named("nginx", "logs"), `rules[1].signals: rule "x": receiver "nginx" has no logs`)
	f(spec.Metrics, named("file_log", "logs"), `rules[1].signals: rule "x": this receiver is in no pipeline of logs`)
	f(spec.Metrics, named("file_log"), `rules[1].receiver: rule "x": receiver "file_log" has logs, and this receiver is only in pipelines of metrics`)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A host that does not tell what it has is no reason for a wrong list.
func TestUnknownReceiverWithoutAList(t *testing.T) {
	d := newTestDistribution(t, spec.All)
	d.types = nil
	require.ErrorContains(t, d.check([]rules.Config{{Receiver: "redis"}}), "(tallyman components lists those that it has)")
}

// What is left of a rule's wish when the container wants no metrics collected may be
// nothing, which is no failure. A label's wish that cannot be is one.
func TestPossible(t *testing.T) {
	d := newTestDistribution(t, spec.All)
	of := func(receiver string, signals spec.Signals, trusted bool) spec.Spec {
		return spec.Spec{Receiver: receiver, Signals: signals, Trusted: trusted}
	}
	in := []spec.Spec{
		of("nginx", spec.All, true), of("nginx", spec.Logs, true), of("file_log", spec.Logs, true),
		of("nginx", spec.Logs, false), of("redis", spec.Logs, false),
	}
	require.Equal(t, []spec.Spec{in[0], in[2], in[3], in[4]}, d.possible(in))
	require.Equal(t, spec.Logs, in[1].Signals, "the list is the plan's and stays")
}
