package tags

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/glob"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
)

// Compiler makes attributes of containers and pods.
type Compiler struct {
	rules     [kinds]rules
	aliases   []alias
	level     Level
	max       int // attributes
	maxValue  int // bytes
	maxText   int // bytes of a text that holds many attributes
	rows      map[string]row
	mapped    Level // of attributes that the operator has named
	adTags    Level
	carried   Level // of attributes that only the application knows
	evidence  bool
	aliasRank Level
}

type alias struct {
	match *selection.Matcher
	name  string
}

// rules are compiled Rules.
type rules struct {
	allow, deny glob.List
	mapped      []mapping // sorted by key
	prefix      string    // of allowed keys
	level       Level     // of allowed keys
}

type mapping struct{ key, attribute string }

// New checks and compiles options. Errors begin with the field, in the spelling
// of the configuration: labels.allow[2]: ...
func New(o Options) (*Compiler, error) {
	c := &Compiler{level: o.Cardinality, max: o.MaxAttributes, maxValue: o.MaxValueLength, evidence: o.Evidence, rows: map[string]row{}}
	if err := c.setCaps(); err != nil {
		return nil, err
	}
	for _, r := range table {
		// An attribute in two rows has its first row's level when others name it.
		if _, ok := c.rows[r.key]; !ok {
			c.rows[r.key] = r
		}
	}
	c.mapped, c.adTags = c.rows[rowMapped].level, c.rows[rowADTags].level
	c.carried, c.aliasRank = c.rows[rowCarried].level, c.rows["container.alias"].level
	for kind, given := range [kinds]Rules{labels: o.Labels, env: o.Env, podLabels: o.PodLabels, annotations: o.Annotations} {
		compiled, err := compileRules(kind, given)
		if err != nil {
			return nil, fmt.Errorf("%s.%w", kindNames[kind], err)
		}
		row := rowsOfKinds[kind]
		compiled.prefix, compiled.level = strings.TrimSuffix(row, anyKey), c.rows[row].level
		c.rules[kind] = compiled
	}
	for i, a := range o.Aliases {
		match, err := selection.Compile(a.Match)
		if err != nil {
			return nil, fmt.Errorf("aliases[%d]%w", i, err)
		}
		if a.Name == "" {
			return nil, fmt.Errorf("aliases[%d].name: it is empty", i)
		}
		c.aliases = append(c.aliases, alias{match, a.Name})
	}
	return c, nil
}

func (c *Compiler) setCaps() error {
	if c.level == 0 {
		c.level = High
	}
	if c.max == 0 {
		c.max = DefaultMaxAttributes
	}
	if c.maxValue == 0 {
		c.maxValue = DefaultMaxValueLength
	}
	switch {
	case c.level < None || c.level > High:
		return fmt.Errorf("cardinality: there is no %s", c.level)
	case c.max < 0 || c.max > mostAttributes:
		return fmt.Errorf("max_attributes: %d is not between 1 and %d", c.max, mostAttributes)
	case c.maxValue < 0:
		return fmt.Errorf("max_value_length: %d is negative", c.maxValue)
	}
	c.maxText = c.max * (longestKey + c.maxValue)
	return nil
}

func compileRules(kind int, given Rules) (r rules, err error) {
	if r.allow, err = glob.CompileList(given.Allow); err != nil {
		return r, fmt.Errorf("allow%w", err)
	}
	if r.deny, err = glob.CompileList(given.Deny); err != nil {
		return r, fmt.Errorf("deny%w", err)
	}
	for i, pattern := range given.Allow {
		if kind == env && !isVariable(pattern) {
			return r, fmt.Errorf("allow[%d]: %q cannot be part of a variable's name", i, pattern)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(given.Attributes)) {
		attribute := given.Attributes[key]
		switch {
		case key == "" || strings.ContainsAny(key, "*?"):
			return r, fmt.Errorf("attributes[%s]: name one key, without * and ?", key)
		case kind == env && !isVariable(key):
			return r, fmt.Errorf("attributes[%s]: it cannot be a variable's name", key)
		case attribute == "" || len(attribute) > longestKey:
			return r, fmt.Errorf("attributes[%s]: the attribute's name has %d bytes, not 1 to %d", key, len(attribute), longestKey)
		case attribute == containerID:
			return r, fmt.Errorf("attributes[%s]: %s says which container it is, and cannot be set", key, containerID)
		}
		r.mapped = append(r.mapped, mapping{key, attribute})
	}
	return r, nil
}

// isVariable tells whether docker_filter takes a text as (a pattern of) a
// variable's name.
func isVariable(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || c == '=' || c == ',' {
			return false
		}
	}
	return true
}

