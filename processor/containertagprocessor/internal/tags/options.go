package tags

import (
	"fmt"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/selection"
)

const (
	// DefaultMaxAttributes is the number of attributes of one resource, from
	// here. A container of a compose project has 14 without rules.
	DefaultMaxAttributes = 64
	// mostAttributes is the largest cap: keeping them sorted takes the square of
	// their number.
	mostAttributes = 1024
	// DefaultMaxValueLength is in bytes. The longest names that are well-formed
	// fit: an image reference of 255 bytes with its digest, a host name, an ARN.
	// What is longer is a document, or an executable in deep folders. With 64
	// attributes a container takes 64 KiB at the very most.
	DefaultMaxValueLength = 1024
)

// Options are what the operator wants of containers. The zero value gives the
// attributes of the table at the high level.
type Options struct {
	// Labels, Env, Annotations and PodLabels name what is taken over besides.
	Labels      Rules `mapstructure:"labels"`
	Env         Rules `mapstructure:"env"`
	Annotations Rules `mapstructure:"annotations"`
	PodLabels   Rules `mapstructure:"pod_labels"`
	// Aliases name containers; the first that matches counts.
	Aliases []Alias `mapstructure:"aliases"`
	// Cardinality is the highest level of attributes; high by default.
	Cardinality Level `mapstructure:"cardinality"`
	// MaxAttributes is how many attributes one resource gets at most, 64 by
	// default and 1024 at most.
	MaxAttributes int `mapstructure:"max_attributes"`
	// MaxValueLength is in bytes, 1024 by default. Values are cut between
	// characters.
	MaxValueLength int `mapstructure:"max_value_length"`
	// Evidence adds by what a technology was recognised. It is recognition.evidence
	// in the configuration.
	Evidence bool `mapstructure:"-"`
}

// Rules name labels, variables or annotations by their keys.
type Rules struct {
	// Allow holds patterns (* and ?) of keys whose values become attributes
	// under the key's own name: container.label.<key> and so on.
	Allow []string `mapstructure:"allow"`
	// Deny holds patterns of keys that are never read, whoever asks for them.
	Deny []string `mapstructure:"deny"`
	// Attributes gives a key an attribute of the operator's choice. Such
	// attributes are of the low level and come before all others.
	Attributes map[string]string `mapstructure:"attributes"`
}

// Alias gives the containers that match the attribute container.alias.
type Alias struct {
	Match selection.Rule `mapstructure:",squash"`
	// Name is what it is called.
	Name string `mapstructure:"name"`
}

// Level is how many values an attribute takes. The words are DogStatsD's.
type Level int

// The levels. Each includes those before it.
const (
	// None switches attributes off.
	None Level = iota + 1
	// Low is for what many containers share: image, service, namespace.
	Low
	// Orchestrator is for what is new with each pod or task.
	Orchestrator
	// High is for what is new with each container, and for what nobody knows.
	High
)

// String returns the word of the level.
func (l Level) String() string {
	switch l {
	case None:
		return "none"
	case Low:
		return "low"
	case Orchestrator:
		return "orchestrator"
	case High:
		return "high"
	}
	return fmt.Sprintf("level %d", int(l))
}

// UnmarshalText reads none, low, orchestrator (or orch) and high.
func (l *Level) UnmarshalText(text []byte) error {
	switch string(text) {
	case "none":
		*l = None
	case "low":
		*l = Low
	case "orchestrator", "orch":
		*l = Orchestrator
	case "high":
		*l = High
	default:
		return fmt.Errorf("read cardinality %q: it is none of none, low, orchestrator and high", text)
	}
	return nil
}

// MarshalText returns the word of the level.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
