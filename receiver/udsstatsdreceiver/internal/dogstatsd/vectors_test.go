package dogstatsd_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/receiver/udsstatsdreceiver/internal/dogstatsd"
)

// lineVectors says what becomes of each row of dogstatsd-lines.tsv. The format
// is that of read in render_test.go.
var lineVectors = map[string][]string{
	"M01": {`c "req.count" [7]`},
	"M02": {`g "req.count" [7]`},
	"M03": {`ms "req.time" [21]`},
	"M04": {`h "req.time" [21]`},
	"M06": {`s "users" "alice"`},
	"M08": {`s "users" "♬ü"`},
	"M09": {`g "métr♬" [1] #clé=väl`},
	"M11": {`c "m" [1] @0.5 #a=b`},
	"M12": {`c "m" [1] @0.5 #a=b`},
	"M16": {`c "m" [1] #a=`},
	"M18": {`c "m" [1] @0.25`},
	"M20": {`c "m" [1]`},
	"M21": {`c "m" [1] #a= #b=`},
	"M22": {`c "m" [1] #a=`},
	"M23": {`c "m" [1] #k=v:w #k2=`},
	"M24": {`g " m" [1]`},
	"M25": {`g "a b" [1]`},
	"M26": {`g "a\x00b" [1]`},
	"M27": {`s "m" "\xff"`},
	"M28": {`c "_e" [1]`},

	"V01": {`g "m" [-5]`},
	"V02": {`g "m" [5]`},
	"V03": {`g "m" [0.5]`},
	"V04": {`g "m" [5]`},
	"V06": {`c "m" [1000]`},
	"V08": {`g "m" [16]`},
	"V09": rejected("bad_value"),
	"V11": rejected("bad_value"),
	"V12": rejected("bad_value"),
	"V13": rejected("bad_value"),
	"V16": rejected("not_a_number"),
	"V17": rejected("not_a_number"),
	"V18": rejected("bad_value"),
	"V19": rejected("bad_value"),
	"V20": {`g "m" [0]`},
	"V21": {`g "m" [-0]`},
	"V22": rejected("no_value"),
	"V23": rejected("no_name"),
	"V24": rejected("no_value"),
	"V25": rejected("no_type"),
	"V26": rejected("no_type"),
	"V27": rejected("unknown_type"),
	"V31": rejected("no_name"),

	"P01": {`g "m" [1 2.5]`},
	"P02": {`c "m" [1 2 3]`},
	"P04": {`c "m" [1 2]`},
	"P05": {`g "m" [1]`},
	"P07": rejected("no_value"),
	"P08": rejected("bad_value"),
	"P09": rejected("bad_value"),

	"R01": {`c "m" [2] @0.5`},
	"R02": {`g "m" [5] @0.5`},
	"R03": {`s "m" "x" @0.5`},
	"R04": {`h "m" [10] @0.2`},
	"R06": {`d "m" [1] @0.333`},
	"R07": rejected("bad_rate"),
	"R08": rejected("bad_rate"),
	"R12": {`d "m" [1]`, "!rate_clamped 1"},
	"R13": {`d "m" [1] @1e-09`},
	"R14": rejected("bad_rate"),
	"R15": rejected("bad_rate"),

	"T03": rejected("bad_timestamp"),
	"T04": rejected("bad_timestamp"),
	"T06": rejected("bad_timestamp"),
	"T07": rejected("bad_timestamp"),
	"T08": rejected("bad_timestamp"),
	"T09": {`g "m" [1] T99999999999`},
	"T10": rejected("timestamp_type"),
	"T11": {`c "m" [1] @0.1 T1656581400`},
	"T12": {`c "m" [1 2] T1656581400`},

	"O01": {`g "m" [1] c(83c0a99c0a54 0 true)`},
	"O02": {`g "m" [1] c(83c0a99c0a54 0 true)`},
	"O03": {`g "m" [1] c(83c0a99c0a54 0 true)`},
	"O05": {`g "m" [1] c(83c0 42 true)`},
	"O06": {`g "m" [1] c( 0 false)`},
	"O07": {`g "m" [1] c( 0 false)`},
	"O08": {`g "m" [1] c( 0 true)`},
	"O09": {`g "m" [1] c( 5 true)`},
	"O10": {`g "m" [1] c( 0 true)`},
	"O14": {`g "m" [1] card(high true)`},
	"O15": {`g "m" [1] card(high true)`},
	"O16": {`g "m" [1] card(orchestrator true)`},
	"O17": {`g "m" [1] card(default false)`},
	"O18": {`g "m" [1] card(none true)`},
	"O20": {`g "m" [1] entity dd.internal.entity_id=poduid #a=b`},
	"O21": {`g "m" [1] entity dd.internal.entity_id=none`},
	"O22": {`g "m" [1] host host=web-1 #a=b`},
	"O25": {`g "m" [1] @0.5 T5 #t= c(x 0 true) e(false y  true) card(low true)`},
	"O26": {`g "m" [1] e(false   true)`},

	"E02": {`event "title" "text" low warning k:agg s:src d:21 h:web-1 #a= #b=c`},
	"E03": {`event "ti|le" "line\nnew" normal info`},
	"E04": {`event "a" "" normal info`},
	"E05": {`event "a" "" normal error`},
	"E06": rejected("event_no_title"),
	"E07": rejected("event_length"),
	"E08": rejected("unknown_type"),
	"E09": rejected("event_header"),
	"E10": rejected("event_header"),
	"E11": rejected("event_header"),
	"E14": {`event "title" "text" normal info`, "!event_bad_field 1"},
	"E15": {`event "title" "text" normal info`, "!event_bad_field 1"},
	"E16": {`event "title" "text" normal info`, "!unknown_field 1"},
	"E17": {`event "é" "ab" normal info`},
	"E20": {`event "abcd" "efgh" normal error`, "!unknown_field 1"},
	"E21": {`event "abcd" "efgh" normal info`},
	"E22": {`event "abcd" "efgh" normal info`},
	"E25": rejected("event_length"),
	"E26": rejected("event_header"),

	"S01": {`check "db.up" ok`},
	"S02": {`check "db.up" critical "it broke" d:21 h:web-1 #a=b #c=`},
	"S03": {`check "db.up" unknown`},
	"S05": rejected("check_bad_status"),
	"S09": rejected("check_no_name"),
	"S10": {`check "db.up" ok`, "!check_bad_field 1"},
	"S11": {`check "db.up" ok`, "!unknown_field 1"},
	"S12": {`check "db.up" ok d:2 h:b`},
	"S13": {`check "db.up" ok "x" #y=`},
	"S14": {`check "db.up" ok "a"`, "!unknown_field 1"},
	"S15": {`check "db.up" ok "x"`},
	"S16": rejected("check_bad_status"),
}

