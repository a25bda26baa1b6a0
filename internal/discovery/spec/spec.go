package spec

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Spec is one receiver that is wanted.
type Spec struct {
	// Rule is the name of the rule, or the beginning of the keys of the label that
	// the wish comes from: "io.opentelemetry.discovery.metrics.80", "prometheus.io".
	Rule string
	// Receiver is the type with an optional name: "redis", "prometheus/app".
	Receiver string
	// Config is complete but for the endpoint: strings, numbers, booleans,
	// []any and map[string]any, all templates filled in.
	Config map[string]any
	// Endpoint is "host:port" of the container, "" if no port is meant. It
	// becomes the setting endpoint where Config has none and the receiver knows
	// such a setting.
	Endpoint string
	// Port is the one within the container that is meant, 0: none.
	Port uint16
	// Signals are those that are wanted of it.
	Signals Signals
	// Target is the container's id.
	Target string
	// Resource are the attributes for all that comes of it.
	Resource map[string]string
	// Drop are attributes of a resource that are taken off what the receiver says,
	// where they have just this value, before Resource is put on: names that were
	// made up to configure it and are no names of anything. Nil: none.
	Drop map[string]string
	// Trusted: the configuration was written by the operator. What comes from a
	// label is not: the runner holds it against the list of allowed receivers.
	Trusted bool
	// Why tells in words what the wish rests on.
	Why string
}

// Key names the receiver that is meant. It is the same for every address that the
// container may have, and different for two receivers that may run at once.
func (s *Spec) Key() string {
	return strings.Join([]string{
		strconv.Quote(s.Target), strconv.Quote(s.Rule), strconv.Quote(s.Receiver),
		strconv.Itoa(int(s.Port)),
	}, "|")
}

// Type returns the receiver's type, without its name.
func (s *Spec) Type() string {
	typ, _, _ := strings.Cut(s.Receiver, "/")
	return typ
}

// Equal tells whether o would run the same way. Why may differ.
func (s *Spec) Equal(o *Spec) bool {
	return s.Key() == o.Key() && s.Endpoint == o.Endpoint && s.Signals == o.Signals &&
		s.Trusted == o.Trusted && maps.Equal(s.Resource, o.Resource) && maps.Equal(s.Drop, o.Drop) &&
		(len(s.Config) == 0 && len(o.Config) == 0 || reflect.DeepEqual(s.Config, o.Config))
}

// Signals is a set of kinds of telemetry.
type Signals uint8

// The members of [Signals].
const (
	Metrics Signals = 1 << iota
	Logs
	// All are those that discovery knows.
	All = Metrics | Logs
)

// signalNames are in the order in which they are shown.
var signalNames = []struct {
	signal Signals
	name   string
}{{Metrics, "metrics"}, {Logs, "logs"}}

// Has tells whether all of want are in s.
func (s Signals) Has(want Signals) bool { return s&want == want }

// String returns "metrics", "logs", "metrics,logs" or "".
func (s Signals) String() string {
	var names []string
	for _, n := range signalNames {
		if s.Has(n.signal) {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

// ParseSignals reads names of signals. None means all, as receiver_creator has
// it. The error quotes what is no signal that can be collected.
func ParseSignals(names []string) (Signals, error) {
	if len(names) == 0 {
		return All, nil
	}
	var s Signals
	for _, name := range names {
		i := slices.IndexFunc(signalNames, func(n struct {
			signal Signals
			name   string
		}) bool {
			return n.name == strings.TrimSpace(name)
		})
		if i < 0 {
			return 0, fmt.Errorf("signal %.100q: is none of metrics, logs", name)
		}
		s |= signalNames[i].signal
	}
	return s, nil
}

// CheckReceiver tells what is wrong with the name of a receiver: it is a type
// (a letter, then letters, digits and underscores, as the Collector has it),
// behind a slash optionally a name.
func CheckReceiver(id string) error {
	typ, name, named := strings.Cut(id, "/")
	if !validType(typ) {
		return fmt.Errorf("receiver %.100q: the type is not of letters, digits and underscores", id)
	}
	// The Collector takes names of up to 1024 characters.
	const longestName = 1024
	if named && (name == "" || len(name) > longestName || strings.ContainsAny(name, "/ \t\r\n")) {
		return fmt.Errorf("receiver %.100q: the name behind the slash is empty, too long or has spaces or slashes", id)
	}
	return nil
}

// validType is the Collector's rule for types: at most 63 characters.
func validType(typ string) bool {
	if typ == "" || len(typ) > 63 {
		return false
	}
	for i, c := range []byte(typ) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		if !letter && (i == 0 || !digit && c != '_') {
			return false
		}
	}
	return true
}
