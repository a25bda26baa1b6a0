package redact

import (
	"maps"
	"slices"
	"strings"

	"github.com/tallymanhq/tallyman/internal/secret"
)

// Mask stands where a secret was.
const Mask = "***"

// What a [Redactor] counts.
const (
	Arguments = "argument"
	Variables = "environment variable"
	Texts     = "text"
	Keys      = "value of a key"
)

// Redactor takes secrets out and counts them. The zero value is ready.
type Redactor struct {
	// Keep tells of a run of random characters that it is none: the id of a
	// container. It may be nil.
	Keep func(run string) bool
	// Names are the environment variables whose names may be seen.
	Names []string
	// NoArgs masks all arguments but the program's name.
	NoArgs bool

	counts map[string]int
}

// DefaultNames are variables whose presence explains how a program behaves, and
// whose name tells nothing about its owner.
func DefaultNames() []string {
	return []string{
		"PATH", "HOME", "LANG", "LC_ALL", "TZ", "HOSTNAME",
		"GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GODEBUG", "GOTRACEBACK",
		"JAVA_OPTS", "JAVA_TOOL_OPTIONS", "NODE_OPTIONS", "NODE_ENV", "MALLOC_ARENA_MAX", "LD_PRELOAD",
		"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "DD_ENV", "DD_SERVICE", "DD_VERSION",
	}
}

// Counts returns how often each thing was taken out since the last call.
func (r *Redactor) Counts() map[string]int {
	counts := r.counts
	r.counts = nil
	return counts
}

// Whats are the keys of counts, sorted.
func Whats(counts map[string]int) []string { return slices.Sorted(maps.Keys(counts)) }

func (r *Redactor) count(what string) {
	if r.counts == nil {
		r.counts = map[string]int{}
	}
	r.counts[what]++
}

// Env returns the names of NAME=value entries that may be seen.
func (r *Redactor) Env(list []string) []string {
	names := []string{}
	for _, entry := range list {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(r.Names, name) {
			names = append(names, name)
			continue
		}
		r.count(Variables)
	}
	return names
}

// Args returns the arguments of a program, the first of which is its name, with
// the secrets masked. The list itself is not changed.
func (r *Redactor) Args(argv []string) []string {
	out := make([]string, len(argv))
	habit := habitOf(argv)
	for i, arg := range argv {
		out[i] = r.argument(argv, i, &habit)
		if out[i] != arg && (r.NoArgs || !isScript(argv, i)) { // a script counts by itself
			r.count(Arguments)
		}
	}
	return out
}

// argument masks one, by those before it and the habit of the program.
func (r *Redactor) argument(argv []string, i int, h *habit) string {
	arg := argv[i]
	if i == 0 {
		return r.arg(arg)
	}
	before := argv[i-1]
	flag, isAttached := h.attachedTo(arg)
	switch {
	case r.NoArgs:
		return Mask
	case announces(before, h.flags) && !strings.HasPrefix(arg, "--"):
		return Mask
	case isUser(before) && strings.ContainsAny(arg, ":%"):
		return arg[:strings.IndexAny(arg, ":%")+1] + Mask
	case h.last && i == len(argv)-1:
		return Mask
	case isAttached:
		return flag + Mask
	case isScript(argv, i):
		return r.script(arg)
	}
	return r.arg(arg)
}

// arg masks what one argument says by itself.
func (r *Redactor) arg(arg string) string {
	name, value, ok := strings.Cut(arg, "=")
	bare := strings.TrimLeft(name, "-")
	if ok && value != "" && nameBefore(bare) == bare {
		if secret.SensitiveName(bare) {
			return name + "=" + Mask
		}
		if user, _, has := strings.Cut(value, ":"); has && isUser(name) {
			return name + "=" + user + ":" + Mask
		}
	}
	masked, _ := r.text(arg)
	return masked
}

// announces tells whether the argument after this one is a secret: --password,
// -token, or a short flag of a known program.
func announces(arg string, flags []string) bool {
	bare := strings.TrimLeft(arg, "-")
	if bare == arg || bare == "" || strings.ContainsAny(bare, "= ") {
		return false
	}
	return slices.Contains(flags, arg) || secret.SensitiveName(bare)
}

// isUser tells whether the argument after this one is user:password, as curl,
// smbclient (user%password) and many others want it.
func isUser(arg string) bool {
	switch arg {
	case "-u", "-U", "--user", "--proxy-user", "--username", "--userpwd":
		return true
	}
	return false
}

// Text masks the secrets in a text of any length and keeps its lines.
func (r *Redactor) Text(text string) string {
	masked, n := r.text(text)
	for range n {
		r.count(Texts)
	}
	return masked
}
