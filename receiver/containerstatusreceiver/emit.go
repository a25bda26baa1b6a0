package containerstatusreceiver

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"

	"github.com/tallymanhq/tallyman/internal/docker"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/metadata"
	"github.com/tallymanhq/tallyman/receiver/containerstatusreceiver/internal/roster"
)

// metricsEmitter turns what is known of the containers into metrics.
type metricsEmitter struct {
	*member
	roster *roster.Roster
	mb     *metadata.MetricsBuilder
	// list is used again by each scrape.
	list []roster.Status
}

func newMetricsEmitter(shared *watches, set receiver.Settings, cfg *Config) *metricsEmitter {
	m := shared.join(set, cfg)
	return &metricsEmitter{member: m, roster: m.watch.roster, mb: metadata.NewMetricsBuilder(cfg.MetricsBuilderConfig, set)}
}

func (e *metricsEmitter) shutdown(context.Context) error {
	e.leave()
	return nil
}

// scrape returns each container as one resource; none while the engine does
// not answer.
func (e *metricsEmitter) scrape(context.Context) (pmetric.Metrics, error) {
	now := pcommon.NewTimestampFromTime(time.Now())
	var runtime string
	runtime, e.list = e.roster.Append(e.list[:0])
	for i := range e.list {
		if e.list[i].State.Status != "" { // else nothing is known of it but its name
			e.container(&e.list[i], runtime, now)
		}
	}
	clear(e.list) // keep no container alive that the engine has removed
	return e.mb.Emit(), nil
}

func (e *metricsEmitter) container(s *roster.Status, runtime string, now pcommon.Timestamp) {
	state := stateOf(s.State)
	for _, possible := range metadata.MapAttributeContainerState {
		e.mb.RecordContainerStateDataPoint(now, oneIf(possible == state), possible)
	}
	if health, checked := metadata.MapAttributeContainerHealthStatus[s.State.Health]; checked {
		for _, possible := range metadata.MapAttributeContainerHealthStatus {
			e.mb.RecordContainerHealthStatusDataPoint(now, oneIf(possible == health), possible)
		}
	}
	// The list of containers, which is what is left where one cannot be
	// inspected, has neither the start nor the restarts.
	if s.State.Status == "created" || !s.State.StartedAt.IsZero() {
		e.mb.RecordContainerRestartCountDataPoint(now, int64(s.State.Restarts))
	}
	options := []metadata.ResourceMetricsOption{metadata.WithResource(resource(e.mb.NewResourceBuilder(), s.ID, runtime))}
	if !s.CountingSince.IsZero() {
		options = append(options, metadata.WithStartTimeOverride(pcommon.NewTimestampFromTime(s.CountingSince)))
	}
	e.mb.EmitForResource(options...)
}

// stateOf is the state to show, 0 for none. A container that is being removed
// has ended, if it ever ran; one that was made and never started has no state.
func stateOf(s docker.State) metadata.AttributeContainerState {
	if s.Status == "removing" && !s.StartedAt.IsZero() {
		return metadata.AttributeContainerStateExited
	}
	return metadata.MapAttributeContainerState[s.Status]
}

func oneIf(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// resource names the container, if there is one, and its engine.
func resource(rb *metadata.ResourceBuilder, id, runtime string) pcommon.Resource {
	if id != "" {
		rb.SetContainerID(id)
	}
	if runtime != "" {
		rb.SetContainerRuntimeName(runtime)
	}
	return rb.Emit()
}
