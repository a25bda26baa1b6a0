package rules

import (
	"errors"
	"fmt"
	"slices"

	"github.com/expr-lang/expr/vm"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// Config is one rule as it is written.
type Config struct {
	// Name is shown wherever the rule is spoken of. Without one the receiver
	// stands for it. No two rules may have the same.
	Name string `mapstructure:"name"`
	// Rule is the expression that decides.
	Rule string `mapstructure:"rule"`
	// Receiver is the type with an optional name: "redis/cache".
	Receiver string `mapstructure:"receiver"`
	// Config is the receiver's, with templates in its strings.
	Config map[string]any `mapstructure:"config"`
	// Signals are metrics and logs; none means both.
	Signals []string `mapstructure:"signals"`
	// ResourceAttributes are added to the container's, with templates. An empty
	// value takes one of the container's away.
	ResourceAttributes map[string]string `mapstructure:"resource_attributes"`
	// EveryPort starts a receiver for each endpoint that fits, 16 at most.
	EveryPort bool `mapstructure:"every_port"`
}

// mostPorts bounds what one rule starts for one container: whoever opens many ports
// there would fill the agent. A label, which nobody trusts, has fewer.
const mostPorts = 16

// errManyPorts is a [Problem] that leaves the first ports running.
var errManyPorts = fmt.Errorf("fits more than %d ports of the container (every_port), the others are left out", mostPorts)

// Set are compiled rules in their order.
type Set struct {
	rules []rule
}

// Problem is a rule that could not be evaluated for a container, or not in whole.
type Problem struct {
	// Rule is the rule's name.
	Rule string
	// Err says what is wrong, without the rule's name.
	Err error
}

type rule struct {
	name, text, receiver string
	match                *vm.Program
	config               mapNode
	resource             mapNode
	signals              spec.Signals
	everyPort            bool
}

// Compile checks all rules. The error joins those of all of them; each names
// the rule, the part and, for expressions, line and column.
func Compile(configs []Config) (*Set, error) {
	set := &Set{}
	var errs []error
	names := map[string]bool{}
	for i, c := range configs {
		if c.Name == "" {
			c.Name = c.Receiver
		}
		switch {
		case c.Name == "":
			errs = append(errs, fmt.Errorf("rule %d: has neither name nor receiver", i+1))
			continue
		case names[c.Name]:
			errs = append(errs, fmt.Errorf("rule %q: another has the same name", c.Name))
			continue
		}
		names[c.Name] = true
		r, err := compileRule(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %q: %w", c.Name, err))
			continue
		}
		set.rules = append(set.rules, r)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return set, nil
}

func compileRule(c Config) (rule, error) {
	r := rule{name: c.Name, text: c.Rule, receiver: c.Receiver, everyPort: c.EveryPort}
	var errs [5]error
	errs[0] = spec.CheckReceiver(c.Receiver)
	r.match, errs[1] = compileMatch(c.Rule)
	r.signals, errs[2] = spec.ParseSignals(c.Signals)
	r.config, errs[3] = compileMap(c.Config, "config")
	r.resource, errs[4] = compileMap(asAny(c.ResourceAttributes), "resource_attributes")
	return r, errors.Join(errs[:]...)
}

// Names returns the rules' names in their order.
func (s *Set) Names() []string {
	names := make([]string, 0, len(s.rules))
	for _, r := range s.rules {
		names = append(names, r.name)
	}
	return names
}

// Evaluate tells what the rules want for a container, in their order, and which
// of them could not be evaluated. A rule with a problem wants nothing, but for one
// that fits too many ports: it wants the first of them.
func (s *Set) Evaluate(t *target.Target) ([]spec.Spec, []Problem) {
	if len(s.rules) == 0 {
		return nil, nil
	}
	var (
		specs    []spec.Spec
		problems []Problem
		envs     = t.Envs()
		machine  = newMachine()
	)
	for i := range s.rules {
		got, err := s.rules[i].evaluate(machine, t, envs)
		if err != nil {
			problems = append(problems, Problem{Rule: s.rules[i].name, Err: err})
		}
		specs = append(specs, got...)
	}
	return specs, problems
}

func (r *rule) evaluate(machine *vm.VM, t *target.Target, envs []target.Env) ([]spec.Spec, error) {
	var specs []spec.Spec
	for i := range envs {
		env := &envs[i]
		if env.Port == 0 && len(specs) > 0 {
			break // the container alone, after one of its endpoints
		}
		fits, err := run(machine, r.match, env)
		if err != nil {
			return nil, fmt.Errorf("evaluate rule: %w", err)
		}
		if fits != true {
			continue
		}
		one, err := r.spec(machine, t, env)
		if err != nil {
			return nil, err
		}
		// A port that is open for TCP and UDP is one port.
		isNew := !slices.ContainsFunc(specs, func(o spec.Spec) bool { return o.Port == one.Port })
		switch {
		case isNew && len(specs) == mostPorts:
			return specs, errManyPorts
		case isNew:
			specs = append(specs, one)
		}
		if !r.everyPort {
			break
		}
	}
	return specs, nil
}

func (r *rule) spec(machine *vm.VM, t *target.Target, env *target.Env) (spec.Spec, error) {
	config, err := r.config.fill(machine, env)
	if err != nil {
		return spec.Spec{}, fmt.Errorf("fill config: %w", err)
	}
	resource, err := r.attributes(machine, t, env)
	if err != nil {
		return spec.Spec{}, fmt.Errorf("fill resource_attributes: %w", err)
	}
	why := "rule " + r.text
	if env.Endpoint != "" {
		why += " fits " + env.Endpoint
	}
	return spec.Spec{
		Rule: r.name, Receiver: r.receiver, Config: config.(map[string]any),
		Endpoint: env.Endpoint, Port: uint16(env.Port), Signals: r.signals,
		Target: t.ID, Resource: resource, Trusted: true, Why: why,
	}, nil
}

// attributes are the container's with the rule's over them.
func (r *rule) attributes(machine *vm.VM, t *target.Target, env *target.Env) (map[string]string, error) {
	own, err := r.resource.fill(machine, env)
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(t.Resource))
	for key, value := range t.Resource {
		all[key] = value
	}
	for key, value := range own.(map[string]any) {
		text := fmt.Sprint(value)
		if text == "" {
			delete(all, key)
			continue
		}
		all[key] = text
	}
	return all, nil
}

func asAny(m map[string]string) map[string]any {
	all := make(map[string]any, len(m))
	for key, value := range m {
		all[key] = value
	}
	return all
}
