package statictags

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	f := func(content string, want map[string]string) {
		t.Helper()
		have, err := parse([]byte(content))
		if err != nil {
			t.Errorf("%.60q: %v", content, err)
		}
		if !maps.Equal(have, want) {
			t.Errorf("%.60q: %s", content, cmp.Diff(want, have))
		}
	}
	f("", nil)
	f("\n# nothing yet\n", nil)
	f("---\n", nil)
	f("{}", nil)
	f("role: database\nteam: billing\n", map[string]string{"role": "database", "team": "billing"})
	f("rack: 007\nspare: yes\nload: 1.50\nsince: 2026-01-02\ndone: true\n",
		map[string]string{"rack": "007", "spare": "yes", "load": "1.50", "since": "2026-01-02", "done": "true"})
	f("7: seven\n\"a b\": 'c: d'\n", map[string]string{"7": "seven", "a b": "c: d"})
	f("empty: ''\n", map[string]string{"empty": ""})
	f("# comment\nort: Köln # here\n", map[string]string{"ort": "Köln"})
	f(`{"role": "database"}`, map[string]string{"role": "database"})
	long := strings.Repeat("v", maxValue)
	f("k: "+long, map[string]string{"k": long})
}

func TestParseRefuses(t *testing.T) {
	f := func(content string, want error) {
		t.Helper()
		have, err := parse([]byte(content))
		if !errors.Is(err, want) {
			t.Errorf("%.60q gave %v and the error %v, not %v", content, have, err, want)
		}
	}
	f("- role\n", errMap)
	f("role\n", errMap)
	f("role: [a]\n", errScalar)
	f("role: {a: b}\n", errScalar)
	f("role:\n", errScalar)
	f("role: ~\n", errScalar)
	f("? [a]\n: b\n", errScalar)
	f("a: &x 1\nb: *x\n", errScalar)
	f("a: !!binary aGVsbG8=\n", errScalar)
	f("<<: a\n", errScalar)
	f("a: 1\na: 2\n", errDuplicate)
	f("a: 1\n---\nb: 2\n", errDocuments)
	f("'': x\n", errKey)
	f(`"a\nb": x`, errKey)
	f(strings.Repeat("k", maxKey+1)+": x\n", errKey)
	f("k: "+strings.Repeat("v", maxValue+1), errValue)
	f("role: database\ncontainer.id: abc\n", errIdentity)
	var many strings.Builder
	for i := range maxTags + 1 {
		fmt.Fprintf(&many, "k%d: v\n", i)
	}
	f(many.String(), errCount)
	for _, broken := range []string{"a: b: c\n", "a: 'open\n", "\t- x", "a: \xff\n", "a: \x00"} {
		if have, err := parse([]byte(broken)); err == nil {
			t.Errorf("%q gave %v", broken, have)
		}
	}
}

func TestValidate(t *testing.T) {
	f := func(tags map[string]string, want error) {
		t.Helper()
		if err := Validate(tags); !errors.Is(err, want) {
			t.Errorf("%v: %v, want %v", tags, err, want)
		}
	}
	f(nil, nil)
	f(map[string]string{"role": "database", "empty": ""}, nil)
	f(map[string]string{"service.name": "shop", "host.name": "a", "k8s.cluster.name": "b", "k8s.node.name": "c", "containers": "d"}, nil)
	for _, key := range []string{
		"container.id", "container.name", "k8s.pod.uid", "k8s.pod.label.app", "k8s.container.name", "linux.cgroup.path", "process.pid",
	} {
		f(map[string]string{key: "x"}, errIdentity)
	}
	f(map[string]string{"": "x"}, errKey)
	f(map[string]string{"a\x00": "x"}, errKey)
	f(map[string]string{"\xff": "x"}, errKey)
	f(map[string]string{"k": "\xff"}, errValue)
	f(map[string]string{"k": strings.Repeat("v", maxValue+1)}, errValue)
	many := make(map[string]string)
	for i := range maxTags + 1 {
		many[fmt.Sprint(i)] = "x"
	}
	f(many, errCount)
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "a: b\n", "a: 1\nb: true\n", "a: &x 1\nb: *x\n", "? a\n: b\n", "{a: b}", "- a", "a: |\n x\n y\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		tags, err := parse(content)
		if err != nil {
			return
		}
		if err := Validate(tags); err != nil {
			t.Fatalf("accepted from %q: %v", content, err)
		}
		// What was read can be written as JSON-like YAML and read again.
		var again strings.Builder
		for _, key := range slices.Sorted(maps.Keys(tags)) {
			fmt.Fprintf(&again, "%s: %s\n", quote(key), quote(tags[key]))
		}
		have, err := parse([]byte(again.String()))
		if err != nil || !maps.Equal(have, tags) {
			t.Fatalf("%q is %q, and read again %q, %v", content, tags, have, err)
		}
	})
}

// quote writes text as a YAML string in double quotes, every rune by its number.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		fmt.Fprintf(&b, `\U%08X`, r)
	}
	b.WriteByte('"')
	return b.String()
}
