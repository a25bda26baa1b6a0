package dogstatsd_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

func TestLimits(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		got := read(new(dogstatsd.Parser), line, false)
		if want != "" {
			require.Equal(t, rejected(want), got)
			return
		}
		require.Len(t, got, 1, "something was counted")
		require.NotContains(t, got[0], "reject")
	}
	name, tags := strings.Repeat("n", dogstatsd.MaxName), strings.Repeat(",a", dogstatsd.MaxTags)
	f(name+":1|c", "")
	f(name+"n:1|c", "name_too_long")
	f("_sc|"+name+"|0", "")
	f("_sc|"+name+"n|0", "name_too_long")

	f("m:1|c|#"+tags, "")
	f("m:1|c|#"+tags+strings.Repeat(",", 300), "")
	f("m:1|c|#"+tags+",a", "too_many_tags")
	f("_sc|m|0|#"+tags+",a", "too_many_tags")
	f("_e{1,1}:a|b|#"+tags+",a", "too_many_tags")

	const start = "m:1|c|#"
	long := start + strings.Repeat("t", dogstatsd.MaxLine-len(start))
	f(long, "")
	f(long+"\r\n", "")
	f(long+"t", "line_too_long")
	f("_e{1,1}:a|b|#"+long, "line_too_long")
}

func TestMetric(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		require.Equal(t, want, read(new(dogstatsd.Parser), line, false), line)
	}
	// A pipe before the colon belongs to no name.
	f("a|b:1|c", rejected("no_value")...)
	f("m:1:nan:2:-inf|h", `h "m" [1 2]`, "!not_a_number 2")
	f("m:nan:inf|h", "reject not_a_number", "!not_a_number 2")
	// What is lost as a whole counts once.
	f("m:1:nan|h|@5|x|T5", rejected("timestamp_type")...)
	f("m:nan:x|h", rejected("bad_value")...)
	f("m:1|c|@2", `c "m" [1]`, "!rate_clamped 1")
	f("m:1|c|@0", `c "m" [1]`, "!rate_clamped 1")
	f("m:1|c|@-1", `c "m" [1]`, "!rate_clamped 1")
	f("m:1|c|@7|@0.5", `c "m" [1] @0.5`)
	f("a:b:c|s", `s "a" "b:c"`)
	f("m:1|c|x:y|carx|card|c|é", `c "m" [1]`, "!unknown_field 5")
	f("m:1|ms", `ms "m" [1]`)
	f("m:1|ms|T1", rejected("timestamp_type")...)
	f("m:1|mx", rejected("unknown_type")...)
	f("m:1|cc", rejected("unknown_type")...)
	f("m:1|msx", rejected("unknown_type")...)
	f("m:1||c", rejected("no_type")...)
	f("m:1|c|", `c "m" [1]`)
	f("m:.|g", rejected("bad_value")...)
	f("m:-|g", rejected("bad_value")...)
	f("m:-.|g", rejected("bad_value")...)
	f("m:--1|g", rejected("bad_value")...)
	f("m:None|g", rejected("bad_value")...)
	f("m:9999999999999999|g", `g "m" [1e+16]`)
	f("m:9007199254740993|g", `g "m" [9.007199254740992e+15]`)
	f("m:0.1234567890123456789|g", `g "m" [0.12345678901234568]`)
	f("m:1_000|g", `g "m" [1000]`)
	f("m:_1|g", rejected("bad_value")...)
	f("m:0x1_0p0|g", `g "m" [16]`)
}

// The end of a name is found wherever it is, and whatever the bytes before and
// behind it.
func TestNameEnd(t *testing.T) {
	for size := range 40 {
		for _, other := range []string{"n", "\x00", "9", ";", "{", "}", "\xba", "\xbb", "\xfc", "\xff"} {
			name := strings.Repeat(other, size)
			f := func(rest string) {
				t.Helper()
				var p dogstatsd.Parser
				for kind := range p.Lines([]byte(name+rest), false) {
					checkMetric(t, &p, kind, name+rest)
				}
			}
			f(":1|c")
			f(":1|c|#a")
			f(":1" + other + "|c")
			f("|:1|c")
			f("|1|c")
			f(other)
			f(":")
			f(":|c")
		}
	}
}

