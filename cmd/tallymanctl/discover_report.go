package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/internal/discovery/configfile"
	"github.com/tallymanhq/tallyman/internal/discovery/plan"
	"github.com/tallymanhq/tallyman/internal/discovery/settings"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// discoverOutput is what -o json prints.
type discoverOutput struct {
	Version        string            `json:"version"`
	Source         discoverSource    `json:"source"`
	Containers     []containerOutput `json:"containers"`
	UnmatchedRules []string          `json:"unmatched_rules"`
	// Problems keep the agent from starting.
	Problems []string        `json:"problems"`
	Notes    []string        `json:"notes"`
	Summary  discoverSummary `json:"summary"`

	// broken: something besides a refusal is not as it should be.
	broken bool
}

// discoverSource says what was judged by.
type discoverSource struct {
	Config         []string `json:"config"`
	Receiver       string   `json:"receiver"`
	Rules          int      `json:"rules"`
	Labels         bool     `json:"labels"`
	Recognise      bool     `json:"recognise"`
	AllowReceivers []string `json:"allow_receivers"`
	RootPath       string   `json:"root_path"`
	// Agent was asked for its receivers; "": nobody was.
	Agent string `json:"agent"`
}

// containerOutput is one container.
type containerOutput struct {
	ID           string             `json:"id"`
	Name         string             `json:"name"`
	Image        string             `json:"image"`
	Runtime      string             `json:"runtime"`
	Endpoints    []endpointOutput   `json:"endpoints"`
	Technologies []technologyOutput `json:"technologies"`
	Ignored      bool               `json:"ignored"`
	Starts       []startOutput      `json:"starts"`
	Refused      []refusedOutput    `json:"refused"`
	Waiting      []string           `json:"waiting"`
	// Overruled are rules that fit and start nothing here.
	Overruled []overruledOutput `json:"overruled"`
}

type endpointOutput struct {
	Address    string `json:"address"`
	Port       int    `json:"port"`
	Transport  string `json:"transport"`
	Listening  bool   `json:"listening"`
	Executable string `json:"executable"`
}

type technologyOutput struct {
	Name       string `json:"name"`
	Port       int    `json:"port"`
	Confidence string `json:"confidence"`
	By         string `json:"by"`
}

// startOutput is a receiver that would start.
type startOutput struct {
	Receiver string   `json:"receiver"`
	Rule     string   `json:"rule"`
	FromRule bool     `json:"from_rule"`
	Why      string   `json:"why"`
	Signals  []string `json:"signals"`
	// Endpoint is put into the setting of that name where Config has none and
	// the receiver knows it.
	Endpoint string            `json:"endpoint"`
	Config   map[string]any    `json:"config"`
	Resource map[string]string `json:"resource"`

	added map[string]any // of Resource, what is not the container's own
}

type refusedOutput struct {
	Rule     string `json:"rule"`
	FromRule bool   `json:"from_rule"`
	Receiver string `json:"receiver"`
	Error    string `json:"error"`
}

type overruledOutput struct {
	Rule string `json:"rule"`
	Why  string `json:"why"`
}

type discoverSummary struct {
	Containers int `json:"containers"`
	Starts     int `json:"starts"`
	Refused    int `json:"refused"`
	Waiting    int `json:"waiting"`
	Ignored    int `json:"ignored"`
}

func (s *discoverSummary) count(c containerOutput) {
	s.Containers++
	s.Starts += len(c.Starts)
	s.Refused += len(c.Refused)
	s.Waiting += len(c.Waiting)
	if c.Ignored {
		s.Ignored++
	}
}

func describeSource(paths []string, f configfile.File) discoverSource {
	return discoverSource{
		Config: list(paths), Receiver: f.Receiver, Rules: len(f.Rules), Labels: f.Labels, Recognise: f.Recognise,
		AllowReceivers: list(f.AllowReceivers), RootPath: f.RootPath,
	}
}

