package project_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
)

// form is a kind of secret, and the rules that let a text of that form pass.
type form struct {
	name   string
	text   string
	trace  string // what must not be seen
	passes string // names of rules
}

const (
	verbatim = " id name word text subject container-id volume join event-id event-actor event-type action map-key "
	// Short harmless text is kept as the value of a label nobody denies.
	byLabel   = " labels label-list attributes "
	asProgram = " first path command command-first process "
)

// forms go from what gives itself away to what looks like any other word.
var forms = []form{
	{"URL with password", "postgres://shop:hunter2@db/shop", "hunter2", ""},
	{"PEM", "-----BEGIN PRIVATE KEY-----\nMIIhunter2\n-----END PRIVATE KEY-----", "hunter2", ""},
	{"web token", "eyJhbGciOiJub25lIn0.eyJodW50ZXIyIn0.hunter2", "hunter2", ""},
	{"AWS key", "AKIAHUNTER2EXAMPLE7Q", "HUNTER2", ""},
	{"assignment", "PASSWORD=hunter2", "hunter2", ""},
	{"random", "Zk3Tq9LmX7vB2nRc5WdYh8JpFs4GtQa6hunter2", "hunter2", verbatim},
	{"sentence", "correct horse hunter2 staple", "hunter2", " text " + byLabel},
	{"word", "hunter2", "hunter2", verbatim + byLabel + asProgram},
}

// TestSecretAnywhere puts each form of secret into every single string and key
// of every body, one at a time. It may leave only where a rule of the tables
// lets text of that form pass.
func TestSecretAnywhere(t *testing.T) {
	// The profiles that differ most; the other options are a subset.
	for name, options := range map[string]project.Options{
		"monitoring": {},
		"traefik":    {LabelAllow: []string{"traefik.*"}},
		"everything": {EnvAllow: []string{"DD_*", "OTEL_*"}, KeepGraphDriver: true, Sizes: true, Swarm: true},
	} {
		rules := compile(t, options)
		for _, b := range bodies(t) {
			for _, value := range values(t, b.text) {
				here := trial{name + " " + b.file, project.View{Kind: b.kind, Rules: rules}, value}
				eachPlace(value, nil, func(path []string, put func(string)) {
					for _, f := range forms {
						put(f.text)
						here.check(t, f, path)
					}
				})
			}
		}
	}
}

// trial is an answer into which secrets are put.
type trial struct {
	where string
	view  project.View
	value any
}

func (try trial) check(t *testing.T, f form, path []string) {
	t.Helper()
	text, err := json.Marshal(try.value)
	require.NoError(t, err)
	out, _, err := projectText(text, try.view)
	if !strings.Contains(out, f.trace) && (err == nil || !strings.Contains(err.Error(), f.trace)) {
		return
	}
	if err != nil {
		t.Errorf("%s: %v: the error tells of %s: %v", try.where, path, f.name, err)
		return
	}
	rule := ruleAt(try.view, path)
	if !strings.Contains(f.passes, " "+rule+" ") && !allowedLabel(rule, path) {
		t.Errorf("%s: %s at %v (rule %q) leaves: %s", try.where, f.name, path, rule, out)
	}
}

// anyKey stands in a path for a key that is the secret.
const anyKey = "(key)"

func ruleAt(view project.View, path []string) string {
	if path[0] == "[]" {
		path = path[1:]
	}
	rule, last := project.RuleAt(view.Rules, view.Kind, path), path[len(path)-1]
	switch {
	case last == anyKey && rule != "" && rule != "labels" && rule != "attributes":
		return "map-key"
	case rule == "attributes" && strings.Contains(" image name type driver oldName container ", " "+last+" "):
		return "word"
	}
	return rule
}

// allowedLabel: profiles let some labels pass with whatever value.
func allowedLabel(rule string, path []string) bool {
	last := path[len(path)-1]
	return (rule == "labels" || rule == "attributes") &&
		(strings.HasPrefix(last, "com.docker.compose.") || strings.HasPrefix(last, "com.docker.stack.") ||
			strings.HasPrefix(last, "traefik.") || last == "maintainer")
}

// eachPlace calls visit for every string and every key below value. put writes
// there; what was there is restored afterwards.
func eachPlace(value any, path []string, visit func(path []string, put func(string))) {
	switch value := value.(type) {
	case map[string]any:
		for key, old := range value {
			here := append(path[:len(path):len(path)], key)
			if _, ok := old.(string); ok {
				visit(here, func(s string) { value[key] = s })
				value[key] = old
			} else {
				eachPlace(old, here, visit)
			}
			last := key
			visit(append(path[:len(path):len(path)], anyKey), func(s string) {
				delete(value, last)
				value[s], last = old, s
			})
			delete(value, last)
			value[key] = old
		}
	case []any:
		here := append(path[:len(path):len(path)], "[]")
		for i, old := range value {
			if _, ok := old.(string); ok {
				visit(here, func(s string) { value[i] = s })
				value[i] = old
			} else {
				eachPlace(old, here, visit)
			}
		}
	}
}

// TestSecretsEverywhere puts one of the secrets that give themselves away into
// many places at once, at random: none may leave from anywhere but a label that
// the profile names.
func TestSecretsEverywhere(t *testing.T) {
	const rounds = 40
	random := rand.New(rand.NewPCG(1, 2))
	rules := compile(t, project.Options{LabelAllow: []string{}})
	for _, b := range bodies(t) {
		for range rounds {
			for _, value := range values(t, b.text) {
				f := forms[random.IntN(5)]
				changed := change(random, value, f.text)
				text, err := json.Marshal(changed)
				require.NoError(t, err)
				out, _, err := projectText(text, project.View{Kind: b.kind, Rules: rules})
				if strings.Contains(out+fmt.Sprint(err), f.trace) {
					t.Fatalf("%s: %s leaves: %s %v", b.file, f.name, out, err)
				}
			}
		}
	}
}

// change returns a copy with a third of all strings replaced.
func change(random *rand.Rand, value any, secret string) any {
	switch value := value.(type) {
	case map[string]any:
		changed := map[string]any{}
		for key, old := range value {
			changed[key] = change(random, old, secret)
		}
		return changed
	case []any:
		changed := make([]any, 0, len(value))
		for _, old := range value {
			changed = append(changed, change(random, old, secret))
		}
		return changed
	case string:
		// Ids stay, or the whole element would be refused.
		if len(value) != 64 && random.IntN(3) == 0 {
			return secret
		}
	}
	return value
}