// A decimal is what strconv says, wherever its point is and whatever the length
// of the name: the parser reads eight bytes before the pipe as one number.
func TestDecimals(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	const letters = "0123456789012345678901234567890123456789.......-+:/ e\xb0"
	for range 200_000 {
		text := make([]byte, 1+random.IntN(18))
		for i := range text {
			text[i] = letters[random.IntN(len(letters))]
		}
		line := strings.Repeat("9", 1+random.IntN(9)) + ":" + string(text) + "|g"
		var p dogstatsd.Parser
		for kind := range p.Lines([]byte(line), false) {
			checkMetric(t, &p, kind, line)
		}
	}
}

// What a line means does not depend on the one before it, nor on how that ends:
// the parser looks ahead to the next line's first pipe.
func TestNeighbours(t *testing.T) {
	var lines []string
	alone := map[string][]string{}
	for _, row := range vectors(t, "dogstatsd-lines.tsv") {
		line := unquoted(t, row[1])
		if got := read(new(dogstatsd.Parser), line, false); !strings.Contains(line, "\n") {
			lines = append(lines, line)
			alone[line] = got[:1]
		}
	}
	lines = append(lines, "", "no pipe", "_", "|||")
	for _, line := range lines[len(lines)-3:] {
		alone[line] = read(new(dogstatsd.Parser), line, false)[:1]
	}
	var p dogstatsd.Parser
	for _, first := range lines {
		for _, second := range lines {
			for _, end := range []string{"\n", "\r\n", "\n\n"} {
				p.Counts = dogstatsd.Counts{}
				got := read(&p, first+end+second+end, false)
				want := slices.Concat(alone[first], alone[second])
				require.Equal(t, want, got[:len(want)], "%q%q", first, second)
			}
		}
	}
}

// What was seen ahead is forgotten with what it was seen in: a pipe that is taken
// for the first one, and is not, would make these lines good.
func TestLookAhead(t *testing.T) {
	for size := range 12 {
		name := strings.Repeat("n", size)
		for _, first := range []string{"", "|", "|c", ":1|s", ":x|c", ":1|c", ":1|c|@1", ":1|c|#t|@1", "|c\r"} {
			for _, bad := range []string{"x|y:5|c", "a:1xc", "a:12xc|#t", "ab|cd:5|g"} {
				var p dogstatsd.Parser
				kind := dogstatsd.KindMetric
				for kind = range p.Lines([]byte(name+first+"\n"+bad), false) {
				}
				require.Equal(t, dogstatsd.KindRejected, kind, "%q behind %q", bad, name+first)

				// The same, of another packet.
				for range p.Lines([]byte("a:1|c|#t\n"+name+first), false) {
					break
				}
				for kind = range p.Lines([]byte(bad), false) {
				}
				require.Equal(t, dogstatsd.KindRejected, kind, "%q in the packet behind %q", bad, name+first)
			}
		}
	}
}

func TestEvent(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		require.Equal(t, want, read(new(dogstatsd.Parser), line, false), line)
	}
	f(`_e{4,6}:a\nb|\n\n\x|p:normal|t:info`, `event "a\nb" "\n\n\\x" normal info`)
	f(`_e{1,2}:\|\\`, `event "\\" "\\\\" normal info`)
	f(`_e{1,1}:a|b|t:success|c:ci-1|e:it-true,cn-n,pu-p|card:low`,
		`event "a" "b" normal success c(1 0 true) e(true n p true) card(low true)`)
	f(`_e{1,1}:a|b|d:x|d:0|d:-1|d:99`, `event "a" "b" normal info d:99`, "!event_bad_field 3")
	f(`_e{1,1}:a|b||`, `event "a" "b" normal info`)
	f(`_e{1,1}:a|bxt:error`, `event "a" "b" normal info`, "!unknown_field 1")
	f(`_e{1,1}:a`, rejected("event_length")...)
	f(`_e{1,1}:a|`, rejected("event_length")...)
	f(`_e{-1,1}:a|b`, rejected("event_header")...)
	f(`_e{1,-1}:a|b`, rejected("event_header")...)
	f(`_e{:a|b`, rejected("event_header")...)
	f(`_e{`, rejected("event_header")...)
	f(`_e{1,9223372036854775807}:a|b`, rejected("event_length")...)
}

