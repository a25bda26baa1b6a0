package configfile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// expander replaces references as the Collector's resolver does (confmap,
// expand.go): the innermost ${...} first, anew in what comes of it.
type expander struct {
	lookup func(string) (string, bool)
	unset  []string
	// followed: some of the values come from elsewhere, and may be secrets.
	followed bool
}

// expanded is what stood behind a reference that was a whole value: text is for
// settings that are text, value for all others.
type expanded struct {
	value any
	text  string
}

// mostReferences in one value; the Collector's bound is 1000. A file that refers
// to itself would have no end.
const mostReferences = 1000

var errEndless = errors.New("too many references in one value")

// heldBack are the parts of a rule in which references stay: there secrets are.
var heldBack = []string{"config", "resource_attributes"}

// receiver expands a receiver's settings, but for what is held back.
func (e *expander) receiver(value any) (any, error) {
	value, err := e.whole(value)
	settings, isMap := value.(map[string]any)
	if err != nil || !isMap {
		return value, err
	}
	result := maps.Clone(settings)
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if key == "rules" {
			result[key], err = e.rules(settings[key])
		} else {
			result[key], err = e.expand(settings[key])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return result, nil
}

func (e *expander) rules(value any) (any, error) {
	value, err := e.whole(value)
	rules, isList := value.([]any)
	if err != nil || !isList {
		return value, err
	}
	result := make([]any, len(rules))
	for i, one := range rules {
		if result[i], err = e.rule(one); err != nil {
			return nil, fmt.Errorf("%s: %w", ruleIndex(i), err)
		}
	}
	return result, nil
}

func (e *expander) rule(value any) (any, error) {
	value, err := e.whole(value)
	rule, isMap := value.(map[string]any)
	if err != nil || !isMap {
		return value, err
	}
	result := maps.Clone(rule)
	for _, key := range slices.Sorted(maps.Keys(rule)) {
		if slices.Contains(heldBack, key) {
			// A whole configuration from a file is still one; only what is in it stays.
			result[key], err = e.whole(rule[key])
			result[key] = unescape(result[key])
		} else {
			result[key], err = e.expand(rule[key])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return result, nil
}

// whole expands a value that is a reference and nothing else, and nothing below it.
func (e *expander) whole(value any) (any, error) {
	if text, ok := value.(string); ok {
		value, err := e.text(text, func(below any) (any, error) { return below, nil })
		return plainOf(value), err
	}
	return value, nil
}

// expand expands a value and all below it.
func (e *expander) expand(value any) (any, error) {
	switch v := value.(type) {
	case string:
		return e.text(v, e.expand)
	case []any:
		result := make([]any, len(v))
		for i, one := range v {
			below, err := e.expand(one)
			if err != nil {
				return nil, err
			}
			result[i] = below
		}
		return result, nil
	case map[string]any:
		result := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below, err := e.expand(v[key])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			result[key] = below
		}
		return result, nil
	}
	return value, nil
}

// text expands one string; below is called with what a reference has made of it if
// that is no text.
func (e *expander) text(text string, below func(any) (any, error)) (any, error) {
	for range mostReferences {
		from, to := reference(text)
		if to == 0 {
			return unescape(text), nil
		}
		got, err := e.follow(text[from+len("${") : to-len("}")])
		if err != nil {
			return nil, err
		}
		if from > 0 || to < len(text) {
			text = text[:from] + got + text[to:]
			continue
		}
		var value any
		err = yaml.Unmarshal([]byte(got), &value)
		if _, isText := value.(string); isText || err != nil {
			text = got // verbatim, with a newline at its end
			continue
		}
		if value, err = below(textKeys(value)); err != nil {
			return nil, err
		}
		return expanded{value: value, text: got}, nil
	}
	return nil, errEndless
}

// reference finds the first ${...} that has no other in it, unless its dollar is
// escaped by another. to is 0 if there is none.
func reference(text string) (from, to int) {
	for offset := 0; ; {
		end := strings.IndexByte(text[offset:], '}')
		if end < 0 {
			return 0, 0
		}
		end += offset
		begin := strings.LastIndex(text[offset:end], "${")
		if begin >= 0 {
			begin += offset
			dollars := begin - len(strings.TrimRight(text[:begin], "$"))
			if dollars%2 == 0 {
				return begin, end + 1
			}
		}
		offset = end + 1
	}
}

var (
	errScheme      = errors.New("refers to what is read neither from the environment nor from a file")
	errNoReceivers = errors.New("has no receivers")
)

// follow returns the text behind a reference. No value is quoted in errors.
func (e *expander) follow(uri string) (string, error) {
	scheme, rest, found := strings.Cut(uri, ":")
	if !found { // ${X} is a variable
		scheme, rest = "env", uri
	}
	switch scheme {
	case "env":
		name, fallback, hasFallback := strings.Cut(rest, ":-")
		value, isSet := e.lookup(name)
		switch {
		case isSet:
			e.followed = true
			return value, nil
		case hasFallback:
			return fallback, nil
		case !slices.Contains(e.unset, name):
			e.unset = append(e.unset, name)
		}
		return "", nil
	case "file":
		e.followed = true
		content, err := os.ReadFile(rest)
		if err != nil {
			return "", fmt.Errorf("follow ${file:...}: %w", err)
		}
		return string(content), nil
	case "yaml":
		return rest, nil
	}
	return "", fmt.Errorf("%w: ${%.16s:...}", errScheme, scheme)
}

// unescape makes one dollar of two, after everything has been replaced.
func unescape(value any) any {
	switch v := value.(type) {
	case string:
		return strings.ReplaceAll(v, "$$", "$")
	case []any:
		result := make([]any, len(v))
		for i, one := range v {
			result[i] = unescape(one)
		}
		return result
	case map[string]any:
		result := make(map[string]any, len(v))
		for key, one := range v {
			result[key] = unescape(one)
		}
		return result
	}
	return value
}

// plainOf is a value without the text it came from.
func plainOf(value any) any {
	if e, ok := value.(expanded); ok {
		return e.value
	}
	return value
}
