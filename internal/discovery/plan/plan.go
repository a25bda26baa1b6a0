package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/internal/discovery/hints"
	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// Config is what the operator decides. Its zero value collects nothing; see
// [DefaultConfig].
type Config struct {
	// Rules lead from a container to a receiver.
	Rules []rules.Config `mapstructure:"rules"`
	// Labels lets labels and annotations start receivers. Opt-outs always count.
	Labels bool `mapstructure:"labels"`
	// Recognise shows rules what a container was recognised as.
	Recognise bool `mapstructure:"recognise"`
	// AllowReceivers are the types that labels may start; * stands for all.
	AllowReceivers []string `mapstructure:"allow_receivers"`
	// RootPath is where the host's root directory is, "" or "/" on the host
	// itself: the files that containers write their output to are below it.
	RootPath string `mapstructure:"root_path"`
	// DockerRoot is Docker's data and PodsRoot the kubelet's logs, as paths that the
	// agent sees. "": /var/lib/docker and /var/log/pods below RootPath.
	DockerRoot string `mapstructure:"docker_root"`
	PodsRoot   string `mapstructure:"pods_root"`
}

const (
	// everyReceiver is the entry of AllowReceivers that allows all.
	everyReceiver = "*"
	// prometheusRule is how hints name what prometheus.io/scrape asks for, which
	// is said to every Prometheus there may be, and not to us.
	prometheusRule = "prometheus.io"
)

// DefaultConfig has no rules, and lets labels start what asks the container alone
// (prometheus, nginx) or reads its output (file_log).
func DefaultConfig() Config {
	return Config{
		Labels: true, Recognise: true, RootPath: "/",
		AllowReceivers: []string{"prometheus", "nginx", "file_log"},
	}
}

// Verdict is what is to become of one container.
type Verdict struct {
	// Target is the container as rules have seen it: without technologies if
	// these are not to be recognised.
	Target *target.Target
	// Specs are the receivers to run, those of labels first.
	Specs []spec.Spec
	// Refused are wishes that cannot be fulfilled.
	Refused []Refusal
	// Waiting tells in words what is asked for and not there yet.
	Waiting []string
	// Again: something of that (the file of a container's output) shows in no change
	// of the container. Ask again after a while.
	Again bool
	// Ignored: the container has opted out of everything.
	Ignored bool
}

// Refusal is one wish that cannot be fulfilled.
type Refusal struct {
	// Rule is the rule's name, or the beginning of the labels' keys.
	Rule string
	// Receiver is the one that was meant, "" if none could be told.
	Receiver string
	// Label: the wish is a label's, and not a rule's.
	Label bool
	Err   error
}

// ErrNotAllowed is a [Refusal] of what a label has asked for.
var ErrNotAllowed = errors.New("may not be started by a label")

// Plan decides. Make it with New.
type Plan struct {
	set       *rules.Set
	receivers map[string]string // by the rules' names
	config    Config
}

// New checks a configuration. Its error joins all mistakes, a line for each.
func New(c Config) (*Plan, error) {
	set, err := compile(c.Rules)
	if err := errors.Join(err, checkAllowed(c.AllowReceivers), checkRoot("docker_root", c.DockerRoot), checkRoot("pods_root", c.PodsRoot)); err != nil {
		return nil, err
	}
	p := &Plan{set: set, receivers: map[string]string{}, config: c}
	for _, r := range c.Rules {
		p.receivers[nameOf(r)] = r.Receiver
	}
	return p, nil
}

// Allows tells whether labels may start a type of receiver. A type may be written
// by its name of before or after the Collector's receivers got underscores: filelog
// is file_log.
func (p *Plan) Allows(receiver string) bool {
	return slices.ContainsFunc(p.config.AllowReceivers, func(allowed string) bool {
		return allowed == everyReceiver || plain(allowed) == plain(receiver)
	})
}

func plain(receiver string) string { return strings.ReplaceAll(receiver, "_", "") }

// Of tells what is to become of a container. t is not changed.
func (p *Plan) Of(t *target.Target) Verdict {
	if !p.config.Recognise && len(t.Technologies) > 0 {
		bare := *t
		bare.Technologies = nil
		t = &bare
	}
	v := Verdict{Target: t}
	places := hints.LogPlaces{Root: p.config.RootPath, Docker: p.config.DockerRoot, Pods: p.config.PodsRoot}
	asked := hints.Read(t, hints.Options{LogFiles: places.Files})
	if asked.Ignored {
		v.Ignored = true
		p.refuse(asked.Problems, &v)
		return v
	}
	ruled, problems := p.set.Evaluate(t)
	for _, one := range problems {
		v.Refused = append(v.Refused, Refusal{Rule: one.Rule, Receiver: p.receivers[one.Rule], Err: one.Err})
	}
	p.refuse(asked.Problems, &v)
	var labelled []spec.Spec
	if p.config.Labels {
		labelled = p.allowed(asked, &v)
	}
	v.Specs = without(asked.Off, spec.Merge(labelled, ruled))
	return v
}

// refuse notes what is wrong with labels: all of it, or opt-outs alone where labels
// start nothing.
func (p *Plan) refuse(problems []hints.Problem, v *Verdict) {
	for _, one := range problems {
		if p.config.Labels || one.OptOut {
			v.Refused = append(v.Refused, Refusal{Rule: one.Rule, Label: true, Err: one.Err})
		}
	}
}

// allowed are the wishes of labels that may be fulfilled; the others are noted.
// They are taken out before rules are merged: a wish that is refused is no reason
// to keep a rule from its work.
func (p *Plan) allowed(asked hints.Result, v *Verdict) []spec.Spec {
	v.Waiting, v.Again = asked.Waiting, asked.Again
	var may []spec.Spec
	for _, s := range asked.Specs {
		if p.Allows(s.Type()) {
			may = append(may, s)
			continue
		}
		v.Refused = append(v.Refused, Refusal{
			Rule: s.Rule, Receiver: s.Receiver, Label: true,
			Err: fmt.Errorf("receiver %q %w (allow_receivers: %s; add it there, or write a rule)",
				s.Type(), ErrNotAllowed, p.allowedText()),
		})
	}
	return may
}

func (p *Plan) allowedText() string {
	if len(p.config.AllowReceivers) == 0 {
		return "none"
	}
	return strings.Join(p.config.AllowReceivers, ", ")
}

// without takes away what a container does not want collected. What its own
// labels ask for beside that, say one port of many, stays.
func without(off spec.Signals, specs []spec.Spec) []spec.Spec {
	var left []spec.Spec
	for _, s := range specs {
		if s.Trusted || s.Rule == prometheusRule {
			s.Signals &^= off
		}
		if s.Signals != 0 {
			left = append(left, s)
		}
	}
	return left
}