func TestCheck(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		require.Equal(t, want, read(new(dogstatsd.Parser), line, false), line)
	}
	f(`_sc|a|1|m:line\nm\:x\:y \m`, `check "a" warning "line\nm:x\\:y \\m"`)
	f(`_sc|a|1|m:x|m:\n`, `check "a" warning "\n"`)
	f(`_sc|a|0|c:in-7|card:none|e:`, `check "a" ok c( 7 true) e(false   true) card(none true)`)
	f(`_sc|a|4`, rejected("check_bad_status")...)
	f(`_sc|a|00`, rejected("check_bad_status")...)
	f(`_sc|a`, rejected("check_bad_status")...)
	f(`_sc`, rejected("check_no_name")...)
	f(`_sc|`, rejected("check_no_name")...)
}

// Breaking out of the loop leaves the rest of the packet alone.
func TestBreak(t *testing.T) {
	var p dogstatsd.Parser
	for kind := range p.Lines([]byte("a:1|c\nbad\n"), false) {
		require.Equal(t, dogstatsd.KindMetric, kind)
		break
	}
	require.True(t, p.Counts.Empty())
}

func TestRejected(t *testing.T) {
	var p dogstatsd.Parser
	for kind := range p.Lines([]byte("a:1|c\nbad\r\nb:1|c"), false) {
		if kind == dogstatsd.KindRejected {
			line, reason := p.Rejected()
			require.Equal(t, "bad", string(line))
			require.Equal(t, dogstatsd.NoValue, reason)
		}
	}
	require.EqualValues(t, 1, p.Counts.Of(dogstatsd.NoValue))
}

func TestCounts(t *testing.T) {
	var one, all dogstatsd.Counts
	one.MoveTo(&all)
	require.True(t, all.Empty())
	one.Add(dogstatsd.BadValue, 0)
	require.True(t, one.Empty())
	one.Add(dogstatsd.BadValue, 2)
	one.Add(dogstatsd.RateClamped, 1)
	all.Add(dogstatsd.BadValue, 1)
	one.MoveTo(&all)
	require.True(t, one.Empty())
	require.Empty(t, renderCounts(&one))
	require.Equal(t, []string{"!bad_value 3", "!rate_clamped 1"}, renderCounts(&all))
}

// Each reason has a name of its own, because it becomes an attribute.
func TestReasons(t *testing.T) {
	names := map[string]bool{}
	for reason := range dogstatsd.Reasons() {
		require.False(t, names[reason.String()], reason.String())
		names[reason.String()] = true
	}
	require.NotContains(t, names, "unknown")
	require.True(t, names["no_name"] && names["bad_cardinality"], "first and last")
	require.Equal(t, "unknown", dogstatsd.Reason(255).String())

	reasons := slices.Collect(dogstatsd.Reasons())
	split := slices.Index(reasons, dogstatsd.RateClamped)
	for i, reason := range reasons {
		require.Equal(t, i < split, reason.Loses(), reason.String())
	}
}

// Numbers that the program never makes are no reason to panic.
func TestNames(t *testing.T) {
	for _, name := range []fmt.Stringer{dogstatsd.Alert(200), dogstatsd.Priority(200), dogstatsd.Status(200), dogstatsd.Cardinality(200)} {
		require.Equal(t, "unknown", name.String())
	}
}
