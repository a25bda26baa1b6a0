package discoveryreceiver

import (
	"errors"
	"slices"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/service/hostcapabilities"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/settings"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/runner"
)

// distribution is what can be started in the running Collector.
type distribution struct {
	runner.Factories
	// types are all receivers, sorted; none where the host does not tell.
	types []string
	// pipelines are the signals that discovery itself is configured for.
	pipelines spec.Signals
}

var _ settings.Receivers = (*distribution)(nil)

func newDistribution(host component.Host, pipelines spec.Signals) (*distribution, error) {
	factories, ok := host.(runner.Factories)
	if !ok {
		return nil, errors.New("ask the Collector for its receivers: this host offers no factories")
	}
	d := &distribution{Factories: factories, pipelines: pipelines}
	if modules, ok := host.(hostcapabilities.ModuleInfo); ok {
		for typ := range modules.GetModuleInfos().Receiver {
			d.types = append(d.types, typ.String())
		}
		slices.Sort(d.types)
	}
	return d, nil
}

// check tells which rules can start nothing here, whatever containers come.
func (d *distribution) check(configs []rules.Config) error {
	return errors.Join(settings.CheckRules(configs, d, d.pipelines)...)
}

// Names implements [settings.Receivers].
func (d *distribution) Names() []string { return d.types }

// Find implements [settings.Receivers].
func (d *distribution) Find(typ string) (spec.Signals, bool) {
	t, err := component.NewType(typ)
	if err != nil {
		return 0, false
	}
	factory, ok := d.GetFactory(component.KindReceiver, t).(receiver.Factory)
	if !ok {
		return 0, false
	}
	var has spec.Signals
	if factory.MetricsStability() != component.StabilityLevelUndefined {
		has |= spec.Metrics
	}
	if factory.LogsStability() != component.StabilityLevelUndefined {
		has |= spec.Logs
	}
	return has, true
}

// possible leaves the specs that have something to collect. A rule that did not name
// its signals may have none left where the container has opted out of one.
func (d *distribution) possible(specs []spec.Spec) []spec.Spec {
	return slices.DeleteFunc(slices.Clone(specs), func(s spec.Spec) bool {
		has, ok := d.Find(s.Type())
		return ok && s.Trusted && s.Signals&has&d.pipelines == 0
	})
}
