package hints

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tallymanhq/tallyman/internal/secret"
)

// setting holds a value against what a label may give, and returns it as the
// receiver takes it. Its error quotes nothing that may be a secret.
type setting func(value any) (any, error)

// settings are those of one place in a configuration, by their keys. What is not
// among them is refused.
type settings map[string]setting

// take returns config with each value as its setting has it. of says whose they
// are.
func (s settings) take(config map[string]any, of string) (map[string]any, error) {
	taken := make(map[string]any, len(config))
	for _, key := range sortedKeys(config) {
		hold, ok := s[key]
		if !ok {
			return nil, fmt.Errorf("%.100q is no setting that a label may give to %s (write a rule)", key, of)
		}
		value, err := hold(config[key])
		if err != nil {
			return nil, fmt.Errorf("%.100q: %w", key, err)
		}
		taken[key] = value
	}
	return taken, nil
}

// with returns s and more.
func (s settings) with(more settings) settings {
	all := make(settings, len(s)+len(more))
	for _, from := range []settings{s, more} {
		for key, hold := range from {
			all[key] = hold
		}
	}
	return all
}

// table is a map of settings within another.
func table(s settings, of string) setting {
	return func(value any) (any, error) {
		config, ok := value.(map[string]any)
		if !ok {
			return nil, errors.New("is no map of settings")
		}
		return s.take(config, of)
	}
}

// list is a list of at most most values.
func list(most int, one setting) setting {
	return func(value any) (any, error) {
		values, ok := value.([]any)
		if !ok {
			return nil, errors.New("is no list")
		}
		if len(values) > most {
			return nil, fmt.Errorf("has more than %d entries", most)
		}
		taken := make([]any, 0, len(values))
		for i, v := range values {
			t, err := one(v)
			if err != nil {
				return nil, fmt.Errorf("entry %d: %w", i+1, err)
			}
			taken = append(taken, t)
		}
		return taken, nil
	}
}

// named is a map of at most most values under names of the container's choice.
func named(most int, name func(string) error, one setting) setting {
	return func(value any) (any, error) {
		values, ok := value.(map[string]any)
		if !ok {
			return nil, errors.New("is no map")
		}
		if len(values) > most {
			return nil, fmt.Errorf("has more than %d entries", most)
		}
		taken := make(map[string]any, len(values))
		for _, key := range sortedKeys(values) {
			if err := name(key); err != nil {
				return nil, fmt.Errorf("%.100q: %w", key, err)
			}
			t, err := one(values[key])
			if err != nil {
				return nil, fmt.Errorf("%.100q: %w", key, err)
			}
			taken[key] = t
		}
		return taken, nil
	}
}

// flag is true or false.
func flag(value any) (any, error) {
	if _, ok := value.(bool); !ok {
		return nil, errors.New("is neither true nor false")
	}
	return value, nil
}

// oneOf is one of a few words.
func oneOf(words ...string) setting {
	return func(value any) (any, error) {
		if text, ok := value.(string); ok && slices.Contains(words, text) {
			return value, nil
		}
		return nil, fmt.Errorf("is none of %s", strings.Join(words, ", "))
	}
}

// text is a constant of at most longest bytes on one line.
func text(longest int) setting {
	return func(value any) (any, error) {
		s, ok := value.(string)
		switch {
		case !ok:
			return nil, errors.New("is no text")
		case len(s) > longest:
			return nil, fmt.Errorf("is longer than %d bytes", longest)
		}
		return s, checkText(s)
	}
}

var errExpression = errors.New("holds an expression, which labels may not (write a rule)")

// checkText lets texts pass that say nothing but what is written there.
func checkText(s string) error {
	isControl := func(c rune) bool { return unicode.IsControl(c) && c != '\t' }
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, isControl):
		return errors.New("has bytes that are no text")
	case strings.Contains(s, "${"):
		return errProvider
	case strings.Contains(s, "EXPR("):
		return errExpression
	case secret.Certain([]byte(s)):
		return errSecretValue
	}
	return nil
}

// constant is a text, a number or a truth.
func constant(longest int) setting {
	word := text(longest)
	return func(value any) (any, error) {
		switch v := value.(type) {
		case float64:
			if !isFinite(v) { // .nan is not equal to itself: its receiver would never stay
				return nil, errNotFinite
			}
			return value, nil
		case bool, int:
			return value, nil
		case string:
			return word(value)
		}
		return nil, errors.New("is neither text nor number nor true or false")
	}
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// duration is a text with its unit, from shortest to longest.
func duration(shortest, longest time.Duration) setting {
	return func(value any) (any, error) {
		s, ok := value.(string)
		d, err := time.ParseDuration(s)
		switch {
		case !ok || err != nil:
			return nil, errors.New("is no duration (write it like 10s)")
		case d < shortest:
			return nil, fmt.Errorf("is %v, below %v, which is the least that a label may give", d, shortest)
		case d > longest:
			return nil, fmt.Errorf("is %v, above %v, which is the most that a label may give", d, longest)
		}
		return s, nil
	}
}

// span is how long a duration is that was held against its bounds.
func span(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0 // it was none that duration lets pass
	}
	return d
}

// number is a whole one from least to most.
func number(least, most int) setting {
	return func(value any) (any, error) {
		n, ok := value.(int)
		switch {
		case !ok:
			return nil, errors.New("is no whole number that a label may give")
		case n < least || n > most:
			return nil, fmt.Errorf("is %d, a label may give %d to %d", n, least, most)
		}
		return n, nil
	}
}

// sizeText is a number of bytes with its unit. Units are taken as powers of 1024,
// the larger of the two ways to read them.
var sizeText = regexp.MustCompile(`^([0-9]{1,9}) ?([kKmM]?)(i?[bB])?$`)

// size is a number of bytes, which it returns, from least to most.
func size(least, most int) setting {
	inRange := number(least, most)
	return func(value any) (any, error) {
		s, ok := value.(string)
		if !ok {
			return inRange(value)
		}
		m := sizeText.FindStringSubmatch(s)
		if m == nil {
			return nil, errors.New("is no size that a label may give (write it like 16KiB)")
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, errors.New("is no size")
		}
		switch strings.ToLower(m[2]) {
		case "k":
			n <<= 10
		case "m":
			n <<= 20
		}
		return inRange(n)
	}
}