// list makes JSON of nothing an empty list.
func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// judge says what would become of what was seen.
func (d *dryRun) judge(seen settled) discoverOutput {
	out := discoverOutput{Version: version, Source: d.source, Containers: []containerOutput{}, Notes: list(slices.Clone(d.notes)), Problems: list(d.problems)}
	out.broken = len(d.problems) > 0
	matched := map[string]bool{}
	for _, t := range seen.targets {
		c := d.containerOf(t, matched)
		if !d.isMeant(t) {
			continue
		}
		out.Containers = append(out.Containers, c)
		out.Summary.count(c)
	}
	slices.SortFunc(out.Containers, func(a, b containerOutput) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	out.UnmatchedRules = list(d.unmatched(matched))
	if most := d.file.Limits.Receivers; out.Summary.Starts > most {
		out.Notes = append(out.Notes, fmt.Sprintf("The agent runs %d receivers at once (limits::receivers); the others start when there is room.", most))
	}
	d.sayMissing(&out, seen)
	return out
}

// sayMissing notes what could not be seen.
func (d *dryRun) sayMissing(out *discoverOutput, seen settled) {
	note := func(format string, args ...any) { out.Notes = append(out.Notes, fmt.Sprintf(format, args...)) }
	if seen.engine != nil {
		note("Without the engine's word there are no names, labels and images: %v.", seen.engine)
		out.broken = out.broken || d.look.isAsked
	}
	if seen.cgroups != nil {
		note("Only containers of the engine are seen: %v.", seen.cgroups)
	}
	if seen.unseen > 0 {
		note("Of %d containers no process is to be seen from here, so that what runs in them and listens is not known: run this, and the agent, in the host's pid namespace (--pid host).", seen.unseen)
	}
	if seen.blind > 0 {
		note("Of %d containers it is not known who listens: that takes root, or CAP_SYS_PTRACE. Ports of theirs are those that the engine tells.", seen.blind)
	}
	if seen.unreadable > 0 && d.uid != 0 { // of root's, some processes have just ended
		note("%d files of processes could not be read by this user. The agent may see more: run this as the user that it runs as.", seen.unreadable)
	}
	if len(seen.unfinished) > 0 {
		note("Time was up before all had been looked at: %s.", strings.Join(seen.unfinished, ", "))
		out.broken = true
	}
}

// isRule tells whether a name is a rule's; others are what keys of labels begin with.
func (d *dryRun) isRule(name string) bool { return slices.Contains(d.rules.Names(), name) }

// isMeant tells whether a container is to be shown.
func (d *dryRun) isMeant(t *target.Target) bool {
	return d.container == "" || t.Name == d.container || strings.HasPrefix(t.ID, d.container)
}

// containerOf judges one container and notes the rules that fit it.
func (d *dryRun) containerOf(t *target.Target, matched map[string]bool) containerOutput {
	v := d.plan.Of(t)
	c := describeContainer(v.Target)
	c.Ignored, c.Waiting = v.Ignored, list(v.Waiting)
	for _, s := range v.Specs {
		signals, err := d.fits(&s)
		switch {
		case errors.Is(err, errUnasked):
			c.Overruled = append(c.Overruled, overruledOutput{Rule: s.Rule, Why: err.Error()})
		case err != nil:
			c.Refused = append(c.Refused, refusedOutput{Rule: s.Rule, FromRule: s.Trusted, Receiver: s.Receiver, Error: err.Error()})
		default:
			c.Starts = append(c.Starts, d.start(v.Target, s, signals))
		}
	}
	for _, r := range v.Refused {
		c.Refused = append(c.Refused, refusedOutput{Rule: r.Rule, FromRule: d.isRule(r.Rule), Receiver: r.Receiver, Error: r.Err.Error()})
	}
	c.Overruled = append(list(c.Overruled), d.overruled(v, matched)...)
	c.Starts, c.Refused = list(c.Starts), list(c.Refused)
	return c
}

// describeContainer is a container without what is to become of it.
func describeContainer(t *target.Target) containerOutput {
	c := containerOutput{ID: t.ID, Name: t.Name, Image: t.Image, Runtime: t.Runtime, Endpoints: []endpointOutput{}, Technologies: []technologyOutput{}}
	if t.ImageTag != "" {
		c.Image += ":" + t.ImageTag
	}
	for _, e := range t.Endpoints() {
		c.Endpoints = append(c.Endpoints, endpointOutput{
			Address: e.Addr.String(), Port: int(e.Port), Transport: e.Protocol, Listening: e.Listening, Executable: e.Executable,
		})
	}
	for _, tech := range t.Technologies {
		c.Technologies = append(c.Technologies, technologyOutput{
			Name: tech.Name, Port: int(tech.Port), Confidence: tech.Confidence.String(), By: tech.By,
		})
	}
	return c
}

// start describes a receiver that would start.
func (d *dryRun) start(t *target.Target, s spec.Spec, signals spec.Signals) startOutput {
	start := startOutput{
		Receiver: s.Receiver, Rule: s.Rule, FromRule: s.Trusted, Why: s.Why, Signals: strings.Split(signals.String(), ","),
		Endpoint: s.Endpoint, Config: configfile.Masked(s.Config, t.ID), Resource: map[string]string{}, added: map[string]any{},
	}
	resource := map[string]any{}
	for key, value := range s.Resource {
		resource[key] = value
	}
	for key, value := range configfile.Masked(resource, t.ID) {
		start.Resource[key] = fmt.Sprint(value)
		if t.Resource[key] != s.Resource[key] {
			start.added[key] = value
		}
	}
	return start
}

var (
	errUnknown = errors.New("no such receiver in this distribution")
	errItself  = errors.New("discovery cannot start itself")
	errSignals = errors.New("no signal that both the receiver and a pipeline have")
	errUnasked = errors.New("the container does not want this collected")
)

// fits says of which signals a receiver would be, as the agent does when it starts it:
// those that it and a pipeline have, unless a label names them.
func (d *dryRun) fits(s *spec.Spec) (spec.Signals, error) {
	has, ok := spec.All, true
	if d.available != nil {
		has, ok = d.available.Find(s.Type())
	}
	may := d.pipelines()
	left := s.Signals & has & may
	switch {
	case !ok:
		return 0, fmt.Errorf("%w: %q", errUnknown, s.Type())
	case s.Type() == settings.Type:
		return 0, errItself
	case left == s.Signals, left != 0 && s.Signals == spec.All:
		return left, nil
	case left == 0 && s.Trusted && s.Signals != spec.All:
		return 0, errUnasked
	case s.Signals == spec.All:
		return 0, fmt.Errorf("%w: %q", errSignals, s.Type())
	case s.Signals&^may != 0:
		return 0, fmt.Errorf("%w: this receiver is in no pipeline of %s", errSignals, s.Signals&^may)
	}
	return 0, fmt.Errorf("%w: %q has no %s", errSignals, s.Type(), s.Signals&^has)
}

// overruled finds rules that fit a container and start nothing there, and notes all
// that fit.
func (d *dryRun) overruled(v plan.Verdict, matched map[string]bool) []overruledOutput {
	wanted, problems := d.rules.Evaluate(v.Target)
	for _, p := range problems {
		matched[p.Rule] = true
	}
	var all []overruledOutput
	for _, w := range wanted {
		matched[w.Rule] = true
		isSame := func(s spec.Spec) bool { return s.Trusted && s.Key() == w.Key() }
		if v.Ignored || slices.ContainsFunc(v.Specs, isSame) {
			continue
		}
		why := errUnasked.Error()
		for _, s := range v.Specs {
			if !s.Trusted && s.Port == w.Port && s.Type() == w.Type() {
				why = "a label asks for the same: " + s.Rule
			}
		}
		all = append(all, overruledOutput{Rule: w.Rule, Why: why})
	}
	return all
}
