package runner

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/receiver/discoveryreceiver/internal/guard"
)

// endpointKey is the setting that most receivers of contrib that ask somebody have.
const endpointKey = "endpoint"

// shortID is as much of a container's id as docker ps shows.
const shortID = 12

// newInstance is a receiver that is yet to be made.
func (r *Runner) newInstance(want spec.Spec, s *slot) *instance {
	ctx, cancel := context.WithCancel(context.Background())
	parent := r.o.Host
	if !want.Trusted {
		parent = guard.New(want.Endpoint).Host(parent)
	}
	return &instance{
		spec: want, at: s.at, host: &host{Host: parent, wake: s.wake}, gate: &gate{dropped: &r.counts.dropped},
		ctx: ctx, cancel: cancel, panicked: s.panicked,
	}
}

// bringUp makes and starts a receiver. What there is of it when that fails is for
// stop to end.
func (r *Runner) bringUp(i *instance) error {
	defer time.AfterFunc(r.o.Pace.Start, i.cancel).Stop()
	defer context.AfterFunc(r.ctx, i.cancel)()
	if err := r.build(i); err != nil {
		return err
	}
	return i.start()
}

// build makes the parts; nothing runs yet.
func (r *Runner) build(made *instance) error {
	want := &made.spec
	var id component.ID
	if err := id.UnmarshalText([]byte(want.Receiver)); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrUnknown, want.Receiver, err)
	}
	if !want.Trusted && !r.o.Allow(id.Type()) {
		return fmt.Errorf("%w: receiver %q", ErrNotAllowed, id.Type())
	}
	factory, ok := r.o.Factories.GetFactory(component.KindReceiver, id.Type()).(receiver.Factory)
	if !ok {
		return fmt.Errorf("%w: %q", ErrUnknown, id.Type())
	}
	return made.guarded(toCreate, func() error {
		cfg, err := configure(factory, want)
		if err != nil {
			return err
		}
		return r.create(made, factory, receiver.Settings{
			ID: r.instanceID(id, made), TelemetrySettings: r.telemetry(made), BuildInfo: r.o.Settings.BuildInfo,
		}, cfg)
	})
}

// instanceID is the same for each receiver in one place, so that a receiver that
// stores where it has read to finds it again, and for no other: neither of another
// discovery receiver nor of a second wish with the same key.
func (r *Runner) instanceID(id component.ID, i *instance) component.ID {
	parts := []string{r.o.Settings.ID.String(), i.spec.Rule, i.spec.Target[:min(shortID, len(i.spec.Target))]}
	if id.Name() != "" {
		parts = slices.Insert(parts, 0, id.Name())
	}
	if i.spec.Port != 0 || i.at.number > 0 {
		parts = append(parts, strconv.Itoa(int(i.spec.Port)))
	}
	if i.at.number > 0 {
		parts = append(parts, strconv.Itoa(i.at.number))
	}
	for n := range parts {
		parts[n] = url.PathEscape(parts[n]) // names have slashes of their own
	}
	return component.NewIDWithName(id.Type(), strings.Join(parts, "/"))
}

// telemetry is what the receiver may tell of itself; see the package comment.
func (r *Runner) telemetry(i *instance) component.TelemetrySettings {
	set := r.o.Settings.TelemetrySettings
	set.MeterProvider = noop.NewMeterProvider()
	set.Logger = set.Logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return thinned{Core: guard.ShortLog(core), rule: i.spec.Rule, gate: i.gate, by: &r.thinner}
	})).With(about(i)...)
	return set
}

// prompt are settings that a receiver gets unless it is configured otherwise, so that
// it begins at once: prometheus waits 5 s for more targets than the one there is.
func prompt(t component.Type) map[string]any {
	if t.String() == "prometheus" {
		return map[string]any{"discovery_reload_on_startup": true}
	}
	return nil
}

// configure makes the receiver's configuration and has it checked.
func configure(factory receiver.Factory, want *spec.Spec) (component.Config, error) {
	given := confmap.NewFromStringMap(prompt(factory.Type()))
	if err := given.Merge(confmap.NewFromStringMap(want.Config)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if want.Endpoint != "" && !given.IsSet(endpointKey) {
		endpoint := confmap.NewFromStringMap(map[string]any{endpointKey: want.Endpoint})
		if endpoint.Unmarshal(factory.CreateDefaultConfig()) == nil { // else it knows no such setting
			if err := given.Merge(endpoint); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrConfig, err)
			}
		}
	}
	if !want.Trusted {
		// A receiver that asks in another way than by one HTTP client is kept at the
		// container by what hints lets through, or trusted by who has allowed it.
		guard.Configure(given, factory.CreateDefaultConfig())
	}
	cfg := factory.CreateDefaultConfig()
	if err := given.Unmarshal(cfg); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := confmap.Validate(cfg); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return cfg, nil
}

// create makes a part for each signal that is wanted. All of them is what is
// wanted when nobody says: then it is those that the receiver and a pipeline have.
func (r *Runner) create(made *instance, factory receiver.Factory, set receiver.Settings, cfg component.Config) error {
	emit := &emitter{spec: &made.spec, gate: made.gate}
	signals := []struct {
		signal      spec.Signals
		hasPipeline bool
		create      func() (component.Component, error)
	}{
		{spec.Metrics, r.o.Metrics != nil, func() (component.Component, error) {
			return factory.CreateMetrics(context.Background(), set, cfg, emit.metrics(r.o.Metrics))
		}},
		{spec.Logs, r.o.Logs != nil, func() (component.Component, error) {
			return factory.CreateLogs(context.Background(), set, cfg, emit.logs(r.o.Logs))
		}},
	}
	isNamed := made.spec.Signals != spec.All
	for _, signal := range signals {
		switch {
		case !made.spec.Signals.Has(signal.signal):
			continue
		case isNamed && !signal.hasPipeline:
			return fmt.Errorf("%w: this receiver is in no pipeline of %s", ErrSignals, signal.signal)
		case !signal.hasPipeline:
			continue
		}
		part, err := signal.create()
		switch {
		case err == nil:
			made.parts = append(made.parts, part)
		case !errors.Is(err, pipeline.ErrSignalNotSupported):
			return fmt.Errorf("create for %s: %w", signal.signal, err)
		case isNamed:
			return fmt.Errorf("%w: %q has no %s", ErrSignals, factory.Type(), signal.signal)
		}
	}
	if len(made.parts) == 0 {
		return fmt.Errorf("%w: %q", ErrSignals, factory.Type())
	}
	return nil
}
