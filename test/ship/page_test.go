package ship_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const pageFile = "../../docs/privileges.md"

// procMount is the option by which agents see the host's processes.
const procMount = "-v /proc:/hostfs/proc:ro"

// The names of the sets, as the tables have them.
const (
	full  = "full"
	noBPF = "no BPF"
	least = "least"
)

// rights are what the page says.
type rights struct {
	features []entry // what works with which set
	options  []entry // what to give for which set
	losses   []loss
}

// entry is a line of the first two tables.
type entry struct {
	name string
	sets []string // in which it is
}

// loss is a line of the third table.
type loss struct {
	without string   // an option of the second table, a path, or "seccomp" and a call
	lost    []string // features
	dead    bool     // the agent does not start
	before  string   // only on kernels older than this: major.minor
	by      string   // "doctor" or "log"
	words   []string // of doctor the check's name first
}

// readPage reads the three tables.
func readPage(t *testing.T) rights {
	t.Helper()
	content, err := os.ReadFile(pageFile)
	require.NoError(t, err)
	tables := readTables(string(content))
	return rights{
		features: entries(tables["What works with which set"]),
		options:  entries(tables["What to give"]),
		losses:   losses(tables["What is lost without it"]),
	}
}

// readTables returns the lines of the first table below each heading, cell by cell; the
// first line is the names of the columns.
func readTables(text string) map[string][][]string {
	tables := map[string][][]string{}
	heading, isOpen := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			heading, isOpen = title, true
			continue
		}
		if !strings.HasPrefix(line, "|") {
			isOpen = isOpen && len(tables[heading]) == 0
			continue
		}
		if !isOpen || strings.HasPrefix(line, "|--") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		tables[heading] = append(tables[heading], cells)
	}
	return tables
}

// spans returns what is code in a cell.
func spans(cell string) []string {
	var all []string
	for _, found := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		all = append(all, found[1])
	}
	return all
}

// entries are named by the code in their first cell; the columns with "yes" are their sets.
func entries(table [][]string) []entry {
	var all []entry
	for _, cells := range table[1:] {
		e := entry{name: spans(cells[0])[0]}
		for i, cell := range cells {
			if cell == "yes" {
				e.sets = append(e.sets, table[0][i])
			}
		}
		all = append(all, e)
	}
	return all
}

func losses(table [][]string) []loss {
	var all []loss
	for _, cells := range table[1:] {
		l := loss{without: strings.ReplaceAll(cells[0], "`", ""), lost: spans(cells[1]), words: spans(cells[2])}
		l.dead = strings.HasPrefix(cells[1], "all:")
		if rest, ok := strings.CutPrefix(cells[1], "before Linux "); ok {
			l.before, _, _ = strings.Cut(rest, ":")
		}
		l.by, _, _ = strings.Cut(cells[2], " ")
		all = append(all, l)
	}
	return all
}

// isHarmless tells whether this kernel is new enough to lose nothing.
func (l loss) isHarmless() bool {
	if l.before == "" {
		return false
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return false
	}
	var have, need [2]int
	_, err := fmt.Sscanf(unix.ByteSliceToString(uts.Release[:]), "%d.%d", &have[0], &have[1])
	_, errNeed := fmt.Sscanf(l.before, "%d.%d", &need[0], &need[1])
	return err == nil && errNeed == nil && slices.Compare(have[:], need[:]) >= 0
}

// of are the names in one set.
func of(all []entry, set string) []string {
	var names []string
	for _, e := range all {
		if slices.Contains(e.sets, set) {
			names = append(names, e.name)
		}
	}
	return names
}

// The page is whole: nothing in a table is unknown to the others.
func TestPage(t *testing.T) {
	p := readPage(t)
	all, options := of(p.features, full), of(p.options, full)
	require.Len(t, all, len(p.features), "full has every feature")
	var known []string
	for name := range probes() {
		known = append(known, name)
	}
	require.ElementsMatch(t, known, all, "the tests look at every feature, and at no other")
	for _, set := range []string{full, noBPF, least} {
		require.NotEmpty(t, of(p.features, set), set)
		require.NotEmpty(t, of(p.options, set), set)
	}
	var lost []string
	for _, l := range p.losses {
		lost = append(lost, l.lost...)
		require.Contains(t, []string{"doctor", "log"}, l.by, l.without)
		require.NotEmpty(t, l.words, l.without)
		require.Subset(t, all, l.lost, l.without)
		isOption := slices.Contains(options, l.without)
		require.True(t, isOption || strings.HasPrefix(l.without, "/") || strings.HasPrefix(l.without, "seccomp "), l.without)
	}
	// Whatever may be given for one feature or another is taken away once.
	for _, option := range options {
		if isHardening(option) || isPlumbing(option) {
			continue
		}
		require.True(t, slices.ContainsFunc(p.losses, func(l loss) bool { return l.without == option }), "%s: lost without it?", option)
	}
	for _, feature := range []string{"recorder", "cgroups"} {
		require.NotContains(t, lost, feature)
	}
}

// isHardening is for what takes rights, and is in every set.
func isHardening(option string) bool {
	return option == "--cap-drop ALL" || option == "--read-only" || strings.HasPrefix(option, "--security-opt ") ||
		strings.HasPrefix(option, "--memory ")
}

// isPlumbing is for what only says where the other things are.
func isPlumbing(option string) bool {
	return strings.HasPrefix(option, "-e ") || strings.HasPrefix(option, "-l ") || strings.HasPrefix(option, "-v /etc/") ||
		option == "-v state:/var/lib/tallyman" || option == "-v statsd:/run/tallyman"
}

func TestTablesAreRead(t *testing.T) {
	tables := readTables("## A\n\ntext\n\n| x | full |\n|---|---|\n| `a b` | yes |\n| `c` `d` | |\n\n| other | table |\n## B\n| y |\n")
	require.Equal(t, map[string][][]string{
		"A": {{"x", "full"}, {"`a b`", "yes"}, {"`c` `d`", ""}}, "B": {{"y"}},
	}, tables)
	require.Equal(t, []entry{{"a b", []string{"full"}}, {"c", nil}}, entries(tables["A"]))
	require.Equal(t, []loss{
		{without: "-v /a:/b", lost: []string{"x", "y"}, by: "doctor", words: []string{"check", "word"}},
		{without: "seccomp bpf", lost: nil, dead: true, by: "log", words: []string{"line"}},
		{without: "--c", lost: []string{"z"}, before: "6.1", by: "doctor", words: []string{"check"}},
	}, losses([][]string{
		{"without", "lost", "by"}, {"`-v /a:/b`", "`x` `y`", "doctor `check` `word`"}, {"seccomp `bpf`", "all: it dies", "log `line`"},
		{"`--c`", "before Linux 6.1: `z`", "doctor `check`"},
	}))
	require.True(t, loss{before: "2.6"}.isHarmless())
	require.False(t, loss{before: "999.0"}.isHarmless())
	require.False(t, loss{}.isHarmless())
}
