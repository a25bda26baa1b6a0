package plan

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tallymanhq/tallyman/internal/discovery/rules"
	"github.com/tallymanhq/tallyman/internal/discovery/spec"
)

// compile compiles all rules. The compiler names a rule and not where it stands,
// so that its mistakes are looked for rule by rule.
func compile(configs []rules.Config) (*rules.Set, error) {
	set, whole := rules.Compile(configs)
	if whole == nil {
		return set, nil
	}
	var errs []error
	first := map[string]int{}
	for i, c := range configs {
		name := nameOf(c)
		before, isTaken := first[name]
		switch {
		case name == "":
			errs = append(errs, fmt.Errorf("rules[%d]: has neither name nor receiver", i))
			continue
		case isTaken:
			errs = append(errs, fmt.Errorf("rules[%d].name: rules[%d] is called %q, too (a rule without a name has that of its receiver)", i, before, name))
		default:
			first[name] = i
		}
		_, err := rules.Compile([]rules.Config{c})
		for _, mistake := range single(err) {
			errs = append(errs, fmt.Errorf("rules[%d]: %w", i, mistake))
		}
	}
	return nil, cmp.Or(errors.Join(errs...), whole)
}

// single takes joined errors apart, and says of each which rule it belongs to: the
// compiler says so of all of them at once.
func single(err error) []error {
	var all []error
	for _, rule := range apart(err) {
		inner := errors.Unwrap(rule)
		if inner == nil {
			all = append(all, rule)
			continue
		}
		about := strings.TrimSuffix(rule.Error(), inner.Error())
		for _, mistake := range apart(inner) {
			all = append(all, fmt.Errorf("%s%w", about, mistake))
		}
	}
	return all
}

// apart returns the members of a joined error, of theirs as well.
func apart(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, one := range joined.Unwrap() {
		all = append(all, apart(one)...)
	}
	return all
}

func checkAllowed(types []string) error {
	var errs []error
	for i, typ := range types {
		if typ == everyReceiver {
			continue
		}
		switch err := spec.CheckReceiver(typ); {
		case err != nil:
			errs = append(errs, fmt.Errorf("allow_receivers[%d]: %w", i, err))
		case strings.Contains(typ, "/"):
			errs = append(errs, fmt.Errorf("allow_receivers[%d]: %q has a name behind its type (types are allowed, under any name)", i, typ))
		}
	}
	return errors.Join(errs...)
}

func checkRoot(key, path string) error {
	if path == "" || filepath.IsAbs(path) {
		return nil
	}
	return fmt.Errorf("%s: %.100q is no absolute path", key, path)
}

// nameOf is what rules call a rule.
func nameOf(c rules.Config) string { return cmp.Or(c.Name, c.Receiver) }
