package hints

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// The beginnings of keys.
const (
	prefix     = "io.opentelemetry.discovery"
	metrics    = prefix + ".metrics"
	logs       = prefix + ".logs"
	prometheus = "prometheus.io"
	// Ignore is the key that keeps discovery away from a container.
	Ignore = prefix + "/ignore"
)

const (
	// mostScopes bounds how many ports one container can name. What a receiver may use
	// is bounded for each by itself, and so for a container by this.
	mostScopes = 4
	// longestKey and longestValue are in bytes. Kubernetes takes 317 for a key and
	// 256 KiB for all annotations.
	longestKey   = 256
	longestValue = 16 << 10
)

// Options are what the operator decides.
type Options struct {
	// LogFiles tells where the output of a container is, as patterns of the
	// receiver file_log, and how it is written: "docker", "containerd", "crio" or
	// "" for each line by itself. If its error is [ErrNotThere] the wish waits.
	// Nil is [LogPlaces.Files] of the zero value.
	LogFiles func(*target.Target) (patterns []string, format string, err error)
}

// Result is what the labels of one container say.
type Result struct {
	// Ignored: nothing is to be collected, whoever asks.
	Ignored bool
	// Off are signals that the container does not want collected.
	Off spec.Signals
	// Specs are what is asked for, in a stable order.
	Specs []spec.Spec
	// Waiting tells what is asked for and not there yet, in words.
	Waiting []string
	// Again: something of that shows in no change of the container. Read again after
	// a while.
	Again bool
	// Problems are what is asked for and cannot be.
	Problems []Problem
}

// Problem is a request that is refused.
type Problem struct {
	// Rule is what a [spec.Spec] would have as its rule: the beginning of the keys.
	Rule string
	// OptOut: it is an opt-out that cannot be read, and counts as one. That is to be
	// told also where labels start nothing.
	OptOut bool
	// Err says why, quoting no value that may be a secret.
	Err error
}

// Read tells what a container asks for.
func Read(t *target.Target, o Options) Result {
	r := reader{target: t, options: o, hints: t.Hints(), endpoints: trusted(t)}
	r.bound()
	ignored, err := r.truth(Ignore)
	switch {
	case err != nil: // who writes "True" wants to be left alone
		err = fmt.Errorf("%w; it counts as true", err)
		return Result{Ignored: true, Problems: []Problem{{Rule: prefix, OptOut: true, Err: err}}}
	case ignored:
		return Result{Ignored: true}
	}
	r.metrics()
	r.prometheus()
	r.logs()
	return r.result
}

// masked is what docker_filter leaves of a label whose value looks like a secret.
const masked = "***"

var errMasked = errors.New("was masked by docker_filter: it looks like a secret, or has more than 255 bytes (put it into a rule, secrets by environment or file)")

// trusted are the endpoints that are known to be the container's, those of TCP
// first. In the host's network an announced port may belong to anybody, so there
// only sockets count.
func trusted(t *target.Target) []target.Endpoint {
	all := slices.DeleteFunc(t.Endpoints(), func(e target.Endpoint) bool {
		return t.HostNetwork && !e.Listening
	})
	slices.SortStableFunc(all, func(a, b target.Endpoint) int { return rank(a) - rank(b) })
	return all
}

func rank(e target.Endpoint) int {
	if e.Protocol == target.TCP {
		return 0
	}
	return 1
}

// bound takes out keys of ours that are too long, and says so once. Of a value that is
// too long as much is left as tells that it is: nothing reads more of it.
func (r *reader) bound() {
	var long []string
	for key, value := range r.hints {
		isOurs := strings.HasPrefix(key, prefix) || strings.HasPrefix(key, prometheus+"/")
		switch {
		case isOurs && len(key) > longestKey:
			long = append(long, key)
			delete(r.hints, key)
		case isOurs && len(value) > longestValue:
			r.hints[key] = value[:longestValue+1]
		}
	}
	if len(long) > 0 {
		r.problem(prefix, fmt.Errorf("read %.100q: is longer than %d bytes", slices.Min(long), longestKey))
	}
}

type reader struct {
	target    *target.Target
	options   Options
	hints     map[string]string
	endpoints []target.Endpoint
	result    Result
}