// deviations are the rows that the Datadog parser accepts and later drops,
// where we drop at once.
var deviations = map[string]bool{"V16": true, "V17": true, "T10": true}

func rejected(reason string) []string { return []string{"reject " + reason, "!" + reason + " 1"} }

func TestLineVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range vectors(t, "dogstatsd-lines.tsv") {
		t.Run(row[0], func(t *testing.T) {
			require.Len(t, row, 4)
			want, ok := lineVectors[row[0]]
			require.True(t, ok, "no expectation")
			require.False(t, seen[row[0]], "twice")
			seen[row[0]] = true

			got := read(new(dogstatsd.Parser), unquoted(t, row[1]), false)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: (-want +got):\n%s", row[1], diff)
			}
			accepted := !strings.HasPrefix(got[0], "reject ")
			require.Equal(t, row[2] == "OK" && !deviations[row[0]], accepted, row[3])
		})
	}
	require.Len(t, seen, len(lineVectors), "expectations without a row")
}

// vectors reads the rows of a file of testdata.
func vectors(t testing.TB, name string) [][]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "testdata", name))
	require.NoError(t, err)
	var rows [][]string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "#") {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	return rows
}

func unquoted(t testing.TB, escaped string) string {
	t.Helper()
	text, err := strconv.Unquote(`"` + escaped + `"`)
	require.NoError(t, err, escaped)
	return text
}
