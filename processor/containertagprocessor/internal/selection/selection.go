package selection

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/glob"
)

// ErrEmptyRule is wrapped by errors about rules without any field.
var ErrEmptyRule = errors.New("a rule needs one of container_name, image, label and compose_service")

// composeService is the label by which Docker Compose names the service.
const composeService = "com.docker.compose.service"

// Rule describes containers by patterns in which * stands for any characters,
// slashes included, and ? for one. All fields that are set must match.
type Rule struct {
	// ContainerName is matched against the engine's name, in a pod against the
	// name in its specification.
	ContainerName string `mapstructure:"container_name"`
	// Image is matched against the image's name, and against the name with each
	// tag (nginx:1.25) and digest: nginx matches any version. Names on Docker
	// Hub match with and without docker.io/ and library/.
	Image string `mapstructure:"image"`
	// Label holds patterns by label; all must match. * asks for the label, with
	// whatever value.
	Label map[string]string `mapstructure:"label"`
	// ComposeService is matched against the label com.docker.compose.service.
	ComposeService string `mapstructure:"compose_service"`
}

// Selector tells whether a container is wanted.
type Selector struct {
	include, exclude []*Matcher
}

// New compiles rules. Rules of a list are alternatives. Errors name the list,
// the rule and the field: include[1].image: ...
func New(include, exclude []Rule) (*Selector, error) {
	s := &Selector{}
	for _, list := range []struct {
		name     string
		rules    []Rule
		matchers *[]*Matcher
	}{{"include", include, &s.include}, {"exclude", exclude, &s.exclude}} {
		for i, rule := range list.rules {
			m, err := Compile(rule)
			if err != nil {
				return nil, fmt.Errorf("%s[%d]%w", list.name, i, err)
			}
			*list.matchers = append(*list.matchers, m)
		}
	}
	return s, nil
}

// Any tells whether there are rules at all.
func (s *Selector) Any() bool { return len(s.include)+len(s.exclude) > 0 }

// Selected tells whether the data of a container are wanted: no exclude rule
// matches, and an include rule does if there are any. A nil container is one
// that nobody knows; no rule matches it.
func (s *Selector) Selected(con *entity.Container) bool {
	matches := func(m *Matcher) bool { return m.Match(con) }
	if slices.ContainsFunc(s.exclude, matches) {
		return false
	}
	return len(s.include) == 0 || slices.ContainsFunc(s.include, matches)
}

// Matcher is a compiled Rule. It does not change.
type Matcher struct {
	fields []field
}

// field is one condition: a pattern and what it is matched against.
type field struct {
	pattern glob.Glob
	fits    func(pattern glob.Glob, con *entity.Container) bool
}

// Compile compiles one rule. Errors begin with the field's name: .image: ...
func Compile(rule Rule) (*Matcher, error) {
	m := &Matcher{}
	for _, f := range []struct {
		name, text string
		fits       func(glob.Glob, *entity.Container) bool
	}{
		{"container_name", rule.ContainerName, fitsName},
		{"image", rule.Image, fitsImage},
		{"compose_service", rule.ComposeService, fitsLabel(composeService)},
	} {
		if f.text == "" {
			continue
		}
		pattern, err := glob.Compile(f.text)
		if err != nil {
			return nil, fmt.Errorf(".%s: %w", f.name, err)
		}
		m.fields = append(m.fields, field{pattern, f.fits})
	}
	for _, key := range slices.Sorted(maps.Keys(rule.Label)) {
		pattern, err := glob.Compile(rule.Label[key])
		if err != nil {
			return nil, fmt.Errorf(".label[%s]: %w", key, err)
		}
		m.fields = append(m.fields, field{pattern, fitsLabel(key)})
	}
	if len(m.fields) == 0 {
		return nil, fmt.Errorf(": %w", ErrEmptyRule)
	}
	return m, nil
}

// Match tells whether all of the rule's fields match. A nil container matches
// nothing.
func (m *Matcher) Match(con *entity.Container) bool {
	if con == nil {
		return false
	}
	for _, f := range m.fields {
		if !f.fits(f.pattern, con) {
			return false
		}
	}
	return true
}

func fitsName(pattern glob.Glob, con *entity.Container) bool {
	name := con.Name
	if name == "" && con.Pod != nil {
		name = con.Pod.Container
	}
	return name != "" && pattern.Match(name)
}

func fitsLabel(key string) func(glob.Glob, *entity.Container) bool {
	return func(pattern glob.Glob, con *entity.Container) bool {
		value, ok := con.Labels[key]
		return ok && pattern.Match(value)
	}
}

func fitsImage(pattern glob.Glob, con *entity.Container) bool {
	if con.Image.Name == "" {
		return false
	}
	for _, name := range imageNames(con.Image.Name) {
		if pattern.Match(name) {
			return true
		}
		for _, tag := range con.Image.Tags {
			if pattern.Match(name + ":" + tag) {
				return true
			}
		}
	}
	return slices.ContainsFunc(con.Image.Digests, pattern.Match)
}

// imageNames returns the name as it was written, and as people know it if it is
// on Docker Hub: containerd always writes docker.io/library/nginx.
func imageNames(name string) []string {
	names := []string{name}
	if short, ok := strings.CutPrefix(name, "docker.io/"); ok {
		names = append(names, short)
		name = short
	}
	if short, ok := strings.CutPrefix(name, "library/"); ok {
		names = append(names, short)
	}
	return names
}
