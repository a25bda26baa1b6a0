package serve

import (
	"github.com/tallymanhq/tallyman/internal/recorder/api"
	"github.com/tallymanhq/tallyman/internal/recorder/metricstore"
)

// Metadata serves what families returns, such as [metricstore.Store.Families]. It is
// called once for each answer.
func Metadata(families func() map[string]metricstore.Family) api.Metadata { return metadata(families) }

type metadata func() map[string]metricstore.Family

// Metadata implements [api.Metadata].
func (m metadata) Metadata(metric string) map[string][]api.MetricMetadata {
	all := m()
	out := map[string][]api.MetricMetadata{}
	for name, f := range all {
		if metric == "" || metric == name {
			out[name] = []api.MetricMetadata{{Type: f.Type, Unit: f.Unit, Help: f.Help}}
		}
	}
	return out
}
