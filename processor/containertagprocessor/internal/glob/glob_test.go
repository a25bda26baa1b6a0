package glob

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestMatch(t *testing.T) {
	f := func(pattern, text string, want bool) {
		t.Helper()
		g, err := Compile(pattern)
		require.NoError(t, err)
		if got := g.Match(text); got != want {
			t.Errorf("%q against %q: %v", pattern, text, got)
		}
	}
	f("nginx", "nginx", true)
	f("nginx", "nginx2", false)
	f("nginx", "", false)
	f("*", "", true)
	f("**", "", true)
	f("?", "", false)
	f("*", strings.Repeat("x", longestText+1), true)
	f("x*", strings.Repeat("x", longestText), true)
	f("x*", strings.Repeat("x", longestText+1), false)
	f("*/nginx", "registry.example/a/b/nginx", true)
	f("registry*:1.?", "registry/web:1.2", true)
	f("registry*:1.?", "registry/web:1.25", false)
	f("*a*b", "xaxbxb", true)
	f("*a*b", "xaxbxbx", false)
	f("a?c", "aéc", true)
	f("a??c", "aéc", false)
	f("*??", "😀", false) // a star takes whole characters
	f("*é?", "xé😀", true)
	f("?", "\xff", true) // a byte that is no character counts as one
	f("Web*", "web1", false)
	f("a**b", "ab", true)
}

func TestCompileRefuses(t *testing.T) {
	f := func(pattern, want string) {
		t.Helper()
		_, err := CompileList([]string{"fine", pattern})
		require.ErrorIs(t, err, ErrMalformed)
		require.ErrorContains(t, err, "[1]: ")
		require.ErrorContains(t, err, want)
	}
	f("", "is empty")
	f("a[bc]", "only * and ?")
	f("{a,b}", "only * and ?")
	f(`a\*`, "only * and ?")
	f("a\x00b", "control character")
	f("a\xff", "UTF-8")
	f(strings.Repeat("x", longestPattern+1), "256 bytes")
}

// No pattern may take long: going back to every star would take longer than the
// test may run.
func TestMatchIsBounded(t *testing.T) {
	g, err := Compile(strings.Repeat("*a", 120) + "*b")
	require.NoError(t, err)
	if g.Match(strings.Repeat("a", longestText)) {
		t.Error("matches a text without b")
	}
}

func TestListMatch(t *testing.T) {
	list, err := CompileList([]string{"a*", "b"})
	require.NoError(t, err)
	for text, want := range map[string]bool{"abc": true, "b": true, "bc": false, "": false} {
		if list.Match(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	if List(nil).Match("") {
		t.Error("an empty list matches")
	}
}

// FuzzMatch compares with Go's regular expressions.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{{"a*b?c", "axxbéc"}, {"*??", "😀"}, {"*a*a*b", "aaab"}, {"**", ""}, {"?*?", "é"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		g, err := Compile(pattern)
		if err != nil || !utf8.ValidString(text) || len(text) > longestText {
			return
		}
		quoted := regexp.QuoteMeta(pattern)
		quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, `\*`, `.*`), `\?`, `.`)
		if got, want := g.Match(text), regexp.MustCompile(`(?s)\A`+quoted+`\z`).MatchString(text); got != want {
			t.Errorf("%q against %q: %v, regexp says %v", pattern, text, got, want)
		}
	})
}