func (r *reader) metrics() {
	scopes, dropped := r.scopes(metrics)
	if dropped {
		r.problem(metrics, fmt.Errorf("read labels: more than %d ports are named, the others are left out", mostScopes))
	}
	for _, scope := range scopes {
		s := source{metrics, scope}
		on, set, err := r.enabled(s)
		if _, wrong := parsePort(scope); scope != "" && wrong != nil {
			if on || err != nil {
				r.problem(metrics, fmt.Errorf("read %.100q: %w", s.rule(), wrong))
			}
			continue
		}
		switch {
		case err != nil && scope == "":
			r.optOut(metrics, spec.Metrics, err)
		case err != nil:
			r.problem(s.rule(), err)
		case set && !on && scope == "":
			r.result.Off |= spec.Metrics
		case on:
			r.scraper(s)
		}
	}
}

// scopes returns what stands behind base and a dot in keys, sorted, "" last for
// base itself.
func (r *reader) scopes(base string) (scopes []string, dropped bool) {
	plain := false
	for key := range r.hints {
		front, _, ok := strings.Cut(key, "/")
		switch {
		case ok && front == base:
			plain = true
		case ok && strings.HasPrefix(front, base+"."):
			scopes = append(scopes, front[len(base)+1:])
		}
	}
	slices.SortFunc(scopes, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) // ports by number
	})
	scopes = slices.Compact(scopes)
	if len(scopes) > mostScopes {
		scopes, dropped = scopes[:mostScopes], true
	}
	if plain {
		scopes = append(scopes, "")
	}
	return scopes, dropped
}

// source is where a request stands: base, or base.scope, whose values go first.
type source struct{ base, scope string }

func (s source) rule() string {
	if s.scope == "" || s.base == prometheus { // its port is a value, not in a key
		return s.base
	}
	return s.base + "." + s.scope
}

func (r *reader) value(s source, key string) string {
	if value, ok := r.hints[s.rule()+"/"+key]; ok {
		return value
	}
	return r.hints[s.base+"/"+key]
}

// enabled reads the switch, which must be there for anything to happen.
func (r *reader) enabled(s source) (on, set bool, err error) {
	key := s.rule() + "/enabled"
	if _, ok := r.hints[key]; !ok {
		key = s.base + "/enabled"
	}
	_, set = r.hints[key]
	on, err = r.truth(key)
	return on, set, err
}

// truth reads a value that must be true or false; absent is false.
func (r *reader) truth(key string) (bool, error) {
	switch value, ok := r.hints[key]; {
	case !ok, value == "false":
		return false, nil
	case value == "true":
		return true, nil
	case value == masked:
		return false, fmt.Errorf("read %.100s: %w", key, errMasked)
	default:
		return false, fmt.Errorf("read %.100s: %.32q is neither true nor false", key, value)
	}
}

func (r *reader) scraper(s source) {
	receiver := strings.TrimSpace(r.value(s, "scraper"))
	if receiver == "" {
		r.problem(s.rule(), fmt.Errorf("read %s/scraper: names no receiver", s.rule()))
		return
	}
	if receiver == masked {
		r.problem(s.rule(), fmt.Errorf("read %s/scraper: %w", s.rule(), errMasked))
		return
	}
	if err := spec.CheckReceiver(receiver); err != nil {
		r.problem(s.rule(), fmt.Errorf("read %s/scraper: %w", s.rule(), err))
		return
	}
	if typeOf(receiver) == plainType(logReceiver) {
		r.problem(s.rule(), fmt.Errorf("read %s/scraper: %w", s.rule(), errNoScraper))
		return
	}
	signals, err := r.signals(s)
	if err != nil {
		r.problem(s.rule(), err)
		return
	}
	at, ok, err := r.endpoint(s, receiver)
	if err != nil {
		r.problem(s.rule(), err)
		return
	}
	if !ok || s.scope == "" && r.asked(at.Port, receiver) {
		return
	}
	wish, err := r.scraperConfig(s, receiver, at)
	if err != nil {
		r.problem(s.rule(), fmt.Errorf("read %s/config: %w", s.rule(), err))
		return
	}
	wish.signals = signals
	r.want(s.rule(), receiver, at, wish)
}

