package aggregate

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Policy decides about a name when it is seen for the first time with some tags.
// It must be safe for concurrent use if several tables have it.
type Policy interface {
	// Apply returns what becomes of a name, and whether it is wanted at all.
	Apply(name string) (m Mapped, keep bool)
}

// Mapped is what a policy made of a name.
type Mapped struct {
	// Name is valid UTF-8 and not empty.
	Name string
	// Tags come on top of those that were sent.
	Tags []Tag
}

// Tag is one tag of a [Mapped]: valid UTF-8.
type Tag struct{ Key, Value string }

// Mapping gives names that match a pattern another name and tags.
type Mapping struct {
	// Match is a name in which each * stands for some characters without a dot.
	Match string
	// Name is the new name. $1 stands for what the first * was, and is
	// written ${1} before a letter, a digit or an underscore. $$ is a dollar sign.
	Name string
	// Tags are added; $1 works as in Name.
	Tags []Tag
}

// Rules are what [NewPolicy] knows. A name is mapped by the first mapping that
// matches, then gets the prefix, then is compared with what is blocked.
type Rules struct {
	Mappings []Mapping
	// Prefix is put before each name, but for names that begin with one of Exempt.
	Prefix string
	Exempt []string
	// Block are names that are dropped; * stands for any characters.
	Block []string
}

// cachedNames is what Datadog's own cache of mapped names holds by default.
const cachedNames = 1000

// rules is the compiled form. Its cache is a ring: the oldest name makes room.
type rules struct {
	mappings []mapper
	block    []*regexp.Regexp
	prefix   string
	exempt   []string

	mu     sync.Mutex // guards the cache
	cached map[string]verdict
	ring   []string
	oldest int
}

type mapper struct {
	pattern *regexp.Regexp
	Mapping
}

type verdict struct {
	Mapped
	keep bool
}

// NewPolicy compiles rules. The policy is safe for concurrent use.
func NewPolicy(r Rules) (Policy, error) {
	p := &rules{prefix: r.Prefix, exempt: r.Exempt, cached: map[string]verdict{}}
	for _, m := range r.Mappings {
		if m.Match == "" || m.Name == "" || strings.Contains(m.Match, "**") {
			return nil, fmt.Errorf("compile mapping %q to %q: both must be given, and no * may follow another", m.Match, m.Name)
		}
		if err := m.checkReferences(); err != nil {
			return nil, err
		}
		p.mappings = append(p.mappings, mapper{glob(m.Match, `([^.]*)`), m})
	}
	for _, pattern := range r.Block {
		if pattern == "" {
			return nil, fmt.Errorf("compile block list: a name is empty")
		}
		p.block = append(p.block, glob(pattern, `.*`))
	}
	return p, nil
}

// reference is what stands for a part of the name.
var reference = regexp.MustCompile(`\$(?:\$|\{?(\w*))`)

// checkReferences refuses what would silently be nothing.
func (m *Mapping) checkReferences() error {
	texts := []string{m.Name}
	for _, t := range m.Tags {
		texts = append(texts, t.Value)
	}
	stars := strings.Count(m.Match, "*")
	for _, text := range texts {
		for _, found := range reference.FindAllStringSubmatch(text, -1) {
			if found[0] == "$$" {
				continue
			}
			if n, err := strconv.Atoi(found[1]); err != nil || n < 1 || n > stars {
				return fmt.Errorf("compile mapping %q: %q in %q stands for none of its %d *", m.Match, found[0], text, stars)
			}
		}
	}
	return nil
}

// glob makes an expression of a pattern: all is literal but *.
func glob(pattern, star string) *regexp.Regexp {
	quoted := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, star)
	return regexp.MustCompile(`(?s)^` + quoted + `$`)
}

func (p *rules) Apply(name string) (Mapped, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.cached[name]
	if ok {
		return v.Mapped, v.keep
	}
	v.Mapped = p.mapped(name)
	if !p.isExempt(v.Name) {
		v.Name = p.prefix + v.Name
	}
	v.keep = !p.isBlocked(v.Name)
	p.remember(name, v)
	return v.Mapped, v.keep
}

func (p *rules) mapped(name string) Mapped {
	for _, m := range p.mappings {
		found := m.pattern.FindStringSubmatchIndex(name)
		if found == nil {
			continue
		}
		expand := func(template string) string {
			return string(m.pattern.ExpandString(nil, template, name, found))
		}
		to := Mapped{Name: expand(m.Name)}
		if to.Name == "" {
			continue // what its * stood for was empty, and a name must not be
		}
		for _, t := range m.Tags {
			to.Tags = append(to.Tags, Tag{t.Key, expand(t.Value)})
		}
		return to
	}
	return Mapped{Name: name}
}

func (p *rules) isExempt(name string) bool {
	for _, start := range p.exempt {
		if strings.HasPrefix(name, start) {
			return true
		}
	}
	return false
}

func (p *rules) isBlocked(name string) bool {
	for _, pattern := range p.block {
		if pattern.MatchString(name) {
			return true
		}
	}
	return false
}

func (p *rules) remember(name string, v verdict) {
	if len(p.ring) < cachedNames {
		p.ring = append(p.ring, name)
	} else {
		delete(p.cached, p.ring[p.oldest])
		p.ring[p.oldest] = name
		p.oldest = (p.oldest + 1) % cachedNames
	}
	p.cached[name] = v
}
