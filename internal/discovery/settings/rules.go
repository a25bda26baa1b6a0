package settings

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

// Receivers are those of a distribution.
type Receivers interface {
	// Find returns what a type of receiver collects; false if there is none of
	// that type.
	Find(typ string) (spec.Signals, bool)
	// Names are all types, sorted; none where that is not known.
	Names() []string
}

// mostNamed is how many receivers an error names: more than this distribution has,
// far fewer than contrib's.
const mostNamed = 30

// CheckRules tells which rules can start nothing in a distribution. pipelines are the
// signals that discovery itself is configured for.
func CheckRules(configs []rules.Config, has Receivers, pipelines spec.Signals) []error {
	var all []error
	for i, c := range configs {
		if key, err := checkRule(c, has, pipelines); err != nil {
			all = append(all, fmt.Errorf("rules[%d].%s: rule %q: %w", i, key, cmp.Or(c.Name, c.Receiver), err))
		}
	}
	return all
}

// checkRule returns the key that is wrong with the error.
func checkRule(c rules.Config, all Receivers, pipelines spec.Signals) (string, error) {
	typ := (&spec.Spec{Receiver: c.Receiver}).Type()
	if typ == Type {
		return "receiver", fmt.Errorf("receiver %q cannot start itself", typ)
	}
	has, ok := all.Find(typ)
	if !ok {
		return "receiver", fmt.Errorf("this distribution has no receiver %q%s", typ, instead(typ, all.Names()))
	}
	wanted, err := spec.ParseSignals(c.Signals)
	if err != nil {
		return "signals", err
	}
	if len(c.Signals) == 0 && has&pipelines == 0 {
		return "receiver", fmt.Errorf("receiver %q has %s, and this receiver is only in pipelines of %s", typ, orNone(has), orNone(pipelines))
	}
	if missing := wanted &^ has; len(c.Signals) > 0 && missing != 0 {
		return "signals", fmt.Errorf("receiver %q has no %s", typ, missing)
	}
	if missing := wanted &^ pipelines; len(c.Signals) > 0 && missing != 0 {
		return "signals", fmt.Errorf("this receiver is in no pipeline of %s", missing)
	}
	return "", nil
}

// instead says what somebody may have meant who has named a receiver that is not
// there.
func instead(typ string, all []string) string {
	var others []string
	for _, other := range all {
		if other == Type {
			continue
		}
		if canonical(other) == canonical(typ) {
			return fmt.Sprintf(" (it is called %q)", other)
		}
		others = append(others, other)
	}
	if len(others) == 0 || len(others) > mostNamed {
		return " (tallyman components lists those that it has)"
	}
	return fmt.Sprintf(" (it has %s)", strings.Join(others, ", "))
}

// canonical is a type as people write it: the Collector's receivers got underscores
// some releases ago (hostmetrics is host_metrics), their Go packages are called
// nginxreceiver.
func canonical(typ string) string {
	return strings.TrimSuffix(strings.ReplaceAll(strings.ToLower(typ), "_", ""), "receiver")
}

func orNone(s spec.Signals) string {
	if s == 0 {
		return "neither metrics nor logs"
	}
	return s.String()
}