// errNoScraper: as a scraper it would be told which files to read.
var errNoScraper = errors.New("file_log is no scraper (" + logs + "/enabled asks for the output of the container)")

// signals are metrics unless the container names them.
func (r *reader) signals(s source) (spec.Signals, error) {
	text := r.value(s, "signals")
	switch text {
	case "":
		return spec.Metrics, nil
	case masked:
		return 0, fmt.Errorf("read %s/signals: %w", s.rule(), errMasked)
	}
	signals, err := spec.ParseSignals(strings.Split(text, ","))
	if err != nil {
		return 0, fmt.Errorf("read %s/signals: %w", s.rule(), err)
	}
	return signals, nil
}

// endpoint finds what is to be scraped. It is not ok if that is not there now.
func (r *reader) endpoint(s source, receiver string) (at target.Endpoint, ok bool, err error) {
	if s.scope == "" {
		at, ok = r.preferred(receiver)
		if !ok {
			r.wait(s.rule(), "no port that can be reached is known")
		}
		return at, ok, nil
	}
	port, err := parsePort(s.scope)
	if err != nil {
		return at, false, fmt.Errorf("read %s: %w", s.rule(), err)
	}
	at, ok = r.at(port, receiver)
	if !ok {
		r.wait(s.rule(), fmt.Sprintf("nothing listens at port %d", port))
	}
	return at, ok, nil
}

// preferred is where the technology was seen that the receiver reads, else the
// first endpoint.
func (r *reader) preferred(receiver string) (target.Endpoint, bool) {
	typ, _, _ := strings.Cut(receiver, "/")
	for _, tech := range r.target.Technologies {
		if at, ok := r.at(tech.Port, receiver); ok && tech.Receiver == typ {
			return at, true
		}
	}
	return r.first(func(e target.Endpoint) bool { return speaks(e, receiver) })
}

func (r *reader) at(port uint16, receiver string) (target.Endpoint, bool) {
	return r.first(func(e target.Endpoint) bool { return e.Port == port && speaks(e, receiver) })
}

func (r *reader) first(is func(target.Endpoint) bool) (target.Endpoint, bool) {
	i := slices.IndexFunc(r.endpoints, is)
	if i < 0 {
		return target.Endpoint{}, false
	}
	return r.endpoints[i], true
}

// speaks: what asks by HTTP asks at TCP. In the host's network the same number of
// UDP may be somebody else's for TCP.
func speaks(e target.Endpoint, receiver string) bool {
	typ := typeOf(receiver)
	return e.Protocol == target.TCP || typ != prometheusReceiver && typ != nginxReceiver
}

// asked tells whether a label for this port has already asked for the receiver.
func (r *reader) asked(port uint16, receiver string) bool {
	return slices.ContainsFunc(r.result.Specs, func(s spec.Spec) bool {
		return s.Port == port && s.Receiver == receiver
	})
}

type asked struct {
	config  map[string]any
	signals spec.Signals
	drop    map[string]string
}

func (r *reader) want(rule, receiver string, at target.Endpoint, a asked) {
	s := spec.Spec{
		Rule: rule, Receiver: receiver, Config: a.config, Port: at.Port, Signals: a.signals, Drop: a.drop,
		Target: r.target.ID, Resource: r.target.Resource, Why: "asked for by " + rule,
	}
	if at.Addr.IsValid() {
		s.Endpoint = at.Addr.String()
		s.Why += " at " + s.Endpoint
	}
	r.result.Specs = append(r.result.Specs, s)
}

func (r *reader) wait(rule, what string) {
	r.result.Waiting = append(r.result.Waiting, rule+": "+what)
}

func (r *reader) problem(rule string, err error) {
	r.result.Problems = append(r.result.Problems, Problem{Rule: rule, Err: err})
}

// optOut notes a switch that cannot be read: whoever set it may have wanted none of
// the signal, and that is the smaller harm.
func (r *reader) optOut(rule string, off spec.Signals, err error) {
	r.result.Off |= off
	r.result.Problems = append(r.result.Problems, Problem{Rule: rule, OptOut: true, Err: fmt.Errorf("%w; it counts as false", err)})
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || text[0] == '0' { // 080 would be a second 80
		return 0, fmt.Errorf("port %.16q is no number from 1 to 65535", text)
	}
	return uint16(port), nil
}
