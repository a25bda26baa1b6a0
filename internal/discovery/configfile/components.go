package configfile

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/internal/discovery/settings"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

// askWithin bounds the question; an agent answers in half a second, most of which
// it takes to be loaded.
const askWithin = 10 * time.Second

var _ settings.Receivers = Available(nil)

// Available are the receivers of a distribution with what they collect, by type.
type Available map[string]spec.Signals

// Receivers asks an agent's binary which receivers it has.
func Receivers(ctx context.Context, program string) (Available, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	answer, err := exec.CommandContext(ctx, program, "components").Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its components: %w", program, err)
	}
	all, err := parseComponents(answer)
	if err != nil {
		return nil, fmt.Errorf("ask %s for its components: %w", program, err)
	}
	return all, nil
}

// parseComponents reads the answer (newComponentsCommand of otelcol):
//
//	receivers:
//	    - name: nginx
//	      module: ...
//	      stability:
//	        logs: Undefined
//	        metrics: Beta
func parseComponents(answer []byte) (Available, error) {
	var components struct {
		Receivers []struct {
			Name      string
			Stability map[string]string
		}
	}
	if err := yaml.Unmarshal(answer, &components); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	all := Available{}
	for _, r := range components.Receivers {
		var signals spec.Signals
		for name, stability := range r.Stability {
			signal, err := spec.ParseSignals([]string{name})
			if err == nil && stability != "Undefined" {
				signals |= signal
			}
		}
		all[r.Name] = signals
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read answer: %w", errNoReceivers)
	}
	return all, nil
}

// renamed are types of this distribution that once had another name. It still works,
// and is not in the agent's list.
var renamed = map[string]string{"filelog": "file_log", "hostmetrics": "host_metrics"}

// Find implements [settings.Receivers].
func (a Available) Find(typ string) (spec.Signals, bool) {
	if signals, ok := a[typ]; ok {
		return signals, true
	}
	signals, ok := a[renamed[typ]]
	return signals, ok
}

// Names implements [settings.Receivers].
func (a Available) Names() []string { return slices.Sorted(maps.Keys(a)) }
