package configfile

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tallymanhq/tallyman/internal/secret"
)

// Mask stands for what is not shown.
const Mask = "***"

// references are those whose own text is no secret, with the default that a
// variable may have.
var references = regexp.MustCompile(`\$\{(?:env:|file:)?([^{}:]+)(:-[^{}]*)?\}`)

// Masked is a configuration without what looks like a secret, by its key or by its
// form. References to the environment and to files stay, but for their defaults.
// known are words that only look like secrets, such as the container's id.
func Masked(config map[string]any, known ...string) map[string]any {
	m := masker{known: known}
	result, _ := m.value(config, false).(map[string]any)
	return result
}

// Text writes a configuration as YAML, each line after indent; "" for an empty one.
func Text(config map[string]any, indent string) (string, error) {
	if len(config) == 0 {
		return "", nil
	}
	var b, out strings.Builder
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(config); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	for line := range strings.Lines(b.String()) {
		out.WriteString(indent + line)
	}
	return out.String(), nil
}

type masker struct{ known []string }

// value masks one value; isSecret: a key above it says so.
func (m masker) value(value any, isSecret bool) any {
	switch v := value.(type) {
	case map[string]any:
		result := make(map[string]any, len(v))
		for key, below := range v {
			result[key] = m.value(below, isSecret || secret.SensitiveName(key))
		}
		return result
	case []any:
		result := make([]any, len(v))
		isNext := false // the value of the flag before it: args: [--token, abc]
		for i, below := range v {
			result[i] = m.value(below, isSecret || isNext)
			flag, isText := below.(string)
			isNext = isText && strings.HasPrefix(flag, "-") && !strings.Contains(flag, "=") && secret.SensitiveName(flag)
		}
		return result
	case map[any]any: // of yaml, where a key is no text
		named := make(map[string]any, len(v))
		for key, below := range v {
			named[fmt.Sprint(key)] = below
		}
		return m.value(named, isSecret)
	case bool, nil:
		return v
	case string:
		return m.text(v, isSecret)
	}
	if isSecret {
		return Mask
	}
	return value
}

// text shows references, and the rest if nothing says that it is a secret.
func (m masker) text(text string, isSecret bool) string {
	if text == "" {
		return text
	}
	rest := references.ReplaceAllString(text, "")
	for _, word := range m.known {
		if word != "" {
			rest = strings.ReplaceAll(rest, word, "")
		}
	}
	if rest != "" && (isSecret || secret.Likely([]byte(rest))) {
		return Mask
	}
	return references.ReplaceAllStringFunc(text, func(one string) string {
		parts := references.FindStringSubmatch(one)
		fallback := strings.TrimPrefix(parts[2], ":-")
		if fallback == "" || !isSecret && !secret.Likely([]byte(fallback)) {
			return one
		}
		return strings.Replace(one, parts[2], ":-"+Mask, 1)
	})
}
