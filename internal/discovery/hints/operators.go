package hints

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// mostOperators bounds what is done to each record.
const mostOperators = 10

// Bounds of what stands in operators, in bytes or entries. A layout of a time and
// the header of a CSV file are the longest that there are.
const (
	longestWord     = 64
	longestConstant = 256
	longestHeader   = 1024
	mostFields      = 32
	mostLevels      = 32
)

var (
	operatorID = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	// timeZone leads out of the database of time zones nowhere.
	timeZone = regexp.MustCompile(`^[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}$`)
)

// operators hold a list of operators against those that change a record by itself
// and in bounds. Left out are, beside inputs and outputs, which would read and
// write files and sockets of the host: what evaluates expressions (filter, router,
// recombine: endless work, the agent's environment), what collects records
// (recombine), what may make a record many times as long (regex_replace, copy) or
// put it into itself (copy, body).
type operators struct {
	regexes *regexes
	known   map[string]settings
	// format is how the container's output is written, see [Options].
	format string
}

func newOperators(r *regexes, format string) *operators {
	o := &operators{regexes: r, format: format}
	at := settings{"parse_from": field}
	level := at.with(settings{
		"preset": oneOf("default", "none", "aliases", "otel"), "overwrite_text": flag,
		"mapping": named(mostLevels, checkText, levels),
	})
	moment := at.with(settings{
		"layout": text(longestConstant), "layout_type": oneOf("strptime", "gotime", "epoch"), "location": matching(timeZone, "time zone"),
	})
	trace := settings{"trace_id": table(at, "trace_id"), "span_id": table(at, "span_id"), "trace_flags": table(at, "trace_flags")}
	parser := at.with(settings{
		"parse_to": field, "timestamp": table(moment, "timestamp"), "severity": table(level, "severity"), "trace": table(trace, "trace"),
	})
	o.known = map[string]settings{
		"add":        {"field": field, "value": constant(longestConstant)},
		"container":  {"format": oneOf("docker", "containerd", "crio")},
		"csv_parser": parser.with(settings{"header": text(longestHeader), "header_delimiter": text(1), "delimiter": text(1), "lazy_quotes": flag, "ignore_quotes": flag}),
		"flatten":    {"field": field}, "json_parser": parser.with(settings{"parse_ints": flag}),
		"key_value_parser": parser.with(settings{"delimiter": text(longestWord), "pair_delimiter": text(longestWord)}),
		"move":             {"from": field, "to": field},
		"regex_parser":     parser.with(settings{"regex": r.expression}),
		"remove":           {"field": field}, "retain": {"fields": list(mostFields, field)},
		"severity_parser": level, "time_parser": moment, "trace_parser": trace,
	}
	return o
}

// take returns the operators as the receiver takes them.
func (o *operators) take(value any) (any, error) {
	all, ok := value.([]any)
	if !ok {
		return nil, errors.New("are no list")
	}
	if len(all) > mostOperators {
		return nil, fmt.Errorf("are more than %d", mostOperators)
	}
	taken := make([]any, 0, len(all))
	for i, one := range all {
		operator, err := o.one(i, one)
		if err != nil {
			return nil, fmt.Errorf("operator %d: %w", i+1, err)
		}
		taken = append(taken, operator)
	}
	return taken, nil
}

func (o *operators) one(i int, value any) (any, error) {
	config, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("is no map of settings")
	}
	typ, _ := config["type"].(string)
	own, ok := o.known[typ]
	switch {
	case !ok:
		return nil, fmt.Errorf("operator %.100q is none that a label may use (write a rule)", typ)
	case config["if"] != nil:
		return nil, fmt.Errorf("%q: %w", "if", errExpression)
	case typ == "container" && i > 0:
		return nil, errors.New("operator \"container\" may only be the first")
	}
	taken, err := own.with(settings{
		"type": text(longestWord), "id": matching(operatorID, "name"),
		"on_error": oneOf("send", "drop", "send_quiet", "drop_quiet"),
	}).take(config, "the operator "+typ)
	if typ == "container" && err == nil {
		return containerParser(o.format, taken), nil
	}
	return taken, err
}

// containerParser reads what runtimes write around each line. The path of a pod's
// file tells its names; Docker's tells nothing.
func containerParser(format string, more map[string]any) map[string]any {
	config := map[string]any{
		"type": "container", "id": "container-parser", "format": format,
		"add_metadata_from_filepath": format != "docker",
	}
	for key, value := range more {
		config[key] = value
	}
	return config
}

// fieldPath is attributes or body, or what is in them: attributes.a["b.c"].
var fieldPath = regexp.MustCompile(`^(attributes|body)(\.[^.\[\]'"\s]+|\["[^"\[\]]+"\]|\['[^'\[\]]+'\])*$`)

// field is a place in a record. The resource is not: it says whose the record is.
func field(value any) (any, error) {
	s, err := text(longestConstant)(value)
	switch {
	case err != nil:
		return nil, err
	case strings.HasPrefix(strings.TrimLeft(s.(string), "$ "), "resource"):
		return nil, errors.New("is of the resource, which says whose the record is and is not a label's")
	case !fieldPath.MatchString(s.(string)):
		return nil, errors.New("is neither attributes nor body nor a field of them")
	}
	return s, nil
}

// levels are what stands for a severity: a text or a number, or a list of them.
// A range would be written out, however long.
func levels(value any) (any, error) {
	switch v := value.(type) {
	case []any:
		return list(mostLevels, levels)(v)
	case map[string]any:
		return nil, errors.New("is a range, which labels may not give (write 4xx, or the numbers)")
	}
	return constant(longestWord)(value)
}

// matching is a text of a form that has a name.
func matching(form *regexp.Regexp, what string) setting {
	return func(value any) (any, error) {
		if s, ok := value.(string); !ok || !form.MatchString(s) {
			return nil, fmt.Errorf("is no %s", what)
		}
		return value, nil
	}
}