// EnvNames returns the variables that the table and the rules read, sorted, as
// docker_filter's env_allow understands them: * stands for any characters. It
// knows no ?, so a * takes its place.
func (c *Compiler) EnvNames() []string {
	var names []string
	for _, r := range table {
		for _, o := range r.from {
			names = append(names, o.variables...)
		}
	}
	for _, m := range c.rules[env].mapped {
		names = append(names, m.key)
	}
	for _, g := range c.rules[env].allow {
		names = append(names, strings.ReplaceAll(g.String(), "?", "*"))
	}
	names = slices.DeleteFunc(names, c.rules[env].deny.Match)
	slices.Sort(names)
	return slices.Compact(names)
}

// Container returns the attributes of a container, container.id aside. The pod
// may be nil.
func (c *Compiler) Container(con *entity.Container, pod *entity.Pod) *Set {
	b := &builder{c: c}
	if c.level == None {
		return &b.set
	}
	in := b.input(con, pod)
	for kind := range c.rules {
		b.addMapped(in, kind)
	}
	b.addAlias(con)
	for _, r := range table {
		b.addRow(in, r)
	}
	for kind := range c.rules {
		b.addAllowed(in, kind)
	}
	b.addTagLists(in)
	b.addCarried(in)
	return &b.set
}

// Recognised returns the attributes of a container of which nothing is known but
// what it was recognised as.
func (c *Compiler) Recognised(t *entity.Technology) *Set {
	b := &builder{c: c}
	in := b.input(&entity.Container{Technology: t}, nil)
	for _, r := range table {
		if r.key == technologyKey || r.evidence {
			b.addRow(in, r)
		}
	}
	return &b.set
}

// Pod returns the attributes of a pod, for data that name no container of it.
func (c *Compiler) Pod(pod *entity.Pod) *Set {
	return c.Container(&entity.Container{}, pod)
}

func (b *builder) addMapped(in *input, kind int) {
	for _, m := range b.c.rules[kind].mapped {
		b.put(item{key: m.attribute, value: in.get(kind, m.key), source: m.key, level: b.c.mapped, claim: true, exact: true})
	}
}

func (b *builder) addAlias(con *entity.Container) {
	for _, a := range b.c.aliases {
		if a.match.Match(con) {
			b.put(item{key: "container.alias", value: a.name, level: b.c.aliasRank, claim: true})
			return
		}
	}
}

// addRow sets an attribute from the first of its origins that has one to give.
func (b *builder) addRow(in *input, r row) {
	if r.level > b.c.level || r.evidence && !b.shows(in.recognised.Name) {
		return
	}
	for _, o := range r.from {
		done := false
		if o.list != nil {
			done = b.putList(r.key, o.list(in))
		} else {
			done = b.put(item{key: r.key, value: o.get(in), level: r.level, claim: r.claim})
		}
		if done {
			return
		}
	}
}

// shows tells whether evidence is asked for, and is of the technology that is there:
// somebody else may have said another.
func (b *builder) shows(recognised string) bool {
	at, found := b.search(technologyKey)
	return b.c.evidence && found && b.set.Attributes[at].Value == recognised
}

// addAllowed takes over what the rules allow, under its own name.
func (b *builder) addAllowed(in *input, kind int) {
	r := &b.c.rules[kind]
	if len(r.allow) == 0 || r.level > b.c.level {
		return
	}
	var keys []string
	for key := range in.values[kind] {
		if len(key) > longestKey {
			b.set.Cut.Malformed++
			continue
		}
		if r.allow.Match(key) && !r.deny.Match(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for i, key := range keys {
		if b.full() {
			b.set.Cut.AttributeCount += len(keys) - i
			return
		}
		b.put(item{
			key: r.prefix + key, value: in.values[kind][key], source: key, level: r.level, claim: true,
			// A label may say something by being there. A variable does not.
			empty: kind != env,
		})
	}
}

// addCarried adds what an application carries with it and no row has taken:
// the rest of OTEL_RESOURCE_ATTRIBUTES, and of the annotations that the
// conventions translate.
func (b *builder) addCarried(in *input) {
	for _, key := range slices.Sorted(maps.Keys(in.resource)) {
		b.put(item{key: key, value: in.resource[key], source: key, level: b.levelOf(key), claim: true, carried: true})
	}
	var keys []string
	for key := range in.values[annotations] {
		if strings.HasPrefix(key, resourceAnnotation) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		name := strings.TrimPrefix(key, resourceAnnotation)
		b.put(item{key: name, value: in.get(annotations, key), source: key, level: b.levelOf(name), claim: true, carried: true})
	}
}

// levelOf returns the level of an attribute that somebody else has named: the
// table's, or that of the unknown.
func (b *builder) levelOf(key string) Level {
	if r, ok := b.c.rows[key]; ok {
		return r.level
	}
	return b.c.carried
}
