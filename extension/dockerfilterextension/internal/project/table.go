package project

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
)

//go:embed tables.txt
var tablesText string

var errTable = errors.New("malformed table")

// node is one place of a table: a field, the elements of a list, or the values
// of a map. Exactly one of rule.read, each and fields says what is there. Nodes
// do not change once Compile has made them.
type node struct {
	path   string // "container.inspect Config.Env[]", for errors
	quoted []byte // `"Env":`, as it is written
	field  int    // number of the redaction counter

	rule   rule
	class  func(*pass, []byte) bool // of the keys of a map; nil for a list
	each   *node
	fields map[string]*node

	subject  bool   // one of fields says which container an element is
	envelope bool   // lists within are handled element by element
	name     string // the last segment, for rules that serve several fields
	note     string // why text may be seen
}

// loader turns the text of the tables into nodes, for one set of options.
type loader struct {
	options  map[string]bool
	sections map[string][]string
	tables   map[string]*node
	open     map[string]bool // sections that are being read, to find circles
	numbers  map[string]int  // of the redaction counters
	fields   []string        // their names
}

// loadTables reads all sections of text. The options named true are those that
// lines ask for with ?name, and that exclude lines with !name.
func loadTables(text string, options map[string]bool) (*loader, error) {
	l := &loader{
		options:  options,
		sections: map[string][]string{},
		tables:   map[string]*node{},
		open:     map[string]bool{},
		numbers:  map[string]int{},
	}
	if err := l.split(text); err != nil {
		return nil, err
	}
	for name := range l.sections {
		if _, err := l.table(name); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// split sorts the lines by section. The header stays as the first line.
func (l *loader) split(text string) error {
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, rest, ok := strings.Cut(line, "]"); ok && line[0] == '[' {
			section = name[1:]
			if l.sections[section] != nil {
				return fmt.Errorf("read section %q twice: %w", section, errTable)
			}
			l.sections[section] = []string{strings.TrimSpace(rest)}
			continue
		}
		if section == "" {
			return fmt.Errorf("read %q before any section: %w", line, errTable)
		}
		l.sections[section] = append(l.sections[section], line)
	}
	return nil
}

func (l *loader) table(name string) (*node, error) {
	if table := l.tables[name]; table != nil {
		return table, nil
	}
	lines := l.sections[name]
	if lines == nil || l.open[name] {
		return nil, fmt.Errorf("find section %q, or one that does not contain itself: %w", name, errTable)
	}
	l.open[name] = true
	table := &node{path: name, fields: map[string]*node{}}
	switch lines[0] {
	case "":
	case "envelope":
		table.envelope = true
	default:
		return nil, fmt.Errorf("read header of %s: %q: %w", name, lines[0], errTable)
	}
	for _, line := range lines[1:] {
		if err := l.line(table, line); err != nil {
			return nil, fmt.Errorf("read line %q of %s: %w", line, name, err)
		}
	}
	l.tables[name] = table
	return table, nil
}

// line reads `path rule [?option] [| note]`.
func (l *loader) line(table *node, line string) error {
	definition, note, _ := strings.Cut(line, "|")
	words := strings.Fields(definition)
	if len(words) < 2 || len(words) > 3 {
		return errTable
	}
	if len(words) == 3 {
		want := words[2][0] == '?'
		have, known := l.options[words[2][1:]]
		if !known || !want && words[2][0] != '!' {
			return fmt.Errorf("%w: option %q", errTable, words[2])
		}
		if want != have {
			return nil
		}
	}
	segments, err := splitPath(words[0])
	if err != nil {
		return err
	}
	leaf, err := l.descend(table, segments)
	if err != nil {
		return err
	}
	// Only the id of the element itself decides about it.
	table.subject = table.subject || words[1] == "subject" && len(segments) == 1
	return l.assign(leaf, words[1], strings.TrimSpace(note))
}

// assign makes a node, which must be a new one, what the rule says.
func (l *loader) assign(leaf *node, name, note string) error {
	if leaf.rule.read != nil || leaf.each != nil || leaf.fields != nil {
		return fmt.Errorf("%w: place is already taken", errTable)
	}
	if include, ok := strings.CutPrefix(name, "@"); ok {
		table, err := l.table(include)
		if err != nil {
			return err
		}
		leaf.fields, leaf.subject = table.fields, table.subject
		return nil
	}
	known, ok := ruleNamed(name)
	if !ok {
		return fmt.Errorf("%w: no rule %q", errTable, name)
	}
	if known.verbatim && note == "" {
		return fmt.Errorf("%w: rule %s needs the reason why anybody may see the text", errTable, name)
	}
	leaf.rule, leaf.note = known, note
	return nil
}

// segment is a part of a path: the name of a field and, below it, lists ("")
// and maps (the class of their keys).
type segment struct {
	name   string
	nested []string
}

func splitPath(path string) ([]segment, error) {
	var segments []segment
	for path != "" {
		var s segment
		if quoted, ok := strings.CutPrefix(path, `"`); ok {
			s.name, path, _ = strings.Cut(quoted, `"`)
		} else {
			end := strings.IndexAny(path, ".[{")
			if end < 0 {
				end = len(path)
			}
			s.name, path = path[:end], path[end:]
		}
		for path != "" && path[0] != '.' {
			end := strings.IndexAny(path, "]}")
			if end < 0 || path[0] != '[' && path[0] != '{' {
				return nil, fmt.Errorf("%w: path goes wrong at %q", errTable, path)
			}
			s.nested = append(s.nested, path[1:end])
			path = path[end+1:]
		}
		path = strings.TrimPrefix(path, ".")
		if s.name == "" {
			return nil, fmt.Errorf("%w: a segment has no name", errTable)
		}
		segments = append(segments, s)
	}
	return segments, nil
}

// descend returns the node of a path, and makes those on the way.
func (l *loader) descend(table *node, segments []segment) (*node, error) {
	at, plain := table, ""
	for _, s := range segments {
		if at.rule.read != nil || at.each != nil {
			return nil, fmt.Errorf("%w: %s is no object", errTable, at.path)
		}
		if at.fields == nil {
			at.fields = map[string]*node{}
		}
		plain = strings.TrimPrefix(plain+"."+s.name, ".")
		next := at.fields[s.name]
		if next == nil {
			next = &node{path: table.path + " " + plain, name: s.name, field: l.number(plain)}
			next.quoted = append(appendQuoted(nil, s.name), ':')
			// Only the lists that are fields of the envelope itself.
			next.envelope = at.envelope
			at.fields[s.name] = next
		}
		at = next
		for _, class := range s.nested {
			var err error
			if at, err = at.nest(class); err != nil {
				return nil, err
			}
		}
	}
	return at, nil
}

// nest returns the node of the elements or values below at.
func (at *node) nest(class string) (*node, error) {
	if at.rule.read != nil || at.fields != nil {
		return nil, fmt.Errorf("%w: %s is no list", errTable, at.path)
	}
	if at.each == nil {
		at.each = &node{path: at.path + "[]", name: at.name, field: at.field}
		if class != "" {
			at.each.path = at.path + "{}"
			at.class = classNamed(class)
			if at.class == nil {
				return nil, fmt.Errorf("%w: no class %q", errTable, class)
			}
		}
	} else if (at.class == nil) != (class == "") {
		return nil, fmt.Errorf("%w: %s is both list and map", errTable, at.path)
	}
	return at.each, nil
}

// number returns the number of the redaction counter with that name.
func (l *loader) number(name string) int {
	n, ok := l.numbers[name]
	if !ok {
		n = len(l.fields)
		l.numbers[name] = n
		l.fields = append(l.fields, name)
	}
	return n
}
